"""Between which addresses a connection may still run here, and between which it must not."""

from dataclasses import replace
from ipaddress import IPv4Address, ip_address, ip_network

import pytest

from swanherd.core.decision import Decision, Goal
from swanherd.core.facts import CharonConnection, CharonIdentity, IkeSa, Known, Network, Pair, Unknown
from swanherd.core.orphans import kept_and_lost, meet
from swanherd.core.record import Entry
from swanherd.core.view import LaneFacts, View
from swanherd.core.words import Reason, Role

HERE, THERE = (ip_address(f"203.0.113.{last}") for last in (10, 11))
REMOTE = ip_network("198.51.100.1/32")
FROM_HERE, FROM_THERE = (Pair(source, REMOTE) for source in (HERE, THERE))
BOTH = frozenset({FROM_HERE, FROM_THERE})
VIEW = View(
    name="a",
    connection=None,
    interfaces={},
    network=Known(Network(), 0.0),
    charon=Known(CharonIdentity(1, 1), 0.0),
    wire=Known(None, 0.0),
    entry=Entry(frozenset(), "a", pairs=BOTH),
)


def _decision(goal: Goal, source: IPv4Address | None = None) -> Decision:
    return Decision("a", Role.STANDBY, goal, Reason.NO_ADDRESS, source=source)


def test_released_has_lost_everything() -> None:
    """Nothing in charon, or no charon: all addresses are lost. Broken by: ``released`` answering False."""
    assert kept_and_lost(VIEW, _decision(Goal.RELEASE)) == (frozenset(), BOTH)
    gone = replace(VIEW, charon=Unknown(1.0, "gone"), lane=LaneFacts(touched=True))
    assert kept_and_lost(gone, _decision(Goal.RELEASE)) == (frozenset(), BOTH)


@pytest.mark.parametrize(
    "view",
    [
        replace(VIEW, lane=LaneFacts(touched=True)),
        replace(VIEW, here=CharonConnection(traps=frozenset({"lan"}))),
        replace(VIEW, charon=Unknown(1.0, "frozen")),
        replace(VIEW, charon=Unknown(1.0, "not-read")),
    ],
    ids=["touched", "trapped", "frozen", "not-read"],
)
def test_what_charon_may_still_have_is_kept(view: View) -> None:
    """It is charon's to remove, and would be missed there. Broken by: ``released`` looking at the goal alone."""
    assert kept_and_lost(view, _decision(Goal.RELEASE)) == (BOTH, frozenset())


def test_who_holds_still_keeps_everything() -> None:
    """Somebody else's connection, or too little known. Broken by: treating HOLD like RELEASE."""
    assert kept_and_lost(replace(VIEW, charon=Unknown(1.0, "gone")), _decision(Goal.HOLD)) == (BOTH, frozenset())


def test_who_runs_keeps_its_source_and_those_of_its_sas() -> None:
    """What runs from elsewhere is lost, unless an SA still does. Broken by: keeping the decided source alone."""
    running = _decision(Goal.RUN, IPv4Address("203.0.113.10"))
    assert kept_and_lost(VIEW, running) == (frozenset({FROM_HERE}), frozenset({FROM_THERE}))
    sa = IkeSa("a", 1, "ESTABLISHED", THERE, None, initiator=True, since=0.0)
    moving = replace(VIEW, here=CharonConnection(sas=(sa,)))
    assert kept_and_lost(moving, running) == (BOTH, frozenset())


def test_a_network_that_is_kept_covers_its_addresses() -> None:
    """From the same source only. Broken by: comparing for equality."""
    anywhere = Pair(HERE, ip_network("0.0.0.0/0"))
    assert meet(FROM_HERE, anywhere)
    assert meet(anywhere, FROM_HERE)
    assert not meet(FROM_THERE, anywhere)
    assert not meet(FROM_HERE, Pair(HERE, ip_network("::/0")))
