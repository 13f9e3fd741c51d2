"""Devices of our own: up where a connection runs through them, down where it is released, else as they are."""

from dataclasses import replace
from ipaddress import ip_network

import pytest

from swanherd.core.decide import Decision, Goal
from swanherd.core.intent import XfrmInterface
from swanherd.core.links import wanted
from swanherd.core.words import Reason, Role
from tests.unit.core.settings import ALPHA, BETA

DEVICE = XfrmInterface("ipsec-a", 7, install_routes=True)
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
    link = wanted([THROUGH], decisions)["ipsec-a"]
    assert link.up is up
    assert bool(link.routes) == (up is True)


def test_shared() -> None:
    """A device that two share is up while one of them runs, and leads to the networks of those that do."""
    decisions = {
        "alpha": decision("alpha", Role.ACTIVE, Goal.RUN),
        "beta": decision("beta", Role.STANDBY, Goal.RELEASE),
    }
    link = wanted([THROUGH, ALSO], decisions)["ipsec-a"]
    assert link.up is True
    assert link.routes == {ip_network(selector) for child in ALPHA.children for selector in child.remote_ts}


def test_guarded() -> None:
    """Behind the routes of a connection that must not leak stands one that refuses, on the standby too."""
    dropping, passing = replace(THROUGH, when_down="drop"), replace(THROUGH, when_down="pass")
    assert wanted([dropping], {})["ipsec-a"].guarded
    assert not wanted([passing], {})["ipsec-a"].guarded


def test_none() -> None:
    """Connections without a device want none."""
    assert wanted([ALPHA, BETA], {}) == {}
