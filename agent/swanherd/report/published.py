"""The snapshot that the loop publishes once a pass, and that everything which tells people something reads.

Nothing in here is a secret, and nothing may become one. Times are monotonic seconds (the event loop's clock);
``wall`` is the wall clock at the moment ``at``, so that readers can turn the one into the other for people.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from swanherd.core.facts import Flow, Pair
from swanherd.core.intent import IPAddress
from swanherd.core.words import Fence, Notice, Reason, Role


@dataclass(frozen=True, slots=True)
class ConfigReport:
    """The settings in force."""

    path: str
    stale: bool = False
    """The file on disk is broken, and the last good settings are in force."""
    why: str = ""
    """If stale: what is wrong with the file, one problem a line."""


@dataclass(frozen=True, slots=True)
class SourceReport:
    """One outside system that facts come from."""

    name: str
    """As in metrics and logs: ``netlink``, ``charon``, ``firewall``, ``resolver`` ..."""
    up: bool
    """It answers."""
    synced: bool
    """It was read in full since it came up; nothing is pruned while it was not."""
    since: float
    """When ``up`` or ``synced`` last changed."""
    detail: str = ""
    """If it is not well: why."""


@dataclass(frozen=True, slots=True)
class WordReport:
    """What one source of VRRP evidence says, or why it says nothing."""

    says: str
    known: bool
    since: float
    """When it was read, or since when that is so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceReport:
    """All evidence about the VIPs of one interface; None where a source was not declared."""

    interface: str
    dbus: WordReport | None = None
    """keepalived's own word: ``master``, ``backup`` ...; not known: ``no-bus``, ``gone``, ``silent`` ..."""
    process: WordReport | None = None
    """``alive`` or ``dead``."""
    adverts: WordReport | None = None
    """``listening``, or why not."""
    own_advert_at: float | None = None
    """Our own keepalived's latest advert; None: never heard."""
    other_advert_at: float | None = None
    """Another router's latest one."""
    other: str = ""
    """That router's address."""
    claimed_at: float | None = None
    """When another one last told the neighbours that it has a VIP of ours (ARP, neighbour advertisement)."""


@dataclass(frozen=True, slots=True)
class ChildReport:
    """One CHILD_SA in charon."""

    name: str
    state: str


@dataclass(frozen=True, slots=True)
class SaReport:
    """One IKE_SA in charon."""

    unique_id: int
    state: str
    local: IPAddress | None = None
    remote: IPAddress | None = None
    since: float | None = None
    """When it was established; None while connecting."""
    children: tuple[ChildReport, ...] = ()


@dataclass(frozen=True, slots=True)
class ConnectionReport:
    """What one connection is on this gateway, and why."""

    name: str
    role: Role
    reason: Reason
    since: float
    """When role or reason last changed."""
    fence: Fence
    detail: str = ""
    """What the reason's word alone does not say: charon's text, which address, whose connection."""
    source: IPAddress | None = None
    """The source address, if one is held."""
    endpoint: str | None = None
    """The endpoint that is called now; None: any, or none."""
    children_up: int | None = None
    """None: charon cannot be read."""
    children_wanted: int = 0
    """How many children should be up now: zero on standby, and for a responder that waits."""
    sas: tuple[SaReport, ...] = ()
    next_look_at: float | None = None
    """When this connection is decided anew though nothing happens; None: only when something happens."""
    attempts: int = 0
    """Failed attempts in a row since a child was last up."""
    certificate_expires: float | None = None
    """When its own certificate (or one of the chain) expires, in seconds since the epoch; None: it has none."""
    notices: Mapping[Notice, str] = field(default_factory=lambda: MappingProxyType({}))
    """What people should know although it changes no role, one line for each thing to know."""


@dataclass(frozen=True, slots=True)
class FirewallReport:
    """Our table, as read back."""

    present: bool | None
    """None: it could not be read."""
    since: float
    """When ``present`` last changed."""
    detail: str = ""
    guarded: frozenset[IPAddress] = frozenset()
    fenced: frozenset[IPAddress] = frozenset()
    fenced_pairs: frozenset[Pair] = frozenset()
    ours: int = 0
    """Pairs of source and remote that the fence covers."""
    dropped: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """Packets dropped, some seconds old, by rule: ``guard``, ``fence``, ``fence_pairs``, ``mobike``, ``stale_vip``,
    ``leak``."""
    leaks: frozenset[Flow] = frozenset()
    """What never leaves in clear."""
    chains: tuple[str, ...] = ()
    """Chains of the user's in which rules of ours let IPsec in."""


@dataclass(frozen=True, slots=True)
class FirewallRuleReport:
    """A chain of the user's in which a rule of ours lets IPsec in."""

    chain: str
    connections: tuple[str, ...]
    """Those that are let in now: none on a standby gateway."""
    trouble: str = ""
    """Why they are not, though they should be."""


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """A device of ours: an XFRM interface or a GRE device."""

    name: str
    up: bool | None
    """Whether it should be up now; None: it stays as it is."""
    trouble: str = ""
    """Why it is not as it should be."""


@dataclass(frozen=True, slots=True)
class LoopReport:
    """How the loop itself does."""

    passes: int = 0
    last_pass_s: float = 0.0
    longest_pass_s: float = 0.0
    lag_s: float = 0.0
    """How late the loop woke, at worst, since the last pass."""
    tasks: int = 0
    """Tasks of the agent, at most a second old: a number that grows for ever is a leak."""


@dataclass(frozen=True, slots=True)
class Published:
    """Everything that the agent tells; replaced as a whole after each pass, never changed."""

    at: float
    wall: float
    """Seconds since the epoch at ``at``."""
    version: str
    config: ConfigReport
    started_at: float
    pid: int
    ready: bool = False
    """Every source was read and one pass completed since the start; stays True after that."""
    stopping: bool = False
    sources: tuple[SourceReport, ...] = ()
    connections: tuple[ConnectionReport, ...] = ()
    active: int = 0
    """How many of them are."""
    firewall: FirewallReport | None = None
    """None: this agent was told to use no firewall."""
    firewall_rules: tuple[FirewallRuleReport, ...] = ()
    devices: tuple[DeviceReport, ...] = ()
    loop: LoopReport = LoopReport()
    evidence: tuple[EvidenceReport, ...] = ()
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=lambda: MappingProxyType({}))
    """What the adapters have counted since the start: by source, then by what was counted."""

    def wall_of(self, moment: float) -> float:
        """The wall clock time, in seconds since the epoch, of the monotonic *moment*."""
        return self.wall + (moment - self.at)


@dataclass(frozen=True, slots=True)
class Transition:
    """One connection whose role, reason or fence changed in a pass."""

    connection: str
    role: Role
    reason: Reason
    fence: Fence
    was_role: Role | None = None
    """None: the connection is new to this agent."""
    was_reason: Reason | None = None
    was_fence: Fence | None = None
    detail: str = ""
    source: IPAddress | None = None
    endpoint: str | None = None
