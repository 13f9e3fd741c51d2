"""The outside systems that facts come from and steps go to, as one bundle, and as much of each as the runtime uses.

Protocols, so that the runtime is tested against a model of the world instead of the daemons.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from swanherd.core.evidence import VrrpFacts
from swanherd.core.facts import (
    Answer,
    CharonConnection,
    CharonIdentity,
    Known,
    LoadedConfig,
    Network,
    Opening,
    Pair,
    Path,
    Unknown,
    Wire,
)
from swanherd.core.intent import ChainName, Child, Connection, IPAddress


class NetworkFacts(Protocol):
    """The kernel's addresses, links and default routes."""

    @property
    def state(self) -> Known[Network] | Unknown[Network]:
        """What the kernel says now."""
        ...


class PathFacts(Protocol):
    """The kernel's routes to single addresses."""

    def path(self, to: IPAddress, /) -> Known[Path] | Unknown[Path]:
        """The way to *to* now; that it is another one is told from then on."""
        ...


class NoPaths:
    """Nobody can be asked for a route."""

    def path(self, _to: IPAddress) -> Known[Path] | Unknown[Path]:
        """Nobody has ever told."""
        return Unknown(0.0, "not-read")


class FirewallFacts(Protocol):
    """Our table."""

    @property
    def state(self) -> Known[Wire | None] | Unknown[Wire | None]:
        """What it holds; ``Known(None)``: it is missing."""
        ...

    @property
    def remains(self) -> Wire | None:
        """What its sets still hold, also where somebody has broken its rules."""
        ...


class NameFacts(Protocol):
    """What hostnames mean."""

    def answer(self, name: str, family: int, /) -> Answer | None:
        """The addresses of *name* in one IP family; None: nobody has ever told."""
        ...

    def watch(self, wanted: frozenset[tuple[str, int]], /) -> None:
        """These names, each in these IP families, are to be known."""
        ...

    def look(self, name: str, family: int, /) -> None:
        """Ask for *name* anew, soon: it is being called."""
        ...


class NoNames:
    """No name means anything."""

    def answer(self, _name: str, _family: int) -> Answer | None:
        """Nobody tells."""
        return None

    def watch(self, _wanted: frozenset[tuple[str, int]]) -> None:
        """Nobody is asked."""

    def look(self, _name: str, _family: int) -> None:
        """Nobody is asked."""


class ProbeFacts(Protocol):
    """Which addresses answer probes."""

    def answering(self, name: str, /) -> frozenset[IPAddress]:
        """Of those that are probed for the connection *name*."""
        ...

    def follow(self, name: str, source: IPAddress | None, targets: tuple[IPAddress, ...], /) -> None:
        """Probe *targets* from *source* for the connection *name*, and nothing else any more."""
        ...


class NoProbes:
    """Nothing is probed."""

    def answering(self, _name: str) -> frozenset[IPAddress]:
        """Nobody."""
        return frozenset()

    def follow(self, _name: str, _source: IPAddress | None, _targets: tuple[IPAddress, ...]) -> None:
        """Nobody is asked."""


class FirewallCalls(FirewallFacts, Protocol):
    """What the wire's lane does with the table; each raises ``FirewallError``."""

    async def apply(self, wire: Wire, /) -> None:
        """Bring the table to *wire*."""

    def fence(self, *, addresses: Iterable[IPAddress] = (), pairs: Iterable[Pair] = ()) -> None:
        """Add to what is fenced, at once."""

    def stopped(self) -> Mapping[str, int]:
        """Packets stopped so far, by counter."""
        ...


class OpeningCalls(Protocol):
    """Our rules in chains of the user's; each call raises ``FirewallError``."""

    def close(self) -> None:
        """Let go of the kernel."""

    def apply(self, chain: ChainName, wanted: Sequence[Opening], /) -> str:
        """Bring our rules of *chain* to *wanted*; why not, or empty."""
        ...

    def everywhere(self) -> frozenset[ChainName]:
        """The chains that have a rule of ours."""
        ...


class VrrpEvidence(Protocol):
    """What VRRP says of the interfaces' VIPs."""

    @property
    def interfaces(self) -> tuple[str, ...]:
        """Those for which there is a declaration."""
        ...

    @property
    def failures(self) -> tuple[str, ...]:
        """Why hints cannot be had, one line for people each; empty: they can."""
        ...

    def facts(self, interface: str, /) -> VrrpFacts:
        """All declared evidence about *interface*."""
        ...


class NoVrrp:
    """No evidence is gathered: the address alone decides."""

    interfaces: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()

    def facts(self, _interface: str) -> VrrpFacts:
        """Absent, all of it."""
        return VrrpFacts()


class KernelFacts(Protocol):
    """What is known of the kernel's own IPsec."""

    def doubted(self, name: str, pairs: Iterable[Pair], /) -> bool:
        """Whether a charon that is gone may have left something of *name* between *pairs*."""
        ...


class NoKernelIpsec:
    """Nothing is ever left in it."""

    def doubted(self, _name: str, _pairs: Iterable[Pair]) -> bool:
        """Never."""
        return False


class CharonFacts(Protocol):
    """What charon has, as last read."""

    @property
    def state(self) -> Known[CharonIdentity] | Unknown[CharonIdentity]:
        """Which charon it is."""
        ...

    def connection(self, name: str) -> CharonConnection:
        """Everything that bears *name*."""
        ...

    def key_ids(self) -> frozenset[str]:
        """The ids of all private keys that are loaded."""
        ...

    def watch(self, names: Iterable[str]) -> None:
        """What exactly is loaded under *names* is to be read."""
        ...

    def expected(self, connection: Connection, source: IPAddress) -> LoadedConfig:
        """What will be listed once *connection* is loaded from *source*."""
        ...


class CharonCalls(CharonFacts, Protocol):
    """The calls of a lane. Each raises a ``CharonError`` that says whether its outcome is known."""

    async def load_secret(
        self, connection: Connection, secret: bytes, version: str, *, sources: Iterable[IPAddress] = ()
    ) -> None:
        """Load the secret under the connection's own id, or its private key."""

    async def load(self, connection: Connection, source: IPAddress) -> None:
        """Load the connection with one literal source."""

    async def install(self, connection: Connection, child: Child) -> None:
        """Install the trap of *child*."""

    async def initiate(self, connection: Connection, child: Child) -> None:
        """Begin a handshake; returns when charon has taken it on."""

    async def uninstall(self, name: str, child: str, *, urgent: bool = False) -> None:
        """Take a trap away."""

    async def unload(self, name: str, *, urgent: bool = False) -> None:
        """Unload the connection; its SAs stay."""

    async def terminate(self, name: str, *, unique_ids: Iterable[int] | None = None, urgent: bool = False) -> None:
        """Destroy IKE_SAs at once."""

    async def terminate_children(self, name: str, unique_ids: Iterable[int]) -> None:
        """Close CHILD_SAs."""

    async def unload_secret(self, shared_id: str) -> None:
        """Take a secret away."""

    async def unload_key(self, name: str, key_id: str) -> None:
        """Take a private key away."""

    async def read(self, name: str) -> CharonConnection:
        """What charon has of *name* after everything that was sent about it."""
        ...

    def hear_log(self, *, wanted: bool) -> None:
        """Whether charon's log is worth listening to now."""
        ...

    def heard_since(self, at: float, /) -> bool:
        """Whether all that the log has said since *at* was heard: a handshake that failed is known to have."""
        ...


@dataclass(frozen=True, slots=True)
class Sources:
    """One adapter each."""

    network: NetworkFacts
    charon: CharonFacts
    firewall: FirewallFacts
    vrrp: VrrpEvidence = field(default_factory=NoVrrp)
    names: NameFacts = field(default_factory=NoNames)
    probes: ProbeFacts = field(default_factory=NoProbes)
    kernel: KernelFacts = field(default_factory=NoKernelIpsec)
    paths: PathFacts = field(default_factory=NoPaths)
