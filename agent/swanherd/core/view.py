"""The facts that one connection's decision reads, put together by the store for one pass."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from swanherd.core.evidence import Situation
from swanherd.core.facts import CharonConnection, CharonIdentity, Failure, Known, Network, Unknown, Wire, shape
from swanherd.core.intent import Connection, Interface, IPAddress
from swanherd.core.record import Entry
from swanherd.core.routes import NO_PATH, PathFact
from swanherd.core.words import Reason, Role


@dataclass(frozen=True, slots=True)
class Attempt:
    """The latest handshake that this connection's lane started."""

    started: float
    digest: str | None
    """Of what was loaded when it started."""
    ended: float | None = None
    """None while it is under way; the lane may have stopped waiting for it, to free its slot."""
    failure: Failure | None = None
    """None when it came up, was cancelled, or is still under way."""


@dataclass(frozen=True, slots=True)
class LaneFacts:
    """What a connection's lane has done and is doing: outcomes are facts."""

    busy: bool = False
    """A plan of the lane is being carried out."""
    queued: bool = False
    """It waits for a slot in the window of handshakes."""
    touched: bool = False
    """Something that could run the connection was sent to this charon since the last read-back that found nothing."""
    open: bool = False
    """A call was left without its answer: charon may still carry it out."""
    secret_sent: bool = False
    """Its secret was sent to this charon and the answer has not come: it may be there, or come to be."""
    attempt: Attempt | None = None
    refused: Failure | None = None
    """The last step that charon refused."""


@dataclass(frozen=True, slots=True)
class Target:
    """One address of an endpoint."""

    endpoint: str
    """As in the settings."""
    rank: int
    """The endpoint's place among them, from 0."""
    address: IPAddress


@dataclass(frozen=True, slots=True)
class View:
    """Facts of one connection at one moment."""

    name: str
    connection: Connection | None
    """With literal endpoints, the one to call first. None: it has left the settings and only the record knows it."""
    interfaces: Mapping[str, Interface]
    network: Known[Network] | Unknown[Network]
    charon: Known[CharonIdentity] | Unknown[CharonIdentity]
    wire: Known[Wire | None] | Unknown[Wire | None]
    here: CharonConnection = field(default_factory=CharonConnection)
    entry: Entry | None = None
    """What the ownership record on disk says."""
    recorded_in: CharonIdentity | None = None
    """The charon that the record on disk speaks of."""
    digests: Mapping[IPAddress, str] = field(default_factory=lambda: MappingProxyType({}))
    """For each source this connection could have: the digest of what it would be loaded as."""
    secret_version: str | None = None
    """The version of its secret in the settings, or the id of its private key; None if it has neither."""
    keys: frozenset[str] = frozenset()
    """Ids of the private keys that charon has, of those that are or were this connection's."""
    stray_keys: frozenset[str] = frozenset()
    """Those of ``keys`` that no connection of the settings has any more."""
    basis: tuple[object, ...] = ()
    """What the memory of failures is about: the settings and the endpoints' addresses, whichever of them is called."""
    targets: tuple[Target, ...] = ()
    """The addresses that can be called, in order of preference."""
    unresolved: tuple[str, ...] = ()
    """Names among the endpoints that have no address now."""
    path: PathFact = NO_PATH
    """The kernel's route to the endpoint that is called first, where the settings ask for it."""
    answering: frozenset[IPAddress] = frozenset()
    """Addresses of the first endpoint that answer probes."""
    lane: LaneFacts = field(default_factory=LaneFacts)
    situation: Situation = field(default_factory=Situation)
    """VRRP evidence, and what else a judgement of an address reads."""
    displaced_before: float | None = None
    """SAs from before this moment may have been replaced at the peer: the agent's own loop stood still for longer than
    VRRP waits for a master, or another router spoke for the address meanwhile. None: never."""
    displaced_look_at: float | None = None
    """When that may change although nothing happens: another router spoke, and must have been silent for a while."""
    doubted: bool = False
    """A charon that is gone may have left SAs and policies in the kernel, between addresses that only this one has."""
    stopping: bool = False
    """The agent stops on purpose and the settings say ``on_stop = "release"``."""

    @property
    def recorded(self) -> bool:
        """Whether the record on disk knows this connection, as one of the very charon that is here.

        Under another charon's name a run that ends now would leave what its successor takes for somebody else's.
        """
        return self.entry is not None and isinstance(self.charon, Known) and self.charon.value == self.recorded_in

    @property
    def proof(self) -> str | None:
        """The version of what charon has to prove this end by: the secret's, or the private key's id."""
        if self.connection is not None and self.connection.auth == "certificate":
            return self.secret_version if self.secret_version in self.keys else None
        return self.here.secret

    @property
    def foreign(self) -> bool:
        """Whether somebody else's connection is loaded under this name."""
        config = self.here.config
        if config is None:
            return False
        ours = {shape(digest) for digest in self.digests.values()}
        return shape(config.digest) not in ours and not (self.entry is not None and self.entry.owns(config))


@dataclass(frozen=True, slots=True)
class Memory:
    """What one connection remembers between passes. It only damps and backs off, and may be lost at any time."""

    digest: str | None = None
    """Of what is to be loaded; attempts of another one count no more."""
    basis: tuple[object, ...] | None = None
    """What the failures are about; another basis starts afresh."""
    failures: int = 0
    """Failed handshakes in a row."""
    retry_at: float | None = None
    counted: float | None = None
    """``started`` of the latest attempt that is in ``failures``."""
    failure: Failure | None = None
    ran_in: CharonIdentity | None = None
    """The charon in which this connection was last seen loaded by us."""
    source: IPAddress | None = None
    """From which address it is to run, while it is active."""
    moved_at: float | None = None
    """When another source than before was last chosen."""
    aim: IPAddress | None = None
    """The endpoint to call, of several."""
    aimed_at: float = 0.0
    """When it became the aim after another one."""
    tried: int = 0
    """Endpoints that were tried in this round, and failed."""
    not_back_before: float = 0.0
    """No return to the first endpoint before that."""
    role: Role | None = None
    role_since: float | None = None
    reason: Reason | None = None
    reason_since: float | None = None
