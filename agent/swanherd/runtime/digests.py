"""What could be loaded, by source: digests by which what charon has is compared with what the settings ask for."""

import hashlib
from collections.abc import Callable, Iterable, Mapping

from swanherd.core.facts import LoadedConfig, Network
from swanherd.core.intent import Connection, Intent, IPAddress
from swanherd.core.source import ANY_INTERFACE


class Digests:
    """Worked out once for each connection and source, and kept until the settings change.

    *expected*: what will be listed once a connection is loaded from a source.
    """

    def __init__(self, expected: Callable[[Connection, IPAddress], LoadedConfig]) -> None:
        self._expected = expected
        self._digests: dict[str, tuple[Connection, dict[IPAddress, str]]] = {}
        self._bases: dict[str, str] = {}
        self._intent = Intent()
        self._vips: frozenset[IPAddress] = frozenset()

    def adopt(self, intent: Intent) -> None:
        """Take new settings into force."""
        self._digests.clear()
        self._bases.clear()
        self._intent = intent
        self._vips = intent.vips

    def basis(self, declared: Connection) -> str:
        """Of *declared* itself, whichever source and endpoint it has."""
        known = self._bases.get(declared.name)
        if known is None:
            known = self._bases[declared.name] = hashlib.sha256(repr(declared).encode()).hexdigest()
        return known

    def of(self, connection: Connection, network: Network | None) -> Mapping[IPAddress, str]:
        """For each source that *connection* can have now, and those that it had: the digest of what would be loaded."""
        before = self._digests.get(connection.name)
        known = before[1] if before is not None and (before[0] is connection or before[0] == connection) else {}
        if before is None or known is not before[1]:
            self._digests[connection.name] = (connection, known)
        for source in self._candidates(connection, network):
            if source not in known:
                known[source] = self._expected(connection, source).digest
        return known

    def _candidates(self, connection: Connection, network: Network | None) -> Iterable[IPAddress]:
        devices: set[str] = set()
        for name in connection.interfaces:
            interface = self._intent.interfaces.get(name)
            if interface is None or not interface.vips:
                devices.add(interface.device if interface is not None else "")
            else:
                yield from (vip for vip in interface.vips if vip.version == connection.ip_version)
        if devices and network is not None:
            everywhere = connection.interfaces == (ANY_INTERFACE,)
            for ip, held in network.addresses.items():
                on_device = everywhere or any(entry.device in devices for entry in held)
                own = ip not in self._vips and not ip.is_link_local
                if ip.version == connection.ip_version and on_device and own:
                    yield ip
