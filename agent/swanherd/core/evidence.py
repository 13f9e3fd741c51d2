"""Whether VRRP evidence leaves this gateway the right to an address that is here.

Evidence is declared and dated, and can only contradict the address: *silence keeps a right, it never gives one*. An
address that was seen to arrive is itself a word of the VRRP daemon's, since somebody has just put it there. One that
was there when reading began may have been left behind, so the right to it needs a voucher, or a tunnel of ours that
runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum, unique
from types import MappingProxyType
from typing import Final

from swanherd.core.facts import Absent, HeldAddress, Known, Unknown
from swanherd.core.intent import EvidenceSource, IPAddress, VrrpDeclaration
from swanherd.core.words import Reason

LAG_S: Final = 0.2
"""keepalived's own word lags the address by -0.5 to +19 ms (measured); what was read earlier than this after the
address came contradicts nothing."""

VOUCH_INTERVALS: Final = 1.5
"""A word of our own daemon's counts for so many advert intervals: one may be late, and a backup waits for three."""

GRACE_INTERVALS: Final = 2.5
"""Without a listener, an address whose daemon is gone is kept for so long: just less than a backup waits."""


@unique
class VrrpState(StrEnum):
    """What the VRRP daemon says of an instance; anything that we do not know is OTHER, and contradicts nothing."""

    MASTER = "master"
    BACKUP = "backup"
    FAULT = "fault"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Heard:
    """What the passive listener heard for one instance. Times are monotonic; None: never."""

    own_at: float | None = None
    """Our own latest advert, seen leaving."""
    own_resumed_at: float | None = None
    """When our own adverts were last heard again after a pause longer than a backup waits."""
    other_at: float | None = None
    """Another router's latest advert with a priority above 0."""
    other: str = ""
    """That router's address."""
    claimed_at: float | None = None
    """When a foreign MAC last claimed the VIP (ARP, neighbour advertisement)."""


@dataclass(frozen=True, slots=True)
class VrrpFacts:
    """Evidence about one interface's VIPs, by source; Absent where it was not declared."""

    state: Known[VrrpState] | Unknown[VrrpState] | Absent = field(default_factory=Absent)
    """The daemon's word by D-Bus. ``since`` of a Known is when it was *read*; Unknown is because of ``gone`` (it left
    the bus), ``silent`` (it does not answer), ``no-bus``, ``not-on-new-bus`` (restarted without it) or ``not-read``."""
    process: Known[bool] | Unknown[bool] | Absent = field(default_factory=Absent)
    """Whether the daemon's processes are alive."""
    listener: Known[Heard] | Unknown[Heard] | Absent = field(default_factory=Absent)
    """Known while the listener listens; ``since`` is when it began to."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What a judgement reads beside the address: evidence, time, and what runs and is fenced already."""

    now: float = 0.0
    vrrp: Mapping[str, VrrpFacts] = field(default_factory=lambda: MappingProxyType({}))
    """By interface."""
    running: frozenset[IPAddress] | None = frozenset()
    """Addresses from which a live SA of ours runs; None: charon has not been read yet, and an agent that starts must
    not fence what may well be carrying traffic."""
    fenced: Mapping[IPAddress, float] = field(default_factory=lambda: MappingProxyType({}))
    """Addresses that the firewall fences, and since when that is known; a fact that survives the agent."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether the evidence leaves the right to the address, and why."""

    right: bool
    reason: Reason = Reason.LOADING
    detail: str = ""
    look_again_at: float | None = None
    """When the same facts will mean something else."""
    two_masters: bool = False


RIGHT: Final = Judgement(right=True)


def judge(declared: VrrpDeclaration | None, address: HeldAddress, facts: VrrpFacts, situation: Situation) -> Judgement:
    """Judge *address*, which is here and usable, at ``situation.now``."""
    if declared is None or not declared.evidence:
        return RIGHT
    case = _Case(declared, address, facts, situation)
    return case.fenced() or case.contradicted() or case.another_master() or case.abandoned() or case.kept()


class _Case:
    """One judgement; each method is one row of the table, and answers None where the row does not apply."""

    def __init__(self, declared: VrrpDeclaration, address: HeldAddress, facts: VrrpFacts, situation: Situation) -> None:
        self.interval_s = declared.advert_interval_s
        self.declared = declared
        self.address = address
        self.facts = facts
        self.now = situation.now
        self.running = situation.running is None or address.ip in situation.running
        self.fenced_since = situation.fenced.get(address.ip)
        self.heard = facts.listener.value if isinstance(facts.listener, Known) else None
        self.vouched_at = self._vouched_at()
        self.vouches = self.vouched_at is not None and self.now - self.vouched_at <= VOUCH_INTERVALS * self.interval_s

    def _vouched_at(self) -> float | None:
        """When our own daemon last said that it is the master."""
        said = [self.heard.own_at] if self.heard is not None and self.heard.own_at is not None else []
        state, process = self.facts.state, self.facts.process
        if isinstance(state, Known) and state.value is VrrpState.MASTER:
            said.append(state.since)
        if self.declared.evidence == {EvidenceSource.PROCESS} and isinstance(process, Known) and process.value:
            said.append(self.now)  # nothing else can vouch: a daemon that lives, and the address, must do
        return max(said, default=None)

    def fenced(self) -> Judgement | None:
        """A fence ends by a voucher from after it, or by the address leaving and coming back; never by silence."""
        since = self.fenced_since
        if since is None or (self.address.watched and self.address.since > since):
            return None
        if self.vouches and self.vouched_at is not None and self.vouched_at > since:
            return None
        return Judgement(
            right=False,
            reason=self._why_fenced(),
            detail=f"{self.address.ip} was left behind and is fenced until our own keepalived vouches for it"
            + (f"; last heard: {self.heard.other}" if self.heard is not None and self.heard.other else ""),
        )

    def _why_fenced(self) -> Reason:
        """What the fence is for. It outlives the agent, so this is told from what is so now."""
        if (contradicted := self.contradicted()) is not None:
            return contradicted.reason
        dead = self._dead()
        if self.heard is None and dead is not None:
            return dead[0]  # nobody listens, so it was no other router's advert
        return Reason.ANOTHER_MASTER

    def contradicted(self) -> Judgement | None:
        """The daemon says BACKUP or FAULT, and read it well after the address came."""
        state = self.facts.state
        if not isinstance(state, Known) or state.value not in {VrrpState.BACKUP, VrrpState.FAULT}:
            return None
        if state.since <= self.address.since + LAG_S:
            return None  # older than the address; the source reads it again
        if self.heard is not None and self.heard.own_at is not None and self.heard.own_at > state.since:
            return None  # our own advert left after that was read
        reason = Reason.VRRP_BACKUP if state.value is VrrpState.BACKUP else Reason.VRRP_FAULT
        return Judgement(right=False, reason=reason, detail=f"keepalived says {state.value.upper()}")

    def another_master(self) -> Judgement | None:
        """Another router's advert since the address came, and ours are missing."""
        heard = self.heard
        if heard is None or heard.other_at is None or heard.other_at <= self.address.since:
            return None
        if not self.vouches:
            if self.vouched_at is not None and heard.other_at <= self.vouched_at:
                return None  # it spoke while ours did, and not since: now nobody is heard
            return Judgement(
                right=False, reason=Reason.ANOTHER_MASTER, detail=f"{heard.other} sends adverts, we do not"
            )
        if self.now - heard.other_at <= VOUCH_INTERVALS * self.interval_s:
            return Judgement(
                right=True,
                detail=f"two masters: {heard.other} sends adverts too, and our keepalived says that it is the master",
                look_again_at=self._vouch_ends(),
                two_masters=True,
            )
        return None

    def abandoned(self) -> Judgement | None:
        """The daemon is gone or silent, and the address is still here."""
        dead = self._dead()
        if dead is None or self.vouches:
            return None
        reason, since = dead
        what = "keepalived is gone" if reason is Reason.KEEPALIVED_GONE else "keepalived is silent"
        if not self.address.watched and not self.running:
            return Judgement(right=False, reason=reason, detail=f"{what}; {self.address.ip} may have been left behind")
        if self.heard is not None:
            return Judgement(
                right=True, detail=f"{what}, and no other router is heard: kept, since nobody else runs it"
            )
        ends = max(since, self.address.since) + GRACE_INTERVALS * self.interval_s
        if self.now < ends:
            return Judgement(right=True, detail=f"{what}; kept for {ends - self.now:.1f} s", look_again_at=ends)
        return Judgement(right=False, reason=reason, detail=f"{what}, and nobody listens for another router")

    def kept(self) -> Judgement:
        """Nothing contradicts. An address that was there when reading began still needs somebody to vouch for it."""
        if self.vouches or self.address.watched or self.running:
            # That time passes needs no look: another router's advert brings one, and silence takes nothing away.
            return RIGHT
        if not self._may_be_told():
            return RIGHT
        return Judgement(
            right=False,
            reason=Reason.WAITING_FOR_VRRP,
            detail=f"{self.address.ip} was here before swanherd: waiting for keepalived's word",
            look_again_at=self.now + self.interval_s / 2,
        )

    def _vouch_ends(self) -> float | None:
        """When the voucher runs out, if one is expected to come again."""
        if self.heard is None or self.vouched_at is None or not self.vouches:
            return None
        # A little later than the limit, so that the look finds it passed.
        return self.vouched_at + VOUCH_INTERVALS * self.interval_s + 0.001

    def _may_be_told(self) -> bool:
        """Whether some declared source may still speak."""
        state, listener = self.facts.state, self.facts.listener
        asked = isinstance(state, Known) or (isinstance(state, Unknown) and state.why == "not-read")
        return asked or isinstance(listener, Known) or (isinstance(listener, Unknown) and listener.why == "not-read")

    def _dead(self) -> tuple[Reason, float] | None:
        """Whether the daemon is known to be gone or silent, and since when."""
        process, state = self.facts.process, self.facts.state
        if isinstance(process, Known) and not process.value:
            return Reason.KEEPALIVED_GONE, process.since
        lives = isinstance(process, Known) and process.value
        if isinstance(state, Unknown) and state.why == "gone" and not lives:
            # A daemon that lives and has left the bus (it does, when the bus is restarted) is not dead.
            return Reason.KEEPALIVED_GONE, state.since
        if isinstance(state, Unknown) and state.why == "silent":
            return Reason.KEEPALIVED_SILENT, state.since
        if self.heard is not None and isinstance(self.facts.listener, Known):
            last = max(self.heard.own_at or 0.0, self.address.since, self.facts.listener.since)
            silent_since = last + VOUCH_INTERVALS * self.interval_s
            if self.now > silent_since:
                return Reason.KEEPALIVED_SILENT, silent_since
        return None


def displaced_before(
    declared: VrrpDeclaration | None, facts: VrrpFacts, address: HeldAddress, now: float
) -> float | None:
    """SAs from before this moment may have been replaced at the peer by another gateway; None: there is no sign of it.

    Only once the right is ours alone again: while the other still speaks, a new handshake would only be displaced too.
    """
    if declared is None or not isinstance(facts.listener, Known):
        return None
    heard = facts.listener.value
    signs = [at for at in (heard.other_at, heard.claimed_at, heard.own_resumed_at) if at is not None]
    last = max((at for at in signs if at > address.since), default=None)
    if last is None:
        return None
    return last if now > _quiet_since(declared, heard) else None


def displaced_look_at(
    declared: VrrpDeclaration | None, facts: VrrpFacts, address: HeldAddress, now: float
) -> float | None:
    """When a sign that ``displaced_before`` does not count yet will count; silence brings no look by itself."""
    if declared is None or not isinstance(facts.listener, Known):
        return None
    heard = facts.listener.value
    if all(at is None or at <= address.since for at in (heard.other_at, heard.claimed_at)):
        return None
    quiet_since = _quiet_since(declared, heard)
    # A little later than the limit, so that the look finds it passed.
    return quiet_since + 0.001 if now <= quiet_since else None


def _quiet_since(declared: VrrpDeclaration, heard: Heard) -> float:
    """From when on nobody else speaks for the VIP, if nobody does again."""
    others = [at for at in (heard.other_at, heard.claimed_at) if at is not None]
    return max(others, default=0.0) + VOUCH_INTERVALS * declared.advert_interval_s
