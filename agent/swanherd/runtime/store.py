"""The store of facts: what every source says now, which connections that touches, and one connection's view of it.

Events only mark names as due; the loop takes the due names and reads the facts as they are at that moment.
"""

from collections.abc import Iterable, Mapping

from swanherd.core import aims
from swanherd.core.evidence import Situation
from swanherd.core.facts import (
    CharonIdentity,
    Known,
    Network,
    NetworkChange,
    Pair,
    Unknown,
    relied_on,
)
from swanherd.core.intent import Intent, IPAddress
from swanherd.core.record import Entry, Record
from swanherd.core.routes import NO_PATH
from swanherd.core.view import LaneFacts, Memory, View
from swanherd.runtime.dependencies import Dependencies
from swanherd.runtime.digests import Digests
from swanherd.runtime.doubts import Doubts
from swanherd.runtime.due import Due
from swanherd.runtime.endpoints import Endpoints
from swanherd.runtime.situations import Situations
from swanherd.runtime.sources import Sources
from swanherd.runtime.stall import StallWatch


class Store:
    """Facts by source, the intent, and the names that are due for a decision."""

    def __init__(self, sources: Sources, stalls: StallWatch) -> None:
        self._sources = sources
        self._doubts = Doubts(stalls)
        self._due = Due()
        self._digests = Digests(sources.charon.expected)
        self._situations = Situations(sources)
        self._dependencies = Dependencies(Intent(), {})
        self._names: frozenset[str] = frozenset()
        self.endpoints = Endpoints(sources)
        self.intent = Intent()
        self.secret_versions: Mapping[str, str] = {}
        self.entries: Mapping[str, Entry] = {}
        """The ownership record as it is on disk."""
        self._recorded_in: CharonIdentity | None = None
        """The charon that it names."""
        self.stopping = False
        self.wire_due = True
        """Something changed that the firewall table depends on."""
        self._ranks: Mapping[str, int] = {}
        self._wanted_keys: frozenset[str] = frozenset()

    # -- what wakes the loop -----

    def network_changed(self, change: NetworkChange) -> None:
        """Mark what depends on *change*."""
        self.wire_due = True
        if change.everything:
            self.all_due()
            return
        self.due(self._dependencies.of_network(change, self.network()))

    def vrrp_changed(self, interfaces: frozenset[str]) -> None:
        """There is news about the VIPs of *interfaces*: who is fenced may change, and who has the right."""
        self.wire_due = True
        self.due(self._dependencies.of_interfaces(interfaces))

    def names_changed(self, hostnames: frozenset[str]) -> None:
        """These names mean something else now, or nobody knows any more."""
        self.wire_due = True
        self.due(self.endpoints.named(hostnames))

    def paths_changed(self, endpoints: frozenset[IPAddress]) -> None:
        """Another way leads to *endpoints* now."""
        self.due(self.endpoints.reached(endpoints))

    def charon_changed(self, names: Iterable[str] | None) -> None:
        """Mark *names*, or all of them."""
        self._situations.charon_changed()
        if names is None:
            self.all_due()
        else:
            self.due(names, hurry=False)

    def firewall_changed(self) -> None:
        """The table was read anew: fences may be verified now, and it may have to be put back."""
        self._situations.firewall_changed()
        self.wire_due = True
        self.all_due()

    def due(self, names: Iterable[str], *, hurry: bool = True) -> None:
        """Have *names* decided in the next pass; names that nobody knows are dropped there.

        What charon and the lanes tell is in no *hurry*: it takes no right away.
        """
        self._due.add(names, hurry=hurry)

    def all_due(self) -> None:
        """Have everything decided in the next pass."""
        self.due(self.names())

    def wake(self) -> None:
        """Have a pass now, whatever is due."""
        self._due.add(())

    async def changed(self, until: float | None) -> None:
        """Wait until a pass is wanted, or the loop's clock shows *until*."""
        await self._due.wait(until)

    def take_due(self) -> set[str]:
        """The names that are due; cleared before the facts are read, so that no change is lost."""
        return self._due.take() & self._names

    # -- what is wanted -----

    def names(self) -> frozenset[str]:
        """Every connection of the settings, and those that only the record still knows."""
        return self._names

    def rank(self, name: str) -> int:
        """The place of *name* among takeovers; those that left the settings come first: they can only give up."""
        return self._ranks.get(name, 0)

    def _rename(self) -> None:
        names = frozenset(self.intent.connections) | frozenset(self.entries)
        if names != self._names:
            self._names = names
            self._sources.charon.watch(names)

    def adopt(self, intent: Intent, secret_versions: Mapping[str, str]) -> None:
        """Take new settings into force; what they change is due."""
        self.intent = intent
        self.secret_versions = secret_versions
        self._wanted_keys = frozenset(
            each.certificates.key_id for each in intent.connections.values() if each.certificates is not None
        )
        self._digests.adopt(intent)
        self.endpoints.adopt(intent)
        self._dependencies = Dependencies(intent, self.entries)
        self._situations.adopt(intent)
        self.wire_due = True
        by_priority = sorted(
            intent.connections.values(), key=lambda each: -each.priority
        )  # equal ones keep their order
        self._ranks = {each.name: rank for rank, each in enumerate(by_priority, start=1)}
        self._rename()
        self.all_due()

    def recorded(self, record: Record) -> None:
        """The record on disk is now *record*."""
        entries = record.entries
        changed = {name for name in {*entries, *self.entries} if _differ(entries.get(name), self.entries.get(name))}
        moved = any(_pairs(entries, name) != _pairs(self.entries, name) for name in changed)
        if record.charon != self._recorded_in:
            changed |= set(entries)
        self.entries, self._recorded_in = entries, record.charon
        if moved:
            self._dependencies = Dependencies(self.intent, entries)
            self.wire_due = True
        self._rename()
        self.due(changed)

    # -- what is -----

    def network(self) -> Network | None:
        """Addresses, links and routes, if they are known."""
        state = self._sources.network.state
        return state.value if isinstance(state, Known) else None

    def blind(self, now: float) -> bool:
        """Whether the network was known once, and could not be read for so long that nothing may be relied on."""
        state = self._sources.network.state
        return isinstance(state, Unknown) and state.why != "not-read" and relied_on(state, now) is None

    def view(self, name: str, lane: LaneFacts, situation: Situation, memory: Memory = Memory()) -> View:  # noqa: B008  # frozen
        """Everything that the decision about *name* reads; *situation* is the same for a whole pass.

        *memory*: which endpoint is called first.
        """
        declared = self.intent.connections.get(name)
        connection, targets = self.endpoints.aimed(declared, memory) if declared is not None else (None, aims.Targets())
        charon, entry, network = self._sources.charon, self.entries.get(name), self.network()
        keys = entry.keys & charon.key_ids() if entry is not None and entry.keys else frozenset()
        return View(
            name=name,
            connection=connection,
            interfaces=self.intent.interfaces,
            network=self._sources.network.state,
            charon=charon.state,
            wire=self._sources.firewall.state,
            here=charon.connection(name),
            entry=entry,
            recorded_in=self._recorded_in,
            digests=self._digests.of(connection, network) if connection is not None else {},
            secret_version=self.secret_versions.get(name),
            basis=(self._digests.basis(declared), *(target.address for target in targets.known)) if declared else (),
            targets=targets.known,
            unresolved=targets.unresolved,
            path=self.endpoints.path(connection) if connection is not None else NO_PATH,
            answering=self._sources.probes.answering(name),
            keys=keys,
            stray_keys=keys - self._wanted_keys,
            lane=lane,
            situation=situation,
            displaced_before=self._doubts.before(connection, self.intent, network, situation) if connection else None,
            displaced_look_at=self._doubts.look_at(connection, self.intent, network, situation) if connection else None,
            doubted=entry is not None and self._sources.kernel.doubted(name, entry.pairs),
            stopping=self.stopping,
        )

    def situation(self, now: float) -> Situation:
        """What judgements of addresses read beside the addresses."""
        return self._situations.at(now, self.network(), self._names)


def _differ(new: Entry | None, old: Entry | None) -> bool:
    return new is not old and new != old  # after each write, of ten thousand


def _pairs(entries: Mapping[str, Entry], name: str) -> frozenset[Pair]:
    entry = entries.get(name)
    return entry.pairs if entry is not None else frozenset()
