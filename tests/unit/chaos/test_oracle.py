"""What the oracle of ``make chaos`` calls wrong, and what it lets pass."""

import math

import pytest

from tests.chaos.oracle import FENCE_S, REBUILT_S, UNRESOLVED_S, Event, Kind, Violation, judge

A, B = "gw-a", "gw-b"
ADVERT_S = 0.2
BEFORE = -math.inf


def at(when: float, gateway: str, kind: Kind) -> Event:
    """Something that happened."""
    return Event(when, gateway, kind)


def every(gateway: str, kind: Kind, *, since: float, until: float, step_s: float = 0.05) -> list[Event]:
    """The same again and again."""
    return [at(since + step_s * n, gateway, kind) for n in range(int((until - since) / step_s) + 1)]


def adverts(of: str, to: str, *, since: float, until: float) -> list[Event]:
    """Adverts that leave one gateway and reach the other."""
    return [
        *every(of, Kind.OWN_ADVERT, since=since, until=until, step_s=ADVERT_S),
        *every(to, Kind.OTHER_ADVERT, since=since, until=until, step_s=ADVERT_S),
    ]


def sends(gateway: str, *, since: float, until: float) -> list[Event]:
    """A tunnel that carries something."""
    return every(gateway, Kind.SENT, since=since, until=until, step_s=0.01)


def wrong(*events: Event) -> list[Violation]:
    """The verdict on something that began well at 0."""
    return judge(events, advert_s=ADVERT_S, since=0.0)


HANDOVER = (
    at(BEFORE, A, Kind.HELD),
    *adverts(A, B, since=0.0, until=1.0),
    *adverts(B, A, since=1.6, until=5.0),
    at(1.6, B, Kind.HELD),
)
"""gw-a's daemon goes silent at 1.0, its address stays; gw-b takes over at 1.6."""


def test_a_clean_handover() -> None:
    """The old master sends until its address leaves, the new one from its arrival on: nothing is wrong."""
    assert not wrong(
        at(BEFORE, A, Kind.HELD),
        *adverts(A, B, since=0.0, until=1.0),
        *sends(A, since=0.0, until=1.0),
        at(1.0, A, Kind.LOST),
        *adverts(B, A, since=1.6, until=3.0),
        at(1.6, B, Kind.HELD),
        *sends(B, since=1.6, until=3.0),
    )


def test_two_charons_run_the_same_tunnel() -> None:
    """A gateway without the address runs the tunnel too: a ghost, whatever it thinks."""
    [found] = wrong(
        at(BEFORE, A, Kind.HELD),
        *adverts(A, B, since=0.0, until=3.0),
        *sends(A, since=0.0, until=3.0),
        *sends(B, since=2.0, until=3.0),
    )
    assert (found.gateway, found.since, found.packets) == (B, 2.0, 101)


def test_two_charons_run_the_same_tunnel_and_both_have_the_address() -> None:
    """Put there by somebody, on both: the one that never sent an advert has no right to it."""
    both = [at(BEFORE, A, Kind.HELD), at(1.0, B, Kind.HELD)]
    run = [*sends(A, since=0.0, until=3.0), *sends(B, since=1.0, until=3.0)]
    [found] = wrong(*both, *run)
    assert (found.gateway, "never said" in found.why) == (B, True)
    [found] = wrong(*both, *adverts(A, B, since=0.0, until=3.0), *run)
    assert (found.gateway, round(found.lost_at, 3)) == (B, 1.2)


def test_a_ghost_on_an_address_that_was_left_behind() -> None:
    """Its daemon is dead, its address is there, the other's adverts arrive: silent within the bar, or wrong."""
    assert not wrong(*HANDOVER, *sends(A, since=0.0, until=1.6 + FENCE_S - 0.001), *sends(B, since=1.61, until=5.0))
    [found] = wrong(*HANDOVER, *sends(A, since=0.0, until=4.0), *sends(B, since=1.61, until=5.0))
    assert (found.gateway, found.lost_at) == (A, 1.6)
    assert math.isclose(found.late_ms, 2400, abs_tol=1)


def test_it_ends_when_its_own_daemon_speaks_again() -> None:
    """An advert of its own gives the right back; the address's return does too."""
    spoke = [*HANDOVER, *adverts(A, B, since=4.0, until=5.0)]
    assert not wrong(*spoke, *sends(A, since=4.0, until=5.0))
    returned = [*HANDOVER, at(3.0, A, Kind.LOST), at(3.5, A, Kind.HELD)]
    assert wrong(*returned, *sends(A, since=3.5, until=4.5))
    assert not wrong(*returned, *adverts(A, B, since=3.5, until=4.5), *sends(A, since=3.5, until=4.5))


def test_both_are_masters_while_they_do_not_hear_each_other() -> None:
    """In a partition both may run, whether adverts get lost on the wire or do not come to it."""
    on_the_wire = [
        at(BEFORE, A, Kind.HELD),
        *every(A, Kind.OWN_ADVERT, since=0.0, until=5.0, step_s=ADVERT_S),
        at(1.0, B, Kind.HELD),
        *every(B, Kind.OWN_ADVERT, since=1.0, until=5.0, step_s=ADVERT_S),
    ]
    run = [*sends(A, since=0.0, until=5.0), *sends(B, since=1.0, until=5.0)]
    assert not wrong(*on_the_wire, *run)
    in_the_gateways = [
        at(BEFORE, A, Kind.HELD),
        *(at(0.5, gateway, Kind.MUTE) for gateway in (A, B)),
        at(1.0, B, Kind.HELD),
    ]
    assert not wrong(*in_the_gateways, *run)
    healed = [at(3.0, gateway, Kind.AUDIBLE) for gateway in (A, B)]
    ends = [*adverts(A, B, since=3.1, until=5.0), at(3.12, B, Kind.LOST)]
    [found] = wrong(*in_the_gateways, *healed, *ends, *run)
    assert (found.gateway, round(found.lost_at, 2)) == (B, 3.12)


@pytest.mark.parametrize(("back_at", "is_wrong"), [(None, False), (2.0, True)])
def test_an_agent_that_is_out_cannot_fence(back_at: float | None, *, is_wrong: bool) -> None:
    """Dead or frozen it is excused, and no longer than that: the next advert that it can hear counts."""
    back = [] if back_at is None else [at(back_at, A, Kind.AGENT_IN)]
    found = wrong(*HANDOVER, at(1.5, A, Kind.AGENT_OUT), *back, *sends(A, since=0.0, until=4.0))
    assert [violation.gateway for violation in found] == ([A] if is_wrong else [])
    assert all(2.0 <= violation.lost_at <= 2.0 + ADVERT_S for violation in found)


def test_what_was_fenced_stays_so_when_the_agent_dies() -> None:
    """The rules are the kernel's: an agent that dies after its fence excuses nothing."""
    [found] = wrong(*HANDOVER, at(2.5, A, Kind.AGENT_OUT), *sends(A, since=3.0, until=3.5))
    assert found.gateway == A


def test_without_tables_nothing_is_stopped_until_they_are_back() -> None:
    """An agent that can act has a second to put them back; one that cannot has that from its return on."""
    gone = [at(BEFORE, A, Kind.HELD), at(1.0, A, Kind.LOST), at(2.0, A, Kind.TABLES_GONE)]
    assert not wrong(*gone, *sends(A, since=2.0, until=2.0 + REBUILT_S))
    assert wrong(*gone, *sends(A, since=2.0 + REBUILT_S + 0.1, until=3.5))
    assert not wrong(*gone, at(1.9, A, Kind.AGENT_OUT), *sends(A, since=2.0, until=5.0))
    back = [at(1.9, A, Kind.AGENT_OUT), at(5.0, A, Kind.AGENT_IN)]
    assert wrong(*gone, *back, *sends(A, since=2.0, until=7.0))


def test_what_waited_for_its_next_hop_while_the_cable_was_out() -> None:
    """It leaves when the cable is back, behind all rules, unless an agent was there to drop it; later it is a ghost."""
    cable = [at(BEFORE, A, Kind.HELD), at(1.0, A, Kind.LOST), at(2.0, A, Kind.CABLE_BACK)]
    out = at(0.5, A, Kind.AGENT_OUT)
    assert not wrong(out, *cable, *sends(A, since=2.1, until=2.2))
    assert wrong(out, *cable, *sends(A, since=2.0 + UNRESOLVED_S + 0.1, until=6.0))
    assert wrong(*cable, *sends(A, since=2.1, until=2.2))


def test_from_an_address_of_its_own() -> None:
    """Whoever holds the virtual address, IPsec from another one is wrong."""
    [found] = wrong(at(BEFORE, A, Kind.HELD), at(1.0, A, Kind.SENT_FROM_ELSEWHERE))
    assert found.gateway == A


def test_in_clear() -> None:
    """What belongs into the tunnel leaves in clear: wrong on a master too, but not while nobody could stop it."""
    [found] = wrong(at(BEFORE, A, Kind.HELD), at(1.0, A, Kind.SENT_IN_CLEAR))
    assert (found.gateway, found.why) == (A, "in clear")
    assert not wrong(at(1.0, A, Kind.TABLES_GONE), at(1.5, A, Kind.SENT_IN_CLEAR))


def test_the_judge_reads_addresses_late() -> None:
    """A packet that leaves a moment before its address was read is right; so is one that leaves after it was there."""
    early = [at(BEFORE, A, Kind.HELD), at(1.0, A, Kind.LOST), at(1.02, B, Kind.OWN_ADVERT), at(1.1, B, Kind.HELD)]
    assert not wrong(*early, at(1.03, B, Kind.SENT))
    assert wrong(*early, at(0.9, B, Kind.SENT))


def test_a_machine_that_does_not_let_the_agent_run() -> None:
    """What it waited for the processor is added to the bar, and nothing more."""
    events = [*HANDOVER, at(1.75, A, Kind.SENT)]
    assert judge(events, advert_s=ADVERT_S, since=0.0)
    assert not judge(events, advert_s=ADVERT_S, since=0.0, late=lambda *_: 0.2)
    assert judge(events, advert_s=ADVERT_S, since=0.0, late=lambda *_: 0.05)
