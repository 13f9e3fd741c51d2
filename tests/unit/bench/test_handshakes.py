"""The limit's window: swanherd's limits, and that no handshake is lost, however it fails."""

from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bench.handshakes import LOOK_S, SLOT_S, Handshakes

ONE: Final = {f"c{number}": "peer" for number in range(5)}
MANY: Final = {f"c{number}": f"peer-{number}" for number in range(5)}


def _all_next(handshakes: Handshakes, now: float = 0.0) -> list[str]:
    found = []
    while (name := handshakes.next(now)) is not None:
        found.append(name)
    return found


def test_so_many_begin_to_one_endpoint_and_so_many_in_all() -> None:
    """Each limit holds by itself."""
    to_one = Handshakes(ONE, per_endpoint=2, overall=16)
    to_many = Handshakes(MANY, per_endpoint=2, overall=4)
    to_one.begin()
    to_many.begin()

    assert _all_next(to_one) == ["c0", "c1"]
    assert _all_next(to_many) == ["c0", "c1", "c2", "c3"]


def test_what_is_up_makes_room_for_the_next() -> None:
    """In the order of the connections."""
    handshakes = Handshakes(ONE, per_endpoint=2, overall=16)
    handshakes.begin()
    _all_next(handshakes)

    handshakes.up("c1")

    assert _all_next(handshakes) == ["c2"]


def test_what_fails_begins_anew_after_those_that_wait() -> None:
    """A peer that refuses one connection delays no other."""
    handshakes = Handshakes(ONE, per_endpoint=1, overall=16)
    handshakes.begin()
    assert _all_next(handshakes) == ["c0"]

    handshakes.failed("c0")

    began = []
    while name := handshakes.next(1.0):
        began.append(name)
        handshakes.up(name)
    assert began == ["c1", "c2", "c3", "c4", "c0"]


def test_what_is_given_up_and_comes_up_all_the_same_is_not_begun_anew() -> None:
    """Its event came after the look."""
    handshakes = Handshakes({"c0": "peer"}, per_endpoint=1, overall=16)
    handshakes.begin()
    _all_next(handshakes)
    handshakes.failed("c0")

    handshakes.up("c0")

    assert _all_next(handshakes) == []


def test_only_what_tells_nothing_is_looked_at() -> None:
    """Half a second after charon took the command, and never where it is up or has begun anew."""
    handshakes = Handshakes(ONE, per_endpoint=3, overall=16)
    handshakes.begin()
    for name in _all_next(handshakes):
        handshakes.sent(name, 1.0)
    handshakes.up("c0")
    handshakes.failed("c1")

    assert handshakes.due(1.0 + LOOK_S / 2) == []
    assert handshakes.due(1.0 + LOOK_S) == ["c2"]


def test_a_handshake_has_its_time_and_no_more() -> None:
    """Until then it is looked at again and again."""
    handshakes = Handshakes({"c0": "peer"}, per_endpoint=1, overall=16)
    handshakes.begin()
    _all_next(handshakes, now=0.0)
    handshakes.sent("c0", 0.0)
    looks: list[float] = []

    while not looks or not handshakes.late("c0", looks[-1]):
        at = handshakes.next_look()
        assert at is not None
        assert handshakes.due(at) == ["c0"]
        looks.append(at)

    assert looks[0] == LOOK_S
    assert looks[-1] == SLOT_S
    assert handshakes.next_look() is None


def test_the_address_has_gone() -> None:
    """Nothing waits any more, and nothing that was in flight counts when it comes back."""
    handshakes = Handshakes(ONE, per_endpoint=2, overall=16)
    handshakes.begin()
    for name in _all_next(handshakes):
        handshakes.sent(name, 0.0)

    handshakes.forget()

    assert _all_next(handshakes) == []
    assert handshakes.next_look() is None
    handshakes.begin()
    assert _all_next(handshakes) == ["c0", "c1"]


@settings(max_examples=200, deadline=None, database=None, derandomize=True)
@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=12), st.integers(1, 3), st.integers(1, 4), st.data())
def test_all_come_up_whatever_fails(leads: list[str], per_endpoint: int, overall: int, data: st.DataObject) -> None:
    """Never more in flight than allowed, and each connection comes up, once, if each try fails twice at most."""
    endpoints = {f"c{number}": endpoint for number, endpoint in enumerate(leads)}
    handshakes = Handshakes(endpoints, per_endpoint=per_endpoint, overall=overall)
    handshakes.begin()
    failures = dict.fromkeys(endpoints, 0)
    flying: list[str] = []
    up: list[str] = []
    while True:
        flying += _all_next(handshakes)
        assert len(flying) <= overall
        assert all(sum(endpoints[name] == each for name in flying) <= per_endpoint for each in "abc")
        if not flying:
            break
        name = flying.pop(data.draw(st.integers(0, len(flying) - 1)))
        if failures[name] < 2 and data.draw(st.booleans()):
            failures[name] += 1
            handshakes.failed(name)
        else:
            handshakes.up(name)
            up.append(name)
    assert sorted(up) == sorted(endpoints)
