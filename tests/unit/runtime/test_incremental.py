"""Deciding only what an event touches gives the same as deciding everything."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Final

from hypothesis import example, given, settings
from hypothesis import strategies as st

from swanherd.core import wire
from swanherd.core.decide import decide
from swanherd.core.decision import Decision
from swanherd.core.facts import (
    CharonConnection,
    CharonIdentity,
    DefaultRoute,
    HeldAddress,
    Known,
    Link,
    Network,
    NetworkChange,
    Path,
    Unknown,
)
from swanherd.core.intent import Connection, Intent, Interface, IPAddress
from swanherd.core.record import Entry, Record
from swanherd.core.view import LaneFacts, Memory
from swanherd.core.wire import pairs_from
from swanherd.runtime.sources import Sources
from swanherd.runtime.stall import StallWatch
from swanherd.runtime.store import Store
from tests.unit.core.charon import expected
from tests.unit.core.settings import ALPHA, BETA, DELTA, GAMMA, INTERFACES, OWN, PEER, VIP_LTE, VIP_WAN
from tests.unit.runtime.model import ModelCharon, ModelFirewall, ModelNetwork, ModelPaths

NOW: Final = 100.0
ANYWHERE: Final = replace(BETA, name="epsilon", interfaces=("any",))
DUAL: Final = Interface("dual", "eth0", (ip_address("192.0.2.11"), ip_address("2001:db8::11")))
SIX: Final = replace(ALPHA, name="zeta", interfaces=("dual",), ip_version=6, remote=("2001:db8::20",))
POLICY: Final = replace(BETA, name="eta", source_by="route-to-endpoint")
CONNECTIONS: Final = (ALPHA, BETA, GAMMA, DELTA, ANYWHERE, SIX, POLICY)
PLACES: Final[tuple[tuple[IPAddress, str], ...]] = (
    (VIP_WAN, "eth0"),
    (VIP_WAN, "vrrp.51"),
    (VIP_WAN, "eth1"),
    (VIP_LTE, "eth1"),
    (OWN, "eth2"),
    (ip_address("192.0.2.77"), "eth0"),
    (ip_address("2001:db8::11"), "eth0"),
)
DEVICES: Final = ("eth0", "eth1", "eth2", "vrrp.51", "gre1")
ROUTES: Final = (("eth0", 10), ("eth1", 20), ("gre1", 5))


def _intent(names: frozenset[str]) -> Intent:
    interfaces: Mapping[str, Interface] = {**INTERFACES, "dual": DUAL}
    return Intent(interfaces, {known.name: known for known in CONNECTIONS if known.name in names})


def _path(number: int) -> Known[Path] | Unknown[Path]:
    """What the kernel says of the route to the peer."""
    if number % 4 == 3:
        return Unknown(NOW, "mute")
    ways = (*DEVICES, None)
    return Known(Path(ip_address(PEER), ways[number % len(ways)]), NOW)


@dataclass(slots=True)
class Gateway:
    """A store, and what the loop would remember of its last decision about each name."""

    network: ModelNetwork = field(default_factory=ModelNetwork)
    charon: ModelCharon = field(default_factory=ModelCharon)
    firewall: ModelFirewall = field(default_factory=ModelFirewall)
    paths: ModelPaths = field(default_factory=ModelPaths)
    addresses: dict[tuple[IPAddress, str], bool] = field(default_factory=dict)
    links: dict[str, bool] = field(default_factory=lambda: dict.fromkeys(DEVICES, True))
    routes: set[tuple[str, int]] = field(default_factory=lambda: {("eth0", 10)})
    store: Store = field(init=False)
    memory: dict[str, Memory] = field(default_factory=dict)
    decisions: dict[str, Decision] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = Store(
            Sources(self.network, self.charon, self.firewall, paths=self.paths),
            StallWatch(now=NOW, on_stall=lambda _: None),
        )
        self._read()
        self.settings(frozenset(connection.name for connection in CONNECTIONS))

    def settings(self, names: frozenset[str]) -> None:
        """New settings with these connections."""
        self.store.adopt(_intent(names), dict.fromkeys(names, "s1"))

    def happens(self, event: tuple[str, int]) -> None:  # noqa: C901  # one arm an event
        """One event, with the hint that its source gives."""
        what, number = event
        match what:
            case "address":
                place = PLACES[number % len(PLACES)]
                if not self.addresses.pop(place, None):
                    self.addresses[place] = True
                self._read(NetworkChange(addresses=frozenset({place[0]})))
            case "tentative":
                place = PLACES[number % len(PLACES)]
                self.addresses[place] = False
                self._read(NetworkChange(addresses=frozenset({place[0]})))
            case "link":
                device = DEVICES[number % len(DEVICES)]
                self.links[device] = not self.links[device]
                # The default routes are read a moment later, and told by a hint of their own.
                self._read(NetworkChange(devices=frozenset({device}), defaults=True))
            case "route":
                self.routes ^= {ROUTES[number % len(ROUTES)]}
                self._read(NetworkChange(defaults=True))
            case "path":
                self.paths.state = _path(number)
                self.store.paths_changed(frozenset({ip_address(PEER)}))
            case "blind":
                self.network.state = Unknown(NOW - 10, "lost", self._network())
                self.store.network_changed(NetworkChange(everything=True))
            case "charon":
                states: tuple[Known[CharonIdentity] | Unknown[CharonIdentity], ...] = (
                    Known(CharonIdentity(1, 1), NOW),
                    Known(CharonIdentity(2, 2), NOW),
                    Unknown(NOW, "frozen"),
                )
                self.charon.state = states[number % len(states)]
                self.store.charon_changed(None)
            case "loaded":
                self._loaded(CONNECTIONS[number % len(CONNECTIONS)], number)
            case "wire":
                network = self._network()
                standing = wire.standing(self.store.intent, self.store.entries)
                target = wire.wanted(standing, self.store.intent, network, before=None)
                self.firewall.state = Known(None if number % 3 == 0 else target, NOW)
                self.store.firewall_changed()
            case "settings":
                self.settings(frozenset(known.name for bit, known in enumerate(CONNECTIONS) if number >> bit & 1))
            case "record":
                self._recorded(number)

    def _loaded(self, connection: Connection, number: int) -> None:
        source = (VIP_WAN, VIP_LTE)[number % 2]
        config = None if number % 5 == 0 else expected(connection, source)
        self.charon.here[connection.name] = CharonConnection(config=config)
        self.store.charon_changed([connection.name])

    def _recorded(self, number: int) -> None:
        entries = dict(self.store.entries)
        connection = CONNECTIONS[number % len(CONNECTIONS)]
        sources = [VIP_WAN, VIP_LTE][: number % 3]
        digests = frozenset(expected(connection, source).digest for source in sources)
        entries[connection.name] = Entry(digests, connection.shared_id, pairs_from(connection, sources))
        if number % 4 == 0:
            del entries[connection.name]
        self.store.recorded(Record(None if number % 7 == 0 else CharonIdentity(1, 1), entries))

    def _network(self) -> Network:
        held: dict[IPAddress, tuple[HeldAddress, ...]] = {}
        for (ip, device), usable in self.addresses.items():
            held[ip] = (*held.get(ip, ()), HeldAddress(ip, 24, device, usable, 0.0))
        kinds = {"vrrp.51": ("macvlan", "eth0"), "gre1": ("gre", None)}
        links = {
            name: Link(name, index, up, *kinds.get(name, (None, None)))
            for index, (name, up) in enumerate(self.links.items())
        }
        routes = sorted(self.routes, key=lambda route: route[1])
        defaults = [DefaultRoute(4, device, metric, self.links[device]) for device, metric in routes]
        return Network(held, links, tuple(defaults))

    def _read(self, change: NetworkChange = NetworkChange(everything=True)) -> None:  # noqa: B008  # frozen
        if isinstance(self.network.state, Unknown):
            change = NetworkChange(everything=True)  # as the source says when it becomes known
        self.network.state = Known(self._network(), NOW)
        self.store.network_changed(change)

    def pass_(self) -> None:
        """Decide what is due, and no more."""
        for name in self.store.take_due():
            decision = self._decide(name)
            self.decisions[name], self.memory[name] = decision, decision.memory

    def _decide(self, name: str) -> Decision:
        return decide(
            self.store.view(name, LaneFacts(), self.store.situation(NOW)), self.memory.get(name, Memory()), NOW
        )

    def check(self) -> None:
        """Deciding every name now changes nothing."""
        for name in self.store.names():
            assert self._decide(name) == self.decisions[name]


KINDS: Final = (
    "address", "address", "tentative", "link", "route", "path", "blind", "charon", "loaded", "wire", "settings",
    "record",
)  # fmt: skip
events = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 127)), max_size=12)


@settings(max_examples=300, deadline=None, database=None, derandomize=True)
@given(events)
@example([("address", 4)])
@example([("address", 1), ("link", 3)])
@example([("address", 5)])
@example([("address", 0), ("address", 3), ("path", 0), ("path", 1)])
@example([("record", 2), ("wire", 1), ("address", 2)])
@example([("address", 0), ("address", 0), ("address", 0), ("wire", 1), ("record", 58), ("link", 0)])
def test_incremental_passes_equal_a_full_one(history: list[tuple[str, int]]) -> None:
    """After each event, what was not due would be decided as it was."""
    gateway = Gateway()
    gateway.pass_()
    for event in history:
        gateway.happens(event)
        gateway.pass_()
        gateway.check()
