"""What judgements of addresses read beside the addresses: VRRP, what is fenced, from where something runs."""

from collections.abc import Iterable, Mapping

from swanherd.core.evidence import Situation
from swanherd.core.facts import Network, Unknown
from swanherd.core.intent import Intent, IPAddress
from swanherd.runtime.sources import Sources


class Situations:
    """One situation for each pass; what changes more rarely than passes come is kept."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._fenced_since: Mapping[IPAddress, float] = {}
        self._declared: tuple[str, ...] = ()
        self._declared_vips: frozenset[IPAddress] = frozenset()
        self._running_now: frozenset[IPAddress] | None = None

    def adopt(self, intent: Intent) -> None:
        """Take new settings into force."""
        declared = [each for each in intent.interfaces.values() if each.vrrp is not None and each.vrrp.evidence]
        self._declared = tuple(each.name for each in declared)
        self._declared_vips = frozenset(vip for each in declared for vip in each.vips)
        self._running_now = None

    def charon_changed(self) -> None:
        """Something else may run."""
        self._running_now = None

    def firewall_changed(self) -> None:
        """The table was read anew: since when each address is known to be fenced.

        What our sets say counts, even if a rule was broken.
        """
        remains = self._sources.firewall.remains
        fenced = remains.fenced if remains is not None else frozenset()
        if fenced != self._fenced_since.keys():
            since = self._sources.firewall.state.since
            self._fenced_since = {address: self._fenced_since.get(address, since) for address in fenced}

    def at(self, now: float, network: Network | None, names: Iterable[str]) -> Situation:
        """The situation at *now*; *names*: every connection of ours."""
        return Situation(
            now=now,
            vrrp={name: self._sources.vrrp.facts(name) for name in self._declared},
            running=self._running(network, names),
            fenced=self._fenced_since,
        )

    def _running(self, network: Network | None, names: Iterable[str]) -> frozenset[IPAddress] | None:
        """Addresses from which a live SA of ours runs; None while charon cannot be read.

        Only gathered where it can make a difference: while a declared VIP is here that was not seen to arrive. Taken
        for nobody's before charon was read, it would be fenced, and with it the tunnel that the agent before left up.
        """
        held = (network.addresses.get(vip, ()) for vip in self._declared_vips) if network is not None else ()
        if all(entry.watched for entries in held for entry in entries):
            return frozenset()
        charon = self._sources.charon
        if isinstance(charon.state, Unknown) and charon.state.why != "gone":
            return None
        if self._running_now is None:
            self._running_now = frozenset(
                sa.local
                for name in names
                for sa in charon.connection(name).sas
                if sa.established and sa.local is not None
            )
        return self._running_now
