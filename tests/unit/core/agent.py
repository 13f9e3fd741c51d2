"""A model of the agent around the core: what the loop, the ledger, the lanes and the wire's lane do with its words.

One step at a time, so that a test can stop, disturb or restart it between any two. What must hold at each step is
asserted where the step is taken.
"""

from dataclasses import dataclass, field, replace
from ipaddress import ip_address

from swanherd.core import aims, wire
from swanherd.core import plan as planning
from swanherd.core.decide import decide
from swanherd.core.decision import Decision
from swanherd.core.facts import Known, Network, Path, Unknown
from swanherd.core.intent import Connection, IPAddress
from swanherd.core.plan import plan
from swanherd.core.record import Entry, Record, grown, prints
from swanherd.core.routes import NO_PATH, PathFact
from swanherd.core.view import Memory, View
from swanherd.core.wire import pairs_from
from swanherd.core.words import Fence
from tests.unit.core import must
from tests.unit.core.charon import expected
from tests.unit.core.lane import Lane
from tests.unit.core.mirror import Mirror
from tests.unit.core.rights import right, rights
from tests.unit.core.settings import INTERFACES, OWN, PEER, VERSIONS
from tests.unit.core.world import World


@dataclass(slots=True)
class Agent:
    """One run of the agent's process: everything here is lost when it ends, but not what it sent or wrote."""

    world: World
    version: str
    run: int = 1
    stopping: bool = False
    network: Known[Network] | Unknown[Network] = field(default_factory=lambda: Unknown(0.0, "not-read"))
    path: Known[Path] | Unknown[Path] = field(default_factory=lambda: Unknown(0.0, "not-read"))
    lanes: dict[str, Lane] = field(default_factory=dict)
    memory: dict[str, Memory] = field(default_factory=dict)
    decisions: dict[str, Decision] = field(default_factory=dict)
    displaced_before: float | None = None
    fresh: bool = False
    """Whether everything was read after the last change in the world."""
    mirror: Mirror = field(init=False)
    entries: dict[str, Entry] = field(init=False)
    _network_at_pass: Network | None = None
    _path_at_pass: Path | None = None

    def __post_init__(self) -> None:
        self.mirror = Mirror(self.world)
        self.entries = dict(self.world.disk.entries)

    # --- facts ---

    @property
    def names(self) -> list[str]:
        """Every connection of the settings, and those that only the record still knows."""
        wanted = VERSIONS[self.version].intent.connections
        return sorted({*wanted, *self.world.disk.entries})

    def look(self) -> None:
        """Read everything that can be read."""
        self.mirror.refresh()
        if self.world.blind_since is None:
            self.network = Known(self.world.network(), self.world.now)
        elif isinstance(self.network, Known):
            self.network = Unknown(self.world.blind_since, "overflow", self.network.value)
        self.fresh = True

    def view(self, name: str) -> View:
        """Everything that the decision about *name* reads."""
        settings = VERSIONS[self.version]
        declared = settings.intent.connections.get(name)
        connection, targets = (None, aims.Targets()) if declared is None else self.aimed(declared)
        lane = self.lane(name)
        return View(
            name=name,
            connection=connection,
            interfaces=INTERFACES,
            network=self.network,
            charon=self.mirror.state,
            wire=Known(self.world.wire, 0.0),
            here=self.mirror.view(name),
            entry=self.world.disk.entries.get(name),
            recorded_in=self.world.disk.charon,
            digests=self._digests(connection),
            secret_version=settings.secrets.get(name),
            basis=(declared, targets.known),
            targets=targets.known,
            path=self.path_to_endpoint(declared),
            lane=replace(lane.facts, busy=lane.busy, open=lane.open),
            displaced_before=self.displaced_before,
            stopping=self.stopping,
        )

    def path_to_endpoint(self, declared: Connection | None) -> PathFact:
        """The kernel is asked at each look; what it said last is kept."""
        if declared is None or declared.source_by == "default-route":
            return NO_PATH
        if not self.world.mute:
            self.path = Known(Path(ip_address(PEER), self.world.path, 254), self.world.now)
        elif isinstance(self.path, Known):
            self.path = Unknown(self.world.now, "mute", self.path.value)
        return self.path

    def aimed(self, declared: Connection) -> tuple[Connection, aims.Targets]:
        """As the store aims a connection with several endpoints."""
        targets = aims.resolved(declared, {}) if len(declared.remote) > 1 else aims.Targets()
        remembered = self.memory.get(declared.name, Memory()).aim
        aim = aims.aim_of(targets.known, self.mirror.view(declared.name).sas, remembered)
        return aims.aimed(declared, targets.known, aim), targets

    def _digests(self, connection: Connection | None) -> dict[IPAddress, str]:
        if connection is None:
            return {}
        sources: list[IPAddress] = []
        for name in connection.interfaces:
            sources += INTERFACES[name].vips or (OWN,)
        return {source: expected(connection, source).digest for source in sources}

    # --- a pass ---

    def decide_all(self) -> None:
        """One pass of the loop over everything: the wire, then every connection."""
        self._cut_wire()
        network = self.network
        self._network_at_pass = network.value if isinstance(network, Known) else network.last
        for name in self.names:
            self._one(name)
        self._path_at_pass = self.path.value if isinstance(self.path, Known) else self.path.last

    def _one(self, name: str) -> None:
        lane = self.lane(name)
        lane.meet()
        view = self.view(name)
        memory = self.memory.get(name, Memory())
        decision = decide(view, memory, self.world.now)
        assert decision == decide(view, memory, self.world.now), "not deterministic"
        self._consider(view, decision)
        lane.follow(plan(decision, view))
        self.decisions[name], self.memory[name] = decision, decision.memory
        if decision.fence is Fence.FENCED and self.fresh:
            must.be_fenced(name, self.world.charon, self.run)

    def _consider(self, view: View, decision: Decision) -> None:
        """As the ledger does."""
        known = isinstance(view.charon, Known)
        old = self.entries.get(view.name)
        if view.connection is None:
            nothing = view.here.empty and view.here.secret is None
            done = (
                known and nothing and decision.fence is Fence.FENCED and not (view.lane.busy or view.lane.secret_sent)
            )
            if done or (known and view.foreign):
                self.entries.pop(view.name, None)
            return
        noted = old.sas if old is not None else {}
        if known:
            noted = prints(old, view.connection, view.here, leaving=decision.terminate_children)
        wanted = Entry(
            frozenset(view.digests.values()),
            view.connection.shared_id,
            pairs_from(view.connection, view.digests),
            noted,
        )
        settled = known and not (view.lane.busy or view.lane.open)
        self.entries[view.name] = grown(old, wanted, view.here, settled=settled)

    def _cut_wire(self) -> None:
        intent = VERSIONS[self.version].intent
        network = self.network.value if isinstance(self.network, Known) else None
        standing = wire.standing(intent, self.world.disk.entries)
        target = wire.wanted(standing, intent, network, before=self.world.wire)
        if not self.world.nft_broken:
            self.world.wire = target

    def write(self) -> None:
        """The ledger's task writes the record."""
        state = self.mirror.state
        self.world.disk = Record(state.value if isinstance(state, Known) else None, dict(self.entries))

    # --- lanes, and what must hold when they acquire ---

    def lane(self, name: str) -> Lane:
        """The lane of *name*."""
        return self.lanes.setdefault(name, Lane(name, self))

    def advance(self, name: str) -> bool:
        """Let one lane do one thing; whether it did."""
        return name in self.lanes and self.lanes[name].advance()

    def may_acquire(self, step: planning.Load | planning.Install | planning.Initiate) -> None:
        """Only what is rightfully here, by the facts of the latest pass, and is in the record on disk."""
        name = step.connection.name
        assert not self.stopping
        declared = VERSIONS[self.version].intent.connections[name]
        assert replace(step.connection, remote=()) == replace(declared, remote=()), "settings of yesterday"
        assert set(step.connection.remote) == set(declared.remote), "endpoints of yesterday"
        assert self._network_at_pass is not None
        network, path = self._network_at_pass, self._path_at_pass
        assert right(step.connection, network, path) is not None, f"{step} without the right"
        decided = self.decisions[name].source if not isinstance(step, planning.Load | planning.Initiate) else None
        source = decided or step.source  # type: ignore[union-attr]  # the trap's is the decision's
        assert source in rights(step.connection, network, path), f"{step} from {source}, which is not rightful"
        digest = expected(step.connection, source).digest
        assert digest in self.world.disk.entries[name].digests, f"{step} before the record"
        assert isinstance(self.mirror.state, Known)
        assert self.world.disk.charon == self.mirror.state.value, f"{step} under another charon's record"
        if not isinstance(step, planning.Load):
            loaded = self.world.charon.configs.get(name) if self.world.charon is not None else None
            assert loaded is None or loaded.source == source, f"{step} of what is loaded from {loaded}"

    def may_load_secret(self, step: planning.LoadSecret) -> None:
        """What the record does not know would never be removed."""
        entry = self.world.disk.entries.get(step.connection.name)
        assert entry is not None, f"{step} before the record"
        assert entry.shared_id == step.connection.shared_id
