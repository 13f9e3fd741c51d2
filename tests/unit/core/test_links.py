"""Devices of our own: up where a connection runs through them, down where it is released, else as they are."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from swanherd.core.decision import Decision, Goal
from swanherd.core.intent import GreInterface, Interface, XfrmInterface
from swanherd.core.links import GreLink, wanted
from swanherd.core.view import Memory
from swanherd.core.words import Reason, Role
from tests.unit.core.settings import ALPHA, BETA

DEVICE = XfrmInterface("ipsec-a", 7, install_routes=True)
NO_WAYS: dict[str, Interface] = {}
THROUGH = replace(ALPHA, xfrm=DEVICE, if_id=7)
ALSO = replace(BETA, xfrm=DEVICE, if_id=7)


def decision(name: str, role: Role, goal: Goal) -> Decision:
    """A decision about *name*."""
    return Decision(name, role, goal, Reason.UP)


CASES = {
    "not decided yet": (None, None),
    "runs": ((Role.ACTIVE, Goal.RUN), True),
    "charon cannot be asked": ((Role.ACTIVE, Goal.HOLD), True),
    "released": ((Role.STANDBY, Goal.RELEASE), False),
    "starting": ((Role.STANDBY, Goal.HOLD), None),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_up(case: tuple[tuple[Role, Goal] | None, bool | None]) -> None:
    """What is not decided is left alone: a tunnel that an agent before us left up may go through it."""
    decided, up = case
    decisions = {"alpha": decision("alpha", *decided)} if decided else {}
    link = wanted([THROUGH], decisions, NO_WAYS)["ipsec-a"]
    assert link.up is up
    assert bool(link.routes) == (up is True)


def test_shared() -> None:
    """A device that two share is up while one of them runs, and leads to the networks of those that do."""
    decisions = {
        "alpha": decision("alpha", Role.ACTIVE, Goal.RUN),
        "beta": decision("beta", Role.STANDBY, Goal.RELEASE),
    }
    link = wanted([THROUGH, ALSO], decisions, NO_WAYS)["ipsec-a"]
    assert link.up is True
    assert link.routes == {ip_network(selector) for child in ALPHA.children for selector in child.remote_ts}


def test_routes_of_the_settings() -> None:
    """Routes that are named lead into the device while it is up, beside or without those of the children.

    Broken by: ``wanted`` looking at ``install_routes`` alone.
    """
    named = ip_network("10.99.0.0/16")
    children = {ip_network(selector) for child in ALPHA.children for selector in child.remote_ts}
    runs = {"alpha": decision("alpha", Role.ACTIVE, Goal.RUN)}
    for install, expected in ((False, frozenset({named})), (True, frozenset({named} | children))):
        device = replace(DEVICE, install_routes=install, routes=(named,))
        link = wanted([replace(THROUGH, xfrm=device)], runs, NO_WAYS)["ipsec-a"]
        assert (link.routes, link.guarded) == (expected, expected)
        assert not wanted([replace(THROUGH, xfrm=device)], {}, NO_WAYS)["ipsec-a"].routes


def test_guarded() -> None:
    """Behind the routes of a connection that must not leak stands one that refuses, on the standby too."""
    dropping, passing = replace(THROUGH, when_down="drop"), replace(THROUGH, when_down="pass")
    assert wanted([dropping], {}, NO_WAYS)["ipsec-a"].guarded
    assert not wanted([passing], {}, NO_WAYS)["ipsec-a"].guarded


VIP, OTHER_VIP = ip_address("203.0.113.10"), ip_address("203.0.113.11")
FIRST, SECOND = ip_address("203.0.113.20"), ip_address("203.0.113.21")
ROUTED = ip_network("10.60.0.0/16")
WAYS = {"wan": Interface(name="wan", device="wan1", vips=(ip_address("2001:db8::10"), VIP))}
OVER_GRE = replace(
    ALPHA, interfaces=("wan",), remote=(str(FIRST), str(SECOND)), gre=GreInterface("gre-a", routes=(ROUTED,))
)


def test_ends() -> None:
    """A GRE device leads from the source in force to the endpoint in force; where none is, from the VIP to the first.

    Broken by: taking the first VIP whatever the source is; taking the first endpoint whatever the aim is.
    """
    standby = decision("alpha", Role.STANDBY, Goal.RELEASE)
    active = replace(decision("alpha", Role.ACTIVE, Goal.RUN), source=OTHER_VIP, memory=Memory(aim=SECOND))
    for known, ends in (
        ({}, (VIP, FIRST)),
        ({"alpha": standby}, (VIP, FIRST)),
        ({"alpha": active}, (OTHER_VIP, SECOND)),
    ):
        assert wanted([OVER_GRE], known, WAYS)["gre-a"].kind == GreLink(*ends)
    assert wanted([OVER_GRE], {"alpha": active}, WAYS)["gre-a"].routes == {ROUTED}
    assert wanted([OVER_GRE], {"alpha": standby}, WAYS)["gre-a"].routes == frozenset()


def test_ends_that_are_not_known() -> None:
    """A hostname that nobody has asked for yet, or an own address that is not here: the device is left as it is."""
    named = replace(OVER_GRE, remote=("peer.example",))
    own = {"wan": Interface(name="wan", device="wan1")}
    assert wanted([named], {}, WAYS)["gre-a"].kind is None
    assert wanted([OVER_GRE], {}, own)["gre-a"].kind is None
    active = replace(decision("alpha", Role.ACTIVE, Goal.RUN), source=VIP, memory=Memory(aim=SECOND))
    assert wanted([named], {"alpha": active}, own)["gre-a"].kind == GreLink(VIP, SECOND)


def test_none() -> None:
    """Connections without a device want none."""
    assert wanted([ALPHA, BETA], {}, NO_WAYS) == {}
