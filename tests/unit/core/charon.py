"""A model of one charon process: what it does with the steps that it is sent.

It does what was measured and read of charon: an unload closes no SA, a trap survives the unload, a load of the same
changes nothing, SAs outlive their address, a termination by name takes every SA of that name, a frozen charon runs
later what it was sent, in no order between connections, and a new charon has nothing. Every change that hits what is
somebody else's is an error of the test.
"""

import hashlib
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final

from swanherd.core import plan as planning
from swanherd.core.facts import CharonIdentity, ChildSa, Failure, IkeSa, LoadedConfig
from swanherd.core.intent import Connection, IPAddress
from tests.unit.core.settings import VIP_WAN

CharonStep = (
    planning.LoadSecret
    | planning.Load
    | planning.Install
    | planning.Initiate
    | planning.Uninstall
    | planning.Unload
    | planning.Terminate
    | planning.TerminateChildren
    | planning.UnloadSecret
    | planning.UnloadKey
)
"""Steps that are commands to charon."""

OTHERS: Final = "other"
"""The name of a connection that was never ours."""


def visible(connection: Connection, source: IPAddress) -> str:
    """A digest of what charon shows of a loaded connection: not all of what was sent."""
    children = [
        (child.name, child.local_ts, child.remote_ts, child.mode, child.rekey_s) for child in connection.children
    ]
    shown = (connection.name, connection.remote, connection.rekey_s, source, children)
    return hashlib.sha256(repr(shown).encode()).hexdigest()[:8]


def expected(connection: Connection, source: IPAddress) -> LoadedConfig:
    """What is listed once *connection* is loaded from *source*."""
    digest = f"{visible(connection, source)}.{connection.fingerprint(source)}"
    return LoadedConfig(connection.name, digest, source)


def subject(step: CharonStep) -> str:
    """The name of the connection that *step* is about."""
    match step:
        case planning.LoadSecret() | planning.Load() | planning.Install() | planning.Initiate():
            return step.connection.name
        case planning.UnloadSecret():
            return step.shared_id.removeprefix("swanherd-")
        case _:
            return step.name


@dataclass(slots=True)
class Loaded:
    """A connection in charon; *connection* is None for somebody else's."""

    digest: str
    source: IPAddress
    connection: Connection | None = None


@dataclass(slots=True)
class Sa:
    """An IKE_SA; it keeps what it was made from, whatever is unloaded later."""

    unique_id: int
    name: str
    local: IPAddress
    remote: IPAddress
    begun: float
    ours: bool = True
    initiator: bool = True
    since: float | None = None
    state: str = "CONNECTING"
    asked: set[str] = field(default_factory=set)
    children: dict[str, int] = field(default_factory=dict)

    @property
    def fact(self) -> IkeSa:
        """As charon lists it."""
        children = tuple(ChildSa(name, number, "INSTALLED") for name, number in self.children.items())
        return IkeSa(
            self.name, self.unique_id, self.state, self.local, self.remote, self.initiator, self.since, children
        )


@dataclass(slots=True, eq=False)
class Command:
    """A step that charon was sent: it runs it whoever still waits for the answer."""

    step: CharonStep
    run: int
    """Which run of the agent sent it."""
    sent_at: float
    done: bool = False
    error: str = ""


class Charon:
    """One charon process."""

    def __init__(self, identity: CharonIdentity) -> None:
        self.identity = identity
        self.frozen = False
        self.slow = False
        """Commands stay under way until they are delivered one by one."""
        self.configs: dict[str, Loaded] = {OTHERS: Loaded("theirs", VIP_WAN)}
        self.secrets: dict[str, str] = {"their-secret": "t"}
        self.traps: dict[tuple[str, str], str] = {(OTHERS, "their-child"): "theirs"}
        """(connection, child) to the print of the child that was loaded when it was installed."""
        self.sas: dict[int, Sa] = {1: Sa(1, OTHERS, VIP_WAN, ip_address("203.0.113.99"), 0.0, ours=False)}
        self.failures: dict[str, Failure] = {}
        self.under_way: list[Command] = []
        self._ids = 1

    @property
    def others(self) -> tuple[object, ...]:
        """Everything that was there before us: must never change."""
        theirs = self.configs[OTHERS], self.secrets["their-secret"], self.sas[1].fact
        return (*theirs, sorted(trap for trap in self.traps if trap[0] == OTHERS))

    def new_id(self) -> int:
        """An id that no SA had before."""
        self._ids += 1
        return self._ids

    def of(self, name: str) -> list[Sa]:
        """The IKE_SAs of *name*."""
        return [sa for sa in self.sas.values() if sa.name == name]

    def holds(self, name: str) -> bool:
        """Whether anything that could run *name* is here."""
        return name in self.configs or bool(self.of(name)) or any(trap[0] == name for trap in self.traps)

    def ours_under(self, name: str) -> bool:
        """Whether what is loaded as *name* is not somebody else's."""
        return name not in self.configs or self.configs[name].connection is not None

    def run(self, step: CharonStep, now: float) -> str:  # noqa: C901, PLR0912  # one arm a step
        """Carry *step* out; the error text if it is refused."""
        # Secrets have ids of our own.
        assert self.ours_under(subject(step)) or isinstance(step, planning.LoadSecret | planning.UnloadSecret), (
            f"somebody else's: {step}"
        )
        match step:
            case planning.LoadSecret():
                self.secrets[step.connection.shared_id] = step.version
            case planning.UnloadSecret():
                self.secrets.pop(step.shared_id, None)
            case planning.Load():
                digest = expected(step.connection, step.source).digest
                self.configs[step.connection.name] = Loaded(digest, step.source, step.connection)
            case planning.Unload():
                self.configs.pop(step.name, None)
            case planning.Install():
                loaded = self._child(step.connection.name, step.child.name)
                if loaded is None or loaded.connection is None:
                    return "not found"
                child = next(known for known in loaded.connection.children if known.name == step.child.name)
                self.traps.setdefault((step.connection.name, step.child.name), child.agreed)
            case planning.Uninstall():
                self.traps.pop((step.name, step.child), None)
            case planning.Initiate():
                return self._initiate(step, now)
            case planning.Terminate():
                for sa in self.of(step.name):
                    if step.unique_ids is None or sa.unique_id in step.unique_ids:
                        assert sa.ours, f"an SA of somebody else: {step}"
                        del self.sas[sa.unique_id]
            case planning.TerminateChildren():
                for sa in self.of(step.name):
                    sa.children = {name: key for name, key in sa.children.items() if key not in step.unique_ids}
        return ""

    def _child(self, name: str, child: str) -> Loaded | None:
        loaded = self.configs.get(name)
        if loaded is None or loaded.connection is None:
            return None
        return loaded if any(known.name == child for known in loaded.connection.children) else None

    def _initiate(self, step: planning.Initiate, now: float) -> str:
        for child in step.children:
            loaded = self._child(step.connection.name, child.name)
            if loaded is None or loaded.connection is None:
                return "not found"
            found = next((sa for sa in self.of(step.connection.name) if sa.local == loaded.source), None)
            if found is None:
                remote = ip_address(loaded.connection.remote[0])
                found = Sa(self.new_id(), step.connection.name, loaded.source, remote, now)
                self.sas[found.unique_id] = found
            found.asked.add(child.name)
        return ""
