"""Which gateway may send IPsec at a moment, from what the wires, the kernels and the fault injector say; and who did.

The rules are those of ``docs/design/0014-chaos.md``, and no word of any agent is read. A packet of IKE, ESP or AH that
leaves a gateway's WAN is right while that gateway

1. sends it from the virtual address,
2. holds that address, or held it no longer than ``FENCE_S`` ago,
3. has not heard another router since its own adverts went missing, or not longer than ``FENCE_S`` ago, until its own
   daemon's advert leaves again or the address leaves and returns, and
4. where it got the address while the other gateway held it: has sent an advert of its own since.

What belongs into the tunnel is never right in clear.

Who could not act is excused for that time, and not longer: an agent that is dead or frozen cannot fence an address
that is here; without the firewall tables nothing is stopped until they had time to be back.

Pure: events in, violations out. Times are seconds of CLOCK_MONOTONIC.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import Enum, unique
from typing import Final

FENCE_S: Final = 0.05
"""From the loss of the right to the last packet, at most: the bar of the fault table."""
VOUCH_INTERVALS: Final = 1.5
"""Our own adverts are missing when the last one is older than so many intervals."""
NEAR_S: Final = 0.02
"""Two clocks read the same event so far apart: the kernel stamps a packet, the judge's reading stamps an address."""
REBUILT_S: Final = 1.0
"""An agent that can act has our tables back so long after somebody removed them."""
HOLD_SLACK_S: Final = 0.1
"""An address may be there this much before the judge has read it: it does so when it gets the processor."""
UNRESOLVED_S: Final = 3.2
"""What is sent while the cable is out waits in the kernel for its next hop's MAC, behind every hook of the firewall,
and leaves when that is found: at one of three questions, a second apart (``mcast_solicit``, ``retrans_time``). An agent
that sees the address go drops it; one that is out then cannot."""
_NEVER: Final[float | None] = -math.inf
BURST_PAUSE_S: Final = 0.2
"""A longer silence ends a violation, and the next packet begins another one."""


@unique
class Kind(Enum):
    """What happened."""

    HELD = "the address came"
    LOST = "the address left"
    OWN_ADVERT = "sent an advert"
    OTHER_ADVERT = "got another router's advert"
    AGENT_OUT = "agent cannot act"
    AGENT_IN = "agent can act"
    TABLES_GONE = "firewall tables removed"
    CABLE_BACK = "the WAN cable is back"
    MUTE = "adverts cannot leave"
    AUDIBLE = "adverts can leave"
    SENT = "sent IPsec"
    SENT_IN_CLEAR = "sent in clear what belongs into the tunnel"
    SENT_FROM_ELSEWHERE = "sent IPsec from another address"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened on or at one gateway."""

    at: float
    gateway: str
    kind: Kind
    what: str = ""
    """For people."""


@dataclass(frozen=True, slots=True)
class Violation:
    """Packets that a gateway sent without the right to; times are those of the first and the last one."""

    gateway: str
    why: str
    since: float
    until: float
    packets: int
    lost_at: float
    """When the right ended; -inf: it never had it."""
    what: str = ""
    """The first packet."""

    @property
    def late_ms(self) -> float:
        """How long after the loss of the right the last packet left."""
        return (self.until - self.lost_at) * 1000


Late = Callable[[str, float, float], float]
"""For how long, between two times, the machine kept a gateway's agent from doing anything, in seconds."""


def never_late(gateway: str, since: float, until: float) -> float:  # noqa: ARG001 - a Late
    """A machine that gives everybody the processor at once."""
    return 0.0


def judge(events: Iterable[Event], *, advert_s: float, since: float, late: Late = never_late) -> list[Violation]:
    """Judge all that happened since a moment at which both gateways were well; *events* may come in any order."""
    ordered = sorted(_early(events), key=lambda event: event.at)
    rights = {gateway: _Right(gateway, advert_s, since) for gateway in sorted({event.gateway for event in ordered})}
    for right in rights.values():
        right.others = tuple(other for other in rights.values() if other is not right)
    found: list[Violation] = []
    for event in ordered:
        right = rights[event.gateway]
        if event.kind in {Kind.SENT, Kind.SENT_IN_CLEAR, Kind.SENT_FROM_ELSEWHERE}:
            wrong = right.wrong(event, late)
            if wrong is not None:
                _add(found, wrong)
        else:
            right.happened(event)
    return found


def _early(events: Iterable[Event]) -> Iterable[Event]:
    """The events, an address there as early as it may have been: the judge reads it late, and stamps that reading."""
    left: dict[str, float] = {}
    for event in sorted(events, key=lambda event: event.at):
        if event.kind is Kind.LOST:
            left[event.gateway] = event.at
        if event.kind is Kind.HELD:
            yield replace(event, at=max(event.at - HOLD_SLACK_S, left.get(event.gateway, -math.inf)))
        else:
            yield event


def _add(found: list[Violation], new: Violation) -> None:
    """Put a packet into the burst that it belongs to."""
    for index in range(len(found) - 1, -1, -1):
        last = found[index]
        if (last.gateway, last.why) == (new.gateway, new.why) and new.since - last.until <= BURST_PAUSE_S:
            found[index] = Violation(
                last.gateway, last.why, last.since, new.until, last.packets + 1, last.lost_at, last.what
            )
            return
    found.append(new)


class _Right:
    """One gateway's right to the virtual address, as time goes on."""

    def __init__(self, gateway: str, advert_s: float, since: float) -> None:
        self.gateway = gateway
        self.others: tuple[_Right, ...] = ()
        self._missing_s = VOUCH_INTERVALS * advert_s
        self.held_since: float | None = None
        self._lost_at = -math.inf
        self._own_at = since  # lenient: nobody knows what was sent before the first look
        self._displaced_at: float | None = None
        self._unproven_since: float | None = None
        self._out_since: float | None = None
        self._in_at = -math.inf
        self._tables_gone_at: float | None = None
        self._mute = False
        self._cable_back_at = -math.inf
        self._left_unseen = False

    def happened(self, event: Event) -> None:
        """Take one event in; packets are asked about by :meth:`wrong`."""
        takes: dict[Kind, Callable[[float], None]] = {
            Kind.HELD: self._came,
            Kind.LOST: self._left,
            Kind.OWN_ADVERT: self._spoke,
            Kind.OTHER_ADVERT: self._heard,
            Kind.AGENT_OUT: self._went_out,
            Kind.AGENT_IN: self._came_in,
        }
        if event.kind in takes:
            takes[event.kind](event.at)
        elif event.kind is Kind.TABLES_GONE:
            self._tables_gone_at = event.at
        elif event.kind is Kind.CABLE_BACK:
            self._cable_back_at = event.at
        else:
            self._mute = event.kind is Kind.MUTE
            # Either way its silence begins to count anew.
            self._own_at = max(self._own_at, event.at)
            self._unproven_since = None if self._unproven_since is None else event.at

    def _left(self, at: float) -> None:
        self.held_since, self._displaced_at, self._unproven_since = None, None, None
        self._lost_at = at
        self._left_unseen = self._out_since is not None

    def _spoke(self, at: float) -> None:
        self._own_at, self._displaced_at, self._unproven_since = at, None, None

    def _went_out(self, at: float) -> None:
        self._out_since = at
        if self._displaced_at is not None and at <= self._displaced_at + FENCE_S:
            self._displaced_at = None  # it may not have come to fence; the next advert that it hears counts

    def _came_in(self, at: float) -> None:
        self._out_since, self._in_at = None, at

    def _came(self, at: float) -> None:
        self.held_since, self._displaced_at = at, None
        held_by_other = any(other.held_since is not None for other in self.others)
        fresh = at - self._own_at <= self._missing_s
        self._unproven_since = at if held_by_other and not fresh and at != -math.inf else None

    def _heard(self, at: float) -> None:
        """Another router's advert: it takes the right where our own daemon is silent and somebody can act on it."""
        if self.held_since is None or at <= self.held_since + HOLD_SLACK_S + NEAR_S or self._displaced_at is not None:
            return
        if self._out_since is None and at - self._own_at > self._missing_s + NEAR_S:
            self._displaced_at = at

    def wrong(self, event: Event, late: Late) -> Violation | None:
        """What is wrong with a packet that left now; None: nothing."""
        at = event.at
        if event.kind is Kind.SENT_FROM_ELSEWHERE:
            return self._violation(event, "from an address that is not the virtual one", -math.inf)
        if event.kind is Kind.SENT_IN_CLEAR:
            lost_at, why, excused_until = _NEVER, "in clear", self._no_tables_until()
        else:
            lost_at, why, excused_until = self._ended()
        if lost_at is None:
            return None
        ends = max(lost_at + FENCE_S, excused_until)
        if at <= ends or at <= ends + late(self.gateway, ends - FENCE_S, at):
            return None
        return self._violation(event, why, lost_at)

    def _ended(self) -> tuple[float | None, str, float]:
        """When the right ended, why, and until when packets are excused. None: it has not ended."""
        if self.held_since is None:
            waits = self._left_unseen and self._lost_at < self._cable_back_at
            waited = self._cable_back_at + UNRESOLVED_S if waits else -math.inf
            return self._lost_at, "without the address", max(waited, self._no_tables_until())
        if self._displaced_at is not None:
            # No excuse for an agent that is out by now: what it has fenced stays so.
            return self._displaced_at, "after another router's advert, its own missing", self._no_tables_until()
        if self._unproven_since is not None and not self._mute:
            return self._unproven_since + self._missing_s, "its daemon never said that it is the master", -math.inf
        return None, "", -math.inf

    def _no_tables_until(self) -> float:
        """Until when nothing can stop a packet in this gateway: its tables are gone, and who puts them back may be."""
        if self._tables_gone_at is None:
            return -math.inf
        if self._out_since is not None and self._in_at < self._tables_gone_at:
            return math.inf
        if self._out_since is not None and self._out_since < max(self._tables_gone_at, self._in_at) + REBUILT_S:
            return math.inf
        return max(self._tables_gone_at, self._in_at) + REBUILT_S

    def _violation(self, event: Event, why: str, lost_at: float) -> Violation:
        return Violation(self.gateway, why, event.at, event.at, 1, lost_at, event.what)
