"""The explanation of a connection says what the decision did, candidate by candidate."""

from dataclasses import replace
from typing import Final

from swanherd.core.decide import decide
from swanherd.core.explain import Candidate, Explanation, explain
from swanherd.core.facts import Answer, Link
from swanherd.core.view import Memory, View
from swanherd.core.words import Role
from tests.unit.core.settings import VIP_LTE, VIP_WAN
from tests.unit.core.test_aims import NAMED, ONE, THREE, TWO, active, seen, up
from tests.unit.core.test_moves import BY_LTE, BY_WAN, HERE, NEW, OLD, beta
from tests.unit.core.views import NOW, network

GRE: Final = Link("gre1", 8, up=True, kind="gre")


def explained(there: View, memory: Memory, answers: dict[str, Answer | None] | None = None) -> Explanation:
    """As the loop does it."""
    decision = decide(there, memory, NOW)
    return explain(there, decision, decision.memory, answers or {}, NOW)


def won(candidates: tuple[Candidate, ...]) -> list[str]:
    """What won."""
    return [each.what for each in candidates if each.won]


def because(candidates: tuple[Candidate, ...], what: str) -> str:
    """Why *what* won or lost."""
    return "; ".join(next(each.because for each in candidates if each.what == what))


def test_every_default_route_and_every_interface_is_told_of() -> None:
    """Tunnel, dead, worse and best routes each say why they do not count; each interface says whether it is held.

    Broken by: ``_routes`` that tells of the best one only.
    """
    routes = (("gre1", 1), ("eth2", 2), *BY_LTE)
    there = beta(network(*HERE, defaults=routes, links=[GRE], down=["eth2"]), NEW, loaded=VIP_LTE)
    told = explained(there, Memory(role=Role.ACTIVE, source=VIP_LTE))
    assert [each.what for each in told.routes] == [f"{device} metric {metric}" for device, metric in routes]
    assert won(told.routes) == ["eth1 metric 5"]
    assert "tunnel device" in because(told.routes, "gre1 metric 1")
    assert "dead" in because(told.routes, "eth2 metric 2")
    assert "a higher metric" in because(told.routes, "eth0 metric 10")
    assert won(told.sources) == [f"lte {VIP_LTE}"]
    assert "live SA" in because(told.sources, f"lte {VIP_LTE}")
    assert because(told.sources, f"wan {VIP_WAN}").endswith("the IPv4 default route leaves by eth1 (metric 5)")


def test_a_source_that_is_kept_for_a_while_says_for_how_long() -> None:
    """Damped: what won is where the tunnel is, not where the route leaves, and it says so.

    Broken by: taking for the winner what the route says.
    """
    memory = replace(Memory(role=Role.ACTIVE, source=VIP_LTE), moved_at=NOW - 4)
    told = explained(beta(network(*HERE, defaults=BY_WAN), NEW, loaded=VIP_LTE), memory)
    assert won(told.sources) == [f"lte {VIP_LTE}"]
    assert "6 s left" in because(told.sources, f"lte {VIP_LTE}")


def test_an_address_that_is_not_held_says_why() -> None:
    """The way out is there, its address is not: nothing won.

    Broken by: a candidate left out because it is not held.
    """
    told = explained(beta(network(HERE[1], defaults=BY_WAN), OLD), Memory())
    assert (told.source, won(told.sources)) == (None, [])
    assert "not held: 192.0.2.10 not on eth0" in because(told.sources, "wan")


def test_each_endpoint_says_where_its_address_is_from() -> None:
    """Which one is called, which one carries the tunnel, which one is probed, and which name nobody knows.

    Broken by: ``_endpoints`` without ``view.unresolved``.
    """
    declared = replace(NAMED, remote=(*NAMED.remote, str(TWO), "gone.example"), prefer_first=True)
    answers: dict[str, Answer | None] = {
        "peer.example": Answer(frozenset({ONE}), "kept", "timed out"),
        "gone.example": Answer(frozenset(), "dns", "no such name"),
    }
    there = seen(active(aim=TWO), up(TWO), connection=declared, answers=answers)
    told = explained(there, active(aim=TWO), answers)
    assert won(told.endpoints) == [str(TWO)]
    assert "a live SA leads to it" in because(told.endpoints, str(TWO))
    assert because(told.endpoints, f"peer.example {ONE}") == (
        "from DNS, in an earlier run; now nobody answers: timed out; in the list behind the one that is called; "
        "it is probed, and does not answer"
    )
    assert because(told.endpoints, str(THREE)).startswith("as it is set")
    assert because(told.endpoints, "gone.example") == "no IPv4 address is known (no such name)"
    assert "never called" in because(told.endpoints, "anywhere")


def test_one_interface_needs_no_route() -> None:
    """Where the default route does not choose, none is told of.

    Broken by: ``explain`` telling of routes always.
    """
    assert explained(seen(active(aim=TWO)), active()).routes == ()
