"""What the firewall tables should hold now; what rarely changes is kept, so that a fence waits for none of it."""

from collections.abc import Mapping

from swanherd.core import leaks, openings, wire
from swanherd.core.evidence import Situation
from swanherd.core.facts import Flow, Wire
from swanherd.core.intent import Intent, IPAddress
from swanherd.core.openings import Openings
from swanherd.core.record import Entry
from swanherd.runtime.store import Store


class WireTarget:
    """The target of the wire lane, pass after pass."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._standing: tuple[Intent, Mapping[str, Entry], frozenset[Flow], Wire] | None = None
        self._flows: tuple[Intent, leaks.Ways, frozenset[Flow]] | None = None
        self._openings: tuple[Intent, tuple[object, ...], Openings] | None = None

    def now(self, situation: Situation, before: Wire | None) -> Wire:
        """The whole target; *before* is what the tables hold."""
        network = self._store.network()
        return wire.wanted(
            self._standing_wire(before),
            self._store.intent,
            network,
            before=before,
            situation=situation,
            blind=self._store.blind(situation.now),
        )

    def openings(self, fenced: frozenset[IPAddress]) -> Openings | None:
        """The rules in chains of the user's; None while the network is not known: then they stay."""
        network, intent = self._store.network(), self._store.intent
        if not any(connection.firewall_rule for connection in intent.connections.values()):
            return {}
        if network is None:
            return None
        ways = self._ways(intent)
        sources = openings.usable(intent, ways, network, fenced)
        known = self._openings
        if known is None or known[0] is not intent or known[1] != (sources, ways.peers):
            self._openings = known = (intent, (sources, ways.peers), openings.wanted(intent, sources, ways.peers))
        return known[2]

    def _ways(self, intent: Intent) -> leaks.Ways:
        network, known = self._store.network(), self._flows
        before = known[1] if known is not None else leaks.Ways()
        return leaks.ways(intent, network, self._store.endpoints.named_peers()).remembering(before, network)

    def _standing_wire(self, before: Wire | None) -> Wire:
        intent, entries = self._store.intent, self._store.entries
        known = self._standing
        if self._store.network() is None and known is None and before is not None:
            # At the start, before the network was read: what an agent before us guarded stays guarded.
            return wire.standing(intent, entries, leaks=leaks.flows(intent, leaks.ways(intent, None)) | before.leaks)
        flows = self._leaks(intent)
        if known is not None and known[0] is intent and known[1] is entries and known[2] is flows:
            return known[3]
        standing = wire.standing(intent, entries, leaks=flows)
        if known is not None and known[3] == standing:
            # The very object, so that comparing it with what the tables hold costs nothing, a thousand times over.
            standing = known[3]
        self._standing = (intent, entries, flows, standing)
        return standing

    def _leaks(self, intent: Intent) -> frozenset[Flow]:
        """The leak guard's share: the same object while nothing that it depends on has changed.

        The ownership record, which is written several times in a takeover, is no part of that.
        """
        known, ways = self._flows, self._ways(intent)
        if known is None or known[0] is not intent or known[1] != ways:
            self._flows = known = (intent, ways, leaks.flows(intent, ways))
        return known[2]
