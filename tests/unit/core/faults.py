"""What can happen to a gateway, as words; and how long until it rests when nothing happens any more."""

from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final

from swanherd.core.facts import Known, Path, Unknown, shape
from swanherd.core.record import Record
from swanherd.core.words import Fence, Reason, Role, Start
from tests.unit.core.agent import Agent
from tests.unit.core.charon import OTHERS, expected
from tests.unit.core.rights import right
from tests.unit.core.settings import OWN, PEER, VERSIONS, VIP_LTE, VIP_WAN
from tests.unit.core.world import World

NAMES: Final = ("alpha", "beta", "gamma", "delta")
HOMES: Final = {"wan": (VIP_WAN, "eth0"), "lte": (VIP_LTE, "eth1"), "lab": (OWN, "eth2")}

WORLD_EVENTS: Final = (
    *(f"{what} {where}" for where in HOMES for what in ("address-comes", "address-goes", "address-tentative")),
    *(f"{what} {where}" for where in HOMES for what in ("link-down", "link-up")),
    "route-wan",
    "route-lte",
    *(f"path {device}" for device in ("eth0", "eth1", "nowhere")),
    "mute",
    "tells",
    "blind",
    "sees",
    "charon-killed",
    "charon-started",
    "charon-frozen",
    "charon-thawed",
    "charon-slow",
    "charon-fast",
    "delivered-first",
    "delivered-last",
    "load-all",
    "foreign",
    "foreign-leaves",
    "table-flushed",
    "nft-broken",
    "nft-works",
    "peer-answers",
    "peer-silent",
    "peer-refuses",
    "peer-closes",
    *(f"{what} {name}" for name in ("alpha", "delta") for what in ("calls", "deletes", "deletes-child", "closing")),
)
AGENT_EVENTS: Final = (
    "agent-killed",
    "record-lost",
    "stalled",
    *(f"settings {version}" for version in VERSIONS),
)
PROGRESS: Final = (
    "look",
    "pass",
    "write",
    "time 1",
    "time 6",
    "peer",
    "work",
    *(f"step {name}" for name in NAMES),
)
EVENTS: Final = WORLD_EVENTS + AGENT_EVENTS + PROGRESS

ROUNDS: Final = 60
"""Rounds of look, pass and work until everything must rest."""


@dataclass(slots=True)
class Story:
    """A world, its agent, and what happens to them."""

    world: World = field(default_factory=World)
    agent: Agent = field(init=False)
    others: dict[int, tuple[object, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.agent = Agent(self.world, "all")

    def happens(self, event: str) -> None:
        """One *event*; afterwards nothing of anybody else's has changed."""
        what, _, which = event.partition(" ")
        if event not in PROGRESS:
            self.agent.fresh = False
        self._happens(what, which)
        charon = self.world.charon
        if charon is not None:
            assert self.others.setdefault(charon.identity.pid, charon.others) == charon.others, "not ours to change"

    def _happens(self, what: str, which: str) -> None:  # noqa: C901, PLR0912  # one arm an event
        world, agent, charon = self.world, self.agent, self.world.charon
        match what:
            case "address-comes":
                world.addresses[HOMES[which]] = True
            case "address-goes":
                world.addresses.pop(HOMES[which], None)
            case "address-tentative":
                world.addresses[HOMES[which]] = False
            case "link-down" | "link-up":
                world.links[HOMES[which][1]] = what == "link-up"
            case "route-wan":
                world.defaults = {"eth0": 10, "eth1": 20}
            case "route-lte":
                world.defaults = {"eth1": 10}
            case "path":
                world.path = None if which == "nowhere" else which
            case "mute" | "tells":
                world.mute = what == "mute"
            case "blind":
                world.blind_since = world.now if world.blind_since is None else world.blind_since
            case "sees":
                world.blind_since = None
            case "charon-killed":
                world.kill_charon()
            case "charon-started":
                world.start_charon()
            case "charon-frozen" | "charon-thawed" if charon is not None:
                charon.frozen = what == "charon-frozen"
                # What an earlier run sent was in the queue before anything that this run can ask.
                world.orphan(agent.run - 1)
            case "charon-slow" | "charon-fast" if charon is not None:
                charon.slow = what == "charon-slow"
            case "delivered-first" | "delivered-last" if charon is not None and charon.under_way:
                if not charon.frozen:
                    world.deliver(charon.under_way[0 if what == "delivered-first" else -1])
            case "load-all":
                world.load_all()
            case "foreign" | "foreign-leaves":
                self._foreign(what)
            case "table-flushed":
                world.wire = None
            case "nft-broken" | "nft-works":
                world.nft_broken = what == "nft-broken"
            case "peer-answers" | "peer-silent" | "peer-refuses" | "peer-closes":
                world.peer = what.removeprefix("peer-")
            case "calls":
                world.peer_calls(which)
            case "deletes" | "deletes-child":
                world.peer_deletes(which, only_child=what == "deletes-child")
            case "closing":
                world.closing(which)
            case "agent-killed":
                world.orphan(agent.run)
                self.agent = Agent(world, agent.version, run=agent.run + 1)
            case "record-lost":
                # Only a restart notices; what is loaded like the settings is ours all the same.
                if self._all_as_the_settings():
                    world.disk = Record()
                    self.agent = Agent(world, agent.version, run=agent.run + 1)
                    self.work()
            case "stalled":
                agent.displaced_before = world.now
            case "settings":
                agent.version = which
                agent.decide_all()
            case "look":
                agent.look()
            case "pass":
                agent.decide_all()
            case "write":
                agent.write()
            case "time":
                world.now += float(which)
            case "peer":
                world.peer_acts()
                agent.fresh = False
            case "step":
                agent.advance(which)
            case "work":
                self.work()

    def _all_as_the_settings(self) -> bool:
        """Whether only the settings are needed to know what is ours."""
        agent, charon = self.agent, self.world.charon
        if charon is None or charon.frozen or charon.under_way:
            return False
        agent.look()
        views = [agent.view(name) for name in {*agent.names, *agent.entries}]
        return all(
            view.connection is not None
            and (view.here.config is None or shape(view.here.config.digest) in map(shape, view.digests.values()))
            for view in views
        )

    def _foreign(self, what: str) -> None:
        """Somebody else takes a name, or leaves it; this is noticed at once, for a race for a name has no winner."""
        charon = self.world.charon
        if charon is None or charon.under_way or charon.frozen:
            return
        if self.world.disk.entries.get("alpha") is not None and what == "foreign":
            lane = self.agent.lanes.get("alpha")
            if lane is not None and lane.busy:
                return
        if what == "foreign":
            self.world.foreign("alpha")
        else:
            self.world.foreign_leaves("alpha")
        self.agent.look()
        self.agent.decide_all()

    def work(self) -> bool:
        """Look, pass, write, and let every lane do what it can now; whether anything was done."""
        self.agent.look()
        self.agent.decide_all()
        before = self.world.disk
        self.agent.write()
        done = before != self.world.disk
        for name in self.agent.names:
            while self.agent.advance(name):
                done = True
                self.agent.look()
        self.world.peer_acts()
        self.agent.look()
        return done

    def calm_down(self) -> None:
        """No more faults; what is somebody else's stays as it is."""
        for event in ("sees", "tells", "charon-started", "charon-thawed", "charon-fast", "nft-works", "peer-answers"):
            self.happens(event)
        self.world.deliver_all(backwards=True)
        self.agent.displaced_before = None

    def rest(self) -> int:
        """Go on until nothing is to be done any more; the number of rounds it took."""
        for number in range(ROUNDS):
            done = self.work()
            self.happens("look")
            self.agent.decide_all()
            busy = any(lane.busy for lane in self.agent.lanes.values())
            looks = [decision.look_again_at for decision in self.agent.decisions.values()]
            due = [at for at in looks if at is not None]
            if not (done or busy or due):
                return number
            self.world.now = max(self.world.now + 0.5, min(due, default=0.0))
        raise AssertionError(f"does not rest: {self.agent.decisions}, {self.agent.lanes}")

    def check(self) -> None:
        """Everything is as the settings ask for."""
        charon, agent = self.world.charon, self.agent
        assert charon is not None
        assert isinstance(agent.mirror.state, Known)
        assert not isinstance(agent.network, Unknown)
        intent = VERSIONS[agent.version].intent
        for name in NAMES:
            connection = intent.connections.get(name)
            if not charon.ours_under(name):
                # Who is in neither the settings nor the record is nobody's to decide.
                assert name not in agent.names or agent.decisions[name].reason is Reason.NAME_TAKEN
                continue
            path = Path(ip_address(PEER), self.world.path)
            source = right(connection, self.world.network(), path) if connection is not None else None
            if agent.stopping or source is None:
                self._check_nothing(name)
            else:
                self._check_runs(name, source)
        assert set(self.world.disk.entries) == set(intent.connections)
        wanted = {"their-secret"} | {connection.shared_id for connection in intent.connections.values()}
        taken = {f"swanherd-{name}" for name in NAMES if not charon.ours_under(name)}
        assert set(charon.secrets) | taken == wanted | taken
        for name, version in VERSIONS[agent.version].secrets.items():
            if charon.ours_under(name):
                assert charon.secrets[f"swanherd-{name}"] == version
        assert set(charon.configs) <= {OTHERS, *NAMES}

    def _check_nothing(self, name: str) -> None:
        charon, agent = self.world.charon, self.agent
        assert charon is not None
        assert not charon.holds(name), f"{name} is left behind"
        decision = agent.decisions.get(name)
        if name in agent.names:
            assert decision is not None
            assert (decision.role, decision.fence) == (Role.STANDBY, Fence.FENCED), f"{decision}"

    def _check_runs(self, name: str, source: object) -> None:
        charon, decision = self.world.charon, self.agent.decisions[name]
        assert charon is not None
        connection = VERSIONS[self.agent.version].intent.connections[name]
        loaded = charon.configs[name]
        assert decision.role is Role.ACTIVE
        assert decision.reason in {Reason.UP, Reason.TRAPPED, Reason.WAITING_FOR_PEER}
        assert loaded.source == source
        assert loaded.digest == expected(self.agent.aimed(connection)[0], loaded.source).digest
        assert len({sa.remote for sa in charon.of(name) if sa.initiator}) <= 1, "two endpoints"
        assert all(sa.local == source and sa.state == "ESTABLISHED" for sa in charon.of(name))
        starts = {child.name: connection.start_of(child) for child in connection.children}
        up = {child for sa in charon.of(name) for child in sa.children}
        assert {child for child, start in starts.items() if start is Start.CONNECT} <= up <= set(starts)
        traps = {child: agreed for (owner, child), agreed in charon.traps.items() if owner == name}
        wanted = {child.name: child.agreed for child in connection.children}
        assert traps == {child: wanted[child] for child, start in starts.items() if start is Start.ON_DEMAND}
