"""Where to a connection is called: endpoints in order, a bounded attempt each, and the way back."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import ip_address
from typing import Any, Final

import pytest

from swanherd.core import aims
from swanherd.core.attempts import Backoff
from swanherd.core.decide import decide
from swanherd.core.decision import Decision
from swanherd.core.facts import Answer, CharonConnection, Failure, IkeSa, Known
from swanherd.core.intent import Connection, IPAddress
from swanherd.core.plan import plan
from swanherd.core.record import Entry
from swanherd.core.view import Attempt, LaneFacts, Memory, View
from swanherd.core.words import Reason, Role, Start
from tests.unit.core.charon import expected
from tests.unit.core.settings import ALPHA, VIP_WAN
from tests.unit.core.views import MASTER, NOW, VERSION, sa, view

ONE, TWO, THREE = (ip_address(f"203.0.113.{last}") for last in (21, 22, 23))
SEVERAL: Final = replace(ALPHA, remote=tuple(map(str, (ONE, TWO, THREE))), remote_id="peer.example", attempt_s=4.0)
NAMED: Final = replace(SEVERAL, remote=("peer.example", str(THREE)))
BACKOFF: Final = Backoff(min_s=1, max_s=60)


def up(address: IPAddress, unique_id: int = 1) -> IkeSa:
    """An SA that carries everything to *address*."""
    return replace(sa("alpha-1", "alpha-2", unique_id=unique_id), remote=address)


def half(address: IPAddress, unique_id: int = 2) -> IkeSa:
    """A handshake with *address* that is under way."""
    return replace(sa(state="CONNECTING", since=None, unique_id=unique_id), remote=address)


def seen(
    memory: Memory,
    *sas: IkeSa,
    connection: Connection = SEVERAL,
    answers: Mapping[str, Answer | None] | None = None,
    **words: Any,
) -> View:
    """As the store makes it: *connection* aimed by *memory*, and loaded like that."""
    declared = connection
    targets = aims.resolved(declared, answers or {})
    here = aims.aimed(declared, targets.known, aims.aim_of(targets.known, sas, memory.aim))
    digest = expected(here, VIP_WAN).digest
    defaults: dict[str, object] = {
        "connection": here,
        "network": Known(MASTER, 1.0),
        "here": CharonConnection(config=expected(here, VIP_WAN), secret=VERSION, sas=sas),
        "digests": {VIP_WAN: digest},
        "entry": Entry(frozenset({digest}), declared.shared_id),
        "basis": ("b",),
        "targets": targets.known,
        "unresolved": targets.unresolved,
    }
    return view(**(defaults | words))


def attempt(at: IPAddress, *, started: float, ended: float | None = None, failure: Failure | None = None) -> LaneFacts:
    """A lane whose latest handshake was with *at*."""
    memory = Memory(aim=at)
    digest = seen(memory).digests[VIP_WAN]
    return LaneFacts(attempt=Attempt(started, digest, ended, failure))


def active(**words: object) -> Memory:
    """Of a connection that runs."""
    return replace(Memory(role=Role.ACTIVE, source=VIP_WAN, basis=("b", VIP_WAN)), **words)  # type: ignore[arg-type]


def calls(decision: Decision, there: View) -> tuple[str, bool]:
    """Whom a plan would call first, and whether it would."""
    assert there.connection is not None
    return there.connection.remote[0], any(type(step).__name__ == "Initiate" for step in plan(decision, there).steps)


def again(
    memory: Memory, *sas: IkeSa, now: float, connection: Connection = SEVERAL, **words: Any
) -> tuple[Decision, View]:
    """The next pass."""
    there = seen(memory, *sas, connection=connection, **words)
    return decide(there, memory, now, BACKOFF), there


def test_each_endpoint_has_its_bounded_attempt_in_order() -> None:
    """Nobody answers: after ``attempt_s`` the next one is called, without a pause until all were tried, then with one.

    Broken by: ``aims.out_of_time`` answering None; ``gone_on`` keeping ``retry_at`` in the middle of a round.
    """
    memory, now, called = active(), NOW, list[str]()
    for address in (ONE, TWO, THREE):
        decision, there = again(memory, now=now)
        called.append(calls(decision, there)[0])
        assert calls(decision, there)[1]
        lane = attempt(address, started=now)
        decision, _ = again(decision.memory, half(address), now=now + 3.9, lane=lane)
        assert decision.memory.aim == address
        now += 4.0
        decision, _ = again(decision.memory, half(address), now=now, lane=lane)
        memory = decision.memory
        assert decision.look_again_at == now
        # What is left of the attempt must not stay: charon would go on calling.
        decision, _ = again(memory, half(address), now=now, lane=lane)
        assert decision.terminate == (2,)
    assert called == list(map(str, (ONE, TWO, THREE)))
    decision, there = again(memory, now=now, lane=lane)
    assert memory.aim == ONE
    assert (decision.reason, decision.initiate) == (Reason.NO_ANSWER, ())
    assert decision.look_again_at == now + BACKOFF.min_s


def test_a_refusal_goes_on_at_once() -> None:
    """An endpoint that refuses: the next one is called in the same moment.

    Broken by: ``_aiming`` without *failed*.
    """
    no = Failure(Reason.AUTH_FAILED, "no", NOW)
    decision, _ = again(active(aim=ONE), now=NOW, lane=attempt(ONE, started=NOW - 1, ended=NOW, failure=no))
    decision, there = again(decision.memory, now=NOW, lane=attempt(ONE, started=NOW - 1, ended=NOW, failure=no))
    assert calls(decision, there) == (str(TWO), True)


def test_what_works_stays() -> None:
    """Up to the second endpoint: it stays there, also after a restart of the agent, which remembers nothing.

    Broken by: ``aims.aim_of`` taking the first.
    """
    for memory in (active(aim=TWO), Memory()):
        decision, there = again(memory, up(TWO), now=NOW)
        assert (decision.reason, decision.terminate, there.connection.remote[0] if there.connection else "") == (
            Reason.UP, (), str(TWO),
        )  # fmt: skip


def test_a_peer_that_died_is_left_for_the_next_endpoint() -> None:
    """Dead peer detection has removed the SA: the next endpoint is called, not the dead one once more.

    Broken by: ``aims.lost`` answering False.
    """
    dead = Failure(Reason.NO_ANSWER, "giving up", NOW)
    lane = attempt(ONE, started=NOW - 100, ended=NOW - 99)
    there = seen(active(aim=ONE))
    gone = replace(there.here, failure=dead)
    decision, _ = again(active(aim=ONE), now=NOW, lane=lane, here=gone)
    assert decision.memory.aim == TWO
    decision, there = again(decision.memory, now=NOW, lane=lane)
    assert calls(decision, there) == (str(TWO), True)


@pytest.mark.parametrize("let_in", [True, False])
def test_it_returns_to_a_first_endpoint_that_lives(*, let_in: bool) -> None:
    """It is probed while the tunnel runs to another one, and called when it answers, the old SA going on meanwhile.

    Where it does not let us in, the tunnel stays, and it is left alone for a while. Broken by: ``moves.on_way``
    looking at the source only (the old SA is taken for the new one); ``gone_on`` without the SA that is up.
    """
    declared = replace(SEVERAL, prefer_first=True)
    decision, _ = again(active(aim=TWO), up(TWO), now=NOW, connection=declared)
    assert decision.probe == (ONE,)
    answering = frozenset({ONE})
    decision, _ = again(decision.memory, up(TWO), now=NOW, connection=declared, answering=answering)
    assert decision.memory.aim == ONE
    memory = decision.memory
    decision, there = again(memory, up(TWO), now=NOW, connection=declared, answering=answering)
    assert calls(decision, there) == (str(ONE), True)
    assert (decision.reason, decision.terminate) == (Reason.MOVING, ())
    if let_in:
        decision, _ = again(memory, up(TWO), up(ONE, 2), now=NOW + 1, connection=declared)
        assert decision.terminate == (1,)
        return
    digest = there.digests[VIP_WAN]
    no = Failure(Reason.AUTH_FAILED, "no", NOW + 1)
    lane = LaneFacts(attempt=Attempt(NOW, digest, NOW + 1, no))
    decision, _ = again(decision.memory, up(TWO), now=NOW + 1, connection=declared, lane=lane)
    assert decision.memory.aim == TWO
    for now, aim in ((NOW + 30, TWO), (NOW + 1 + aims.RETURN_AGAIN_S, ONE)):
        decision, _ = again(decision.memory, up(TWO), now=now, connection=declared, answering=answering, lane=lane)
        assert decision.memory.aim == aim


def test_without_prefer_first_nothing_is_probed() -> None:
    """The tunnel stays where it works, and nobody is asked.

    Broken by: ``aims.preferred`` that does not look at the setting.
    """
    decision, _ = again(active(aim=TWO), up(TWO), now=NOW, answering=frozenset({ONE}))
    assert (decision.probe, decision.memory.aim) == ((), TWO)


def names(*addresses: IPAddress) -> dict[str, Answer | None]:
    """What DNS says of the one name."""
    return {"peer.example": Answer(frozenset(addresses), "dns")}


@pytest.mark.parametrize(
    ("answers", "known", "unresolved"),
    [
        (names(TWO, ONE), (ONE, TWO, THREE), ()),
        (names(THREE), (THREE,), ()),
        (names(ip_address("2001:db8::1")), (THREE,), ()),
        (names(), (THREE,), ("peer.example",)),
        ({}, (THREE,), ("peer.example",)),
    ],
    ids=["several records, in order", "as another endpoint", "of the other family", "empty", "never asked"],
)
def test_names_become_addresses(
    answers: dict[str, Answer | None], known: Iterable[IPAddress], unresolved: tuple[str, ...]
) -> None:
    """A name's addresses stand in its place among the endpoints; each address is there once.

    Broken by: taking addresses in the order of the answer, which servers rotate.
    """
    found = aims.resolved(NAMED, answers)
    many = [ip_address(f"192.0.2.{last}") for last in range(aims.ADDRESSES_OF_A_NAME)]
    assert [each.address for each in aims.resolved(NAMED, names(*many)).known] == [*many, THREE]
    assert (tuple(target.address for target in found.known), found.unresolved) == (tuple(known), unresolved)


def test_a_connection_with_a_name_answers_anybody() -> None:
    """Loaded are literal addresses, the aim first, and anywhere behind them: who calls is known by identity.

    Broken by: ``aims.aimed`` that leaves the name to charon, whose threads would wait for DNS.
    """
    known = aims.resolved(NAMED, names(ONE)).known
    assert aims.aimed(NAMED, known, THREE).remote == (str(THREE), str(ONE), "0.0.0.0")
    assert aims.aimed(replace(NAMED, ip_version=6), (), None).remote == ("::",)


def test_a_name_without_an_address_is_waited_for() -> None:
    """Nobody can be called: said so, loaded all the same, since the peer may call.

    Broken by: ``_children`` initiating to 0.0.0.0.
    """
    declared = replace(NAMED, remote=("peer.example",))
    decision, there = again(active(), now=NOW, connection=declared)
    assert (decision.role, decision.reason, decision.detail) == (
        Role.ACTIVE, Reason.UNRESOLVED, "no address is known for peer.example",
    )  # fmt: skip
    assert not calls(decision, there)[1]


def test_a_responder_has_no_aim() -> None:
    """Who only answers calls nobody, whatever fails.

    Broken by: ``_aiming`` without a look at ``start``.
    """
    declared = replace(SEVERAL, start=Start.RESPOND)
    there = seen(active(), connection=declared)
    no = Failure(Reason.AUTH_FAILED, "no", NOW)
    lane = LaneFacts(attempt=Attempt(NOW - 1, there.digests[VIP_WAN], NOW, no))
    decision, _ = again(active(), now=NOW, connection=declared, lane=lane)
    assert (decision.reason, decision.initiate) == (Reason.WAITING_FOR_PEER, ())
    assert decision.memory.aim == ONE
