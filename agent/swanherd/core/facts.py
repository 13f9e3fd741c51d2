"""What was observed. Unknown is neither zero nor down; Absent was never declared and decides nothing.

All times are monotonic seconds (the event loop's clock).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Generic, TypeVar

from swanherd.core.intent import IPAddress, IPNetwork
from swanherd.core.words import Reason

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Known(Generic[T]):
    """*value* holds since *since*."""

    value: T
    since: float


@dataclass(frozen=True, slots=True)
class Unknown(Generic[T]):
    """Could not be read since *since*; *last* is the last value that was known, for those who may hold on to it."""

    since: float
    why: str
    last: T | None = None


@dataclass(frozen=True, slots=True)
class Absent:
    """Never declared."""


# --- the kernel's network -----


@dataclass(frozen=True, slots=True)
class HeldAddress:
    """An address on a device of this host."""

    ip: IPAddress
    prefix: int
    device: str
    usable: bool
    """False while tentative and after duplicate address detection failed."""
    since: float
    """When the address was first seen here."""
    watched: bool = True
    """Whether it was seen to arrive; False for what was there when reading began."""
    born: float | None = None
    """When the kernel was given it, rather a moment early than late; None: not known. It was away just before that."""


@dataclass(frozen=True, slots=True)
class Link:
    """A network device."""

    name: str
    index: int
    up: bool
    """Administratively up and with carrier."""
    kind: str | None = None
    """The kernel's kind: veth, macvlan, xfrm, gre, vti, tun ...; None for hardware."""
    parent: str | None = None
    """The device below (a macvlan's); keepalived's ``use_vmac`` puts the VIP on a macvlan above the device."""


@dataclass(frozen=True, slots=True)
class DefaultRoute:
    """A default route of the main table, or one hop of one that is shared by several (ECMP: same family and metric)."""

    family: int
    """4 or 6."""
    device: str
    metric: int
    alive: bool
    """Its nexthop is neither dead nor its link down."""


@dataclass(frozen=True, slots=True)
class Network:
    """Addresses, links and default routes at one moment; replaced as a whole, never changed."""

    addresses: Mapping[IPAddress, tuple[HeldAddress, ...]] = field(default_factory=lambda: MappingProxyType({}))
    links: Mapping[str, Link] = field(default_factory=lambda: MappingProxyType({}))
    defaults: tuple[DefaultRoute, ...] = ()
    """In the order of preference: lowest metric first, as the kernel lists equal ones."""


@dataclass(frozen=True, slots=True)
class Path:
    """Where the kernel sends packets for one address, by all of its rules and tables."""

    to: IPAddress
    device: str | None
    """None: nowhere, since no route leads there or one rejects."""
    table: int = 0
    """The number of the routing table that says so; 0: none."""


NETWORK_HOLD_S: Final = 2.0
"""How long an active connection is held while the kernel's addresses cannot be read; a re-read takes milliseconds."""


def relied_on(fact: Known[Network] | Unknown[Network], now: float) -> Network | None:
    """What may be relied on: the last known network is held on to for ``NETWORK_HOLD_S``, then it is nothing."""
    if isinstance(fact, Known):
        return fact.value
    return fact.last if now - fact.since < NETWORK_HOLD_S else None


@dataclass(frozen=True, slots=True)
class NetworkChange:
    """What an event touched, so that only what depends on it is decided anew; a hint, never a fact."""

    addresses: frozenset[IPAddress] = frozenset()
    devices: frozenset[str] = frozenset()
    defaults: bool = False
    everything: bool = False
    """After a full read, or when the source became known or unknown."""


# --- names -----


@dataclass(frozen=True, slots=True)
class Answer:
    """What a name of an endpoint means in one IP family; kept while nobody can be asked."""

    addresses: frozenset[IPAddress]
    origin: str
    """``hosts`` (/etc/hosts), ``dns``, or ``kept`` (of an earlier run of the agent, not confirmed since)."""
    trouble: str = ""
    """Why it could not be asked anew, for people; empty: it could."""


# --- charon -----


@dataclass(frozen=True, slots=True)
class CharonIdentity:
    """Which charon this is: pid and start time (``/proc/PID/stat``, in ticks). A new one has nothing of ours."""

    pid: int
    start_ticks: int


@dataclass(frozen=True, slots=True)
class ChildSa:
    """A CHILD_SA as charon lists it."""

    name: str
    unique_id: int
    state: str

    @property
    def installed(self) -> bool:
        """Whether it carries traffic; charon keeps the old one in REKEYED while a rekey completes."""
        return self.state in {"INSTALLED", "REKEYING", "REKEYED", "UPDATING"}


@dataclass(frozen=True, slots=True)
class IkeSa:
    """An IKE_SA as charon lists it."""

    name: str
    unique_id: int
    state: str
    local: IPAddress | None
    remote: IPAddress | None
    initiator: bool
    since: float | None
    """When it was established; None while connecting."""
    children: tuple[ChildSa, ...] = ()
    nat: bool = False
    """Whether a NAT was found on the way, at either end."""

    @property
    def established(self) -> bool:
        """Whether it is up; a rekeying one still is, a deleting one is not."""
        return self.state in {"ESTABLISHED", "REKEYING"}

    @property
    def connecting(self) -> bool:
        """Whether its handshake is under way."""
        return self.state in {"CREATED", "CONNECTING"}


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """What is loaded as one connection: whether it is what we want shows by ``digest``, whose it is by its shape."""

    name: str
    digest: str
    """``shape.sent``: of what ``list-conns`` shows, and of all that was sent to load it.

    ``list-conns`` shows no proposals, no MOBIKE, no encapsulation. So the second half is ``?`` for what this run of the
    agent did not load: it then differs from what we want and is loaded once more, which charon takes for no change.
    """
    source: IPAddress | None
    """Its one literal local address; None where there is none or more than one."""


def shape(digest: str) -> str:
    """The half of a ``LoadedConfig``'s digest that charon shows: all there is to tell ours from somebody else's."""
    return digest.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the latest handshake of a connection failed, as far as charon told."""

    reason: Reason
    detail: str
    """Charon's own words, for people."""
    at: float
    nat: bool = False
    """Whether a NAT was found on the way to the peer."""


@dataclass(frozen=True, slots=True)
class CharonConnection:
    """Everything in charon that bears one connection's name."""

    config: LoadedConfig | None = None
    """None: not loaded."""
    secret: str | None = None
    """The version of the secret that is loaded under our id; ``"?"`` if one is there that this agent did not load."""
    traps: frozenset[str] = frozenset()
    """Children whose trap policy is installed."""
    sas: tuple[IkeSa, ...] = ()
    failure: Failure | None = None
    """The latest failed handshake since the last child came up."""
    asked: Mapping[int, float] = field(default_factory=lambda: MappingProxyType({}))
    """By unique id of an SA: since when its peer owes an answer."""

    @property
    def empty(self) -> bool:
        """Nothing that could run the connection is left (a secret alone cannot)."""
        return self.config is None and not self.traps and not self.sas


# --- the firewall -----


@dataclass(frozen=True, slots=True, order=True)
class Pair:
    """A source and a remote network between which this gateway may run IPsec."""

    source: IPAddress
    remote: IPNetwork


ANY_PORTS: Final = (0, 65535)


@dataclass(frozen=True, slots=True)
class Flow:
    """Packets on their way out by *device*: what the leak guard drops if they are in clear."""

    device: str
    local: IPNetwork
    remote: IPNetwork
    protocol: int = 0
    """0: any."""
    local_ports: tuple[int, int] = ANY_PORTS
    """The lowest and the highest, both included. Of ICMP the type, as in the kernel's own selectors."""
    remote_ports: tuple[int, int] = ANY_PORTS
    """The same; of ICMP the code."""

    def __str__(self) -> str:
        protocol = f" protocol {self.protocol}" if self.protocol else ""
        local, remote = self._side(self.local, self.local_ports), self._side(self.remote, self.remote_ports)
        return f"{local} > {remote}{protocol} by {self.device}"

    @staticmethod
    def _side(network: IPNetwork, ports: tuple[int, int]) -> str:
        low, high = ports
        if ports == ANY_PORTS:
            return str(network)
        return f"{network}[{low}]" if low == high else f"{network}[{low}-{high}]"


@dataclass(frozen=True, slots=True)
class Opening:
    """One rule of ours in a chain of the user's: *protocol* may come in from the pairs' remotes to their sources."""

    protocol: int
    ports: tuple[int, ...]
    """Of this gateway; of UDP alone."""
    pairs: frozenset[Pair]
    """All of one IP family, and either all remotes are single addresses, or all are anywhere."""
    names: tuple[str, ...]
    """The connections, for people."""


@dataclass(frozen=True, slots=True)
class Wire:
    """What our firewall tables hold, or should hold."""

    guarded: frozenset[IPAddress] = frozenset()
    """VIPs under the guard: IPsec from one that is not a local address is dropped."""
    ours: frozenset[Pair] = frozenset()
    fenced: frozenset[IPAddress] = frozenset()
    """Addresses from which everything of ``ours`` is dropped, and which do not tell neighbours that they are here."""
    fenced_pairs: frozenset[Pair] = frozenset()
    leaks: frozenset[Flow] = frozenset()
    """What never leaves in clear, whether its tunnel is up or not."""
    mobike: bool = False
    """Charon may move a tunnel to any address by itself: no IPsec but between ``ours`` leaves."""
    ike_ports: tuple[int, ...] = (500, 4500)
