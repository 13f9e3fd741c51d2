"""The table of VRRP evidence, row by row: what is heard and said, and whether the right to an address is left."""

from dataclasses import replace
from ipaddress import ip_address
from typing import Final

import pytest

from swanherd.core.evidence import (
    Heard,
    Judgement,
    Situation,
    VrrpFacts,
    VrrpState,
    displaced_before,
    displaced_look_at,
    judge,
)
from swanherd.core.facts import HeldAddress, Known, Unknown
from swanherd.core.intent import EvidenceSource, VrrpDeclaration
from swanherd.core.words import Reason

VIP: Final = ip_address("192.0.2.10")
NOW: Final = 1000.0
INTERVAL_S: Final = 1.0
CAME: Final = HeldAddress(VIP, 24, "eth0", usable=True, since=900.0, watched=True)
WAS_THERE: Final = replace(CAME, watched=False)
ALL: Final = frozenset(EvidenceSource)
ADVERTS: Final = frozenset({EvidenceSource.ADVERTS})
DBUS: Final = frozenset({EvidenceSource.DBUS})
PROCESS: Final = frozenset({EvidenceSource.PROCESS})


def declared(evidence: frozenset[EvidenceSource]) -> VrrpDeclaration:
    """An instance with 1 s adverts."""
    return VrrpDeclaration(instance="VI_1", vrid=51, evidence=evidence, advert_interval_s=INTERVAL_S)


def heard(**times: float | str | None) -> VrrpFacts:
    """What a listener that has listened since 0 heard."""
    return VrrpFacts(listener=Known(Heard(**times), 0.0))  # type: ignore[arg-type]  # the row names the fields


def said(state: VrrpState, read_at: float) -> VrrpFacts:
    """What keepalived said by D-Bus, and when that was read."""
    return VrrpFacts(state=Known(state, read_at))


def silent(why: str, since: float) -> VrrpFacts:
    """A D-Bus that has no answer."""
    return VrrpFacts(state=Unknown(since, why))


def fenced(since: float) -> Situation:
    """The address is fenced since then."""
    return Situation(now=NOW, fenced={VIP: since})


SITUATION: Final = Situation(now=NOW)
RUNNING: Final = Situation(now=NOW, running=frozenset({VIP}))
STARTING: Final = Situation(now=NOW, running=None)

ROWS: Final = {
    # evidence, address, facts, situation -> right, reason
    "nothing declared: the address alone decides": (frozenset(), WAS_THERE, VrrpFacts(), SITUATION, True, None),
    "our adverts leave": (ADVERTS, CAME, heard(own_at=NOW - 0.5), SITUATION, True, None),
    "our adverts pause, nobody else is heard: silence keeps the right": (
        ADVERTS, CAME, heard(own_at=NOW - 60), SITUATION, True, None,
    ),
    "another's advert, ours are missing: fence": (
        ADVERTS, CAME, heard(own_at=NOW - 2, other_at=NOW, other="192.0.2.3"), SITUATION, False, Reason.ANOTHER_MASTER,
    ),
    "another spoke while ours left, and nobody does now: silence keeps the right": (
        ADVERTS, CAME, heard(own_at=NOW - 60, other_at=NOW - 60.1, other="192.0.2.3"), SITUATION, True, None,
    ),
    "another's advert while ours leave: hold, two masters": (
        ADVERTS, CAME, heard(own_at=NOW - 0.5, other_at=NOW, other="192.0.2.3"), SITUATION, True, None,
    ),
    "the old master's adverts from before the address came": (
        ADVERTS, CAME, heard(other_at=CAME.since - 0.5, other="192.0.2.3"), SITUATION, True, None,
    ),
    "takeover: the address has just come, no advert yet": (
        ALL, replace(CAME, since=NOW), heard(other_at=NOW - 4), SITUATION, True, None,
    ),
    "keepalived says BACKUP, read well after the address came": (
        DBUS, CAME, said(VrrpState.BACKUP, NOW), SITUATION, False, Reason.VRRP_BACKUP,
    ),
    "keepalived says FAULT, read well after the address came": (
        DBUS, CAME, said(VrrpState.FAULT, NOW), SITUATION, False, Reason.VRRP_FAULT,
    ),
    "keepalived says BACKUP, read as the address came: older than it": (
        DBUS, replace(CAME, since=NOW - 0.1), said(VrrpState.BACKUP, NOW), SITUATION, True, None,
    ),
    "keepalived says something unheard of": (DBUS, CAME, said(VrrpState.OTHER, NOW), SITUATION, True, None),
    "keepalived gone, with a listener, nobody else heard: hold": (
        ALL, CAME, replace(heard(own_at=NOW - 60), process=Known(value=False, since=NOW - 60)), SITUATION, True, None,
    ),
    "keepalived gone, no listener, within the grace": (
        PROCESS, CAME, VrrpFacts(process=Known(value=False, since=NOW - 2)), SITUATION, True, None,
    ),
    "keepalived gone, no listener, after the grace: fence": (
        PROCESS, CAME, VrrpFacts(process=Known(value=False, since=NOW - 2.6)), SITUATION, False, Reason.KEEPALIVED_GONE,
    ),
    "keepalived silent on D-Bus, no listener, after the grace: fence": (
        DBUS, CAME, silent("silent", NOW - 2.6), SITUATION, False, Reason.KEEPALIVED_SILENT,
    ),
    "keepalived has left the bus, its process alive: hold on the address": (
        DBUS | PROCESS, CAME, replace(silent("gone", NOW - 60), process=Known(value=True, since=NOW - 900)), SITUATION,
        True, None,
    ),
    "keepalived gone from the bus, no word of its process, after the grace: fence": (
        DBUS, CAME, silent("gone", NOW - 2.6), SITUATION, False, Reason.KEEPALIVED_GONE,
    ),
    "D-Bus gone: hold on the address": (DBUS, CAME, silent("no-bus", NOW - 60), SITUATION, True, None),
    "D-Bus restarted, keepalived has not come to it: hold on the address": (
        DBUS, CAME, silent("not-on-new-bus", NOW - 60), SITUATION, True, None,
    ),
    "D-Bus gone, address from before the agent: the address decides": (
        DBUS, WAS_THERE, silent("no-bus", NOW - 60), SITUATION, True, None,
    ),
    "left behind before the agent started, keepalived gone: silence gives no right": (
        ALL, WAS_THERE, replace(heard(), process=Known(value=False, since=NOW - 60)), SITUATION, False,
        Reason.KEEPALIVED_GONE,
    ),
    "the same with a live SA of ours from it, nobody else heard: kept": (
        ALL, WAS_THERE, replace(heard(), process=Known(value=False, since=NOW - 60)), RUNNING, True, None,
    ),
    "was there before the agent, nothing said yet: wait for a word": (
        DBUS, WAS_THERE, silent("not-read", NOW - 0.1), SITUATION, False, Reason.WAITING_FOR_VRRP,
    ),
    "was there before the agent, charon not read yet: hold what may run": (
        DBUS, WAS_THERE, silent("not-read", NOW - 0.1), STARTING, True, None,
    ),
    "was there before the agent, our adverts leave: right": (
        ADVERTS, WAS_THERE, heard(own_at=NOW - 0.5), SITUATION, True, None,
    ),
    "fenced, and silence since: stays fenced": (
        ADVERTS, CAME, heard(own_at=NOW - 60), fenced(NOW - 30), False, Reason.ANOTHER_MASTER,
    ),
    "fenced, and the agent restarted: stays fenced": (
        ALL, replace(WAS_THERE, since=NOW), heard(), fenced(NOW - 0.5), False, Reason.ANOTHER_MASTER,
    ),
    "fenced, and our adverts leave again: right": (
        ADVERTS, CAME, heard(own_at=NOW - 0.5), fenced(NOW - 30), True, None,
    ),
    "fenced after our last advert, a moment ago: stays fenced": (
        ADVERTS, CAME, heard(own_at=NOW - 0.5), fenced(NOW - 0.4), False, Reason.ANOTHER_MASTER,
    ),
    "fenced by the grace's end, nobody listens: the reason stays the daemon's": (
        PROCESS, CAME, VrrpFacts(process=Known(value=False, since=NOW - 60)), fenced(NOW - 57), False,
        Reason.KEEPALIVED_GONE,
    ),
    "fenced since keepalived said BACKUP: the reason stays its word": (
        DBUS, CAME, said(VrrpState.BACKUP, NOW), fenced(NOW - 1), False, Reason.VRRP_BACKUP,
    ),
    "fenced, keepalived dead, and a listener: only another's advert could have been the reason": (
        ALL, CAME, replace(heard(), process=Known(value=False, since=NOW - 60)), fenced(NOW - 30), False,
        Reason.ANOTHER_MASTER,
    ),
    "fenced, and the address left and came back: right": (
        ADVERTS, replace(CAME, since=NOW - 1), heard(), fenced(NOW - 30), True, None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_row(row: str) -> None:
    """Each row of the table, by its own words."""
    evidence, address, facts, situation, right, reason = ROWS[row]

    judged = judge(declared(evidence), address, facts, situation)

    assert judged.right is right, judged
    if reason is not None:
        assert judged.reason is reason


def test_two_masters_are_told() -> None:
    """While both speak and our own daemon vouches nothing is fenced, and people are told."""
    both = heard(own_at=NOW - 0.5, other_at=NOW, other="192.0.2.3")

    judged = judge(declared(ADVERTS), CAME, both, SITUATION)

    assert judged.two_masters
    assert "192.0.2.3" in judged.detail


@pytest.mark.parametrize("ago_s", [0.1, 1.0, 2.4])
def test_a_grace_that_runs_names_its_end(ago_s: float) -> None:
    """Time alone ends the grace, so the judgement says when to look again: 2.5 advert intervals after the death."""
    dead = VrrpFacts(process=Known(value=False, since=NOW - ago_s))

    judged: Judgement = judge(declared(PROCESS), CAME, dead, SITUATION)

    assert judged.look_again_at == pytest.approx(NOW - ago_s + 2.5)


DISPLACED: Final = {
    "nothing was heard": (heard(own_at=NOW), None),
    "another spoke and is quiet now": (heard(own_at=NOW, other_at=NOW - 5), NOW - 5),
    "another still speaks: replacing the SA would only displace it again": (heard(own_at=NOW, other_at=NOW - 1), None),
    "another spoke before the address came": (heard(own_at=NOW, other_at=CAME.since - 1), None),
    "a foreign MAC claimed the address": (heard(own_at=NOW, claimed_at=NOW - 5), NOW - 5),
    "our own adverts paused longer than a backup waits": (heard(own_at=NOW, own_resumed_at=NOW - 5), NOW - 5),
}


@pytest.mark.parametrize("row", DISPLACED)
def test_displaced(row: str) -> None:
    """What makes an SA from before doubtful, and when it is replaced."""
    facts, before = DISPLACED[row]
    assert displaced_before(declared(ADVERTS), facts, CAME, NOW) == before


LOOKS: Final = {
    "nothing was heard": (heard(own_at=NOW), None),
    "another spoke a moment ago: looked at when it has been silent for 1.5 advert intervals": (
        heard(own_at=NOW, other_at=NOW - 1), NOW + 0.5,
    ),
    "a foreign MAC claimed the address after that: the later word counts": (
        heard(own_at=NOW, other_at=NOW - 1, claimed_at=NOW - 0.5), NOW + 1.0,
    ),
    "another spoke, and is quiet: it counts already": (heard(own_at=NOW, other_at=NOW - 5), None),
    "another spoke before the address came: it never counts": (heard(own_at=NOW, other_at=CAME.since - 1), None),
    "our own adverts paused: that counts at once": (heard(own_at=NOW, own_resumed_at=NOW), None),
    "nobody listens": (VrrpFacts(listener=Unknown(NOW, "no-device", Heard(other_at=NOW - 1))), None),
}  # fmt: skip


@pytest.mark.parametrize("row", LOOKS)
def test_a_sign_that_does_not_count_yet_names_when_it_will(row: str) -> None:
    """Silence brings no look: who waits for it must say when. Then the sign counts, not a moment before.

    Broken by: ``displaced_look_at`` answering None.
    """
    facts, at = LOOKS[row]

    look = displaced_look_at(declared(ADVERTS), facts, CAME, NOW)

    assert look == (pytest.approx(at, abs=0.01) if at is not None else None)
    if look is not None:
        assert displaced_before(declared(ADVERTS), facts, CAME, NOW) is None
        assert displaced_before(declared(ADVERTS), facts, CAME, look) is not None
