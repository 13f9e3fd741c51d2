"""Which connections depend on what: so that a pass decides only those that a change can concern.

Built anew when the settings or the record change. That deciding only these equals deciding all is a property test.
"""

from collections.abc import Mapping

from swanherd.core.facts import Network, NetworkChange
from swanherd.core.intent import Connection, Intent, Interface, IPAddress
from swanherd.core.record import Entry
from swanherd.core.source import ANY_INTERFACE


class Dependencies:
    """An index from addresses, devices, interfaces and the default route to the names of connections."""

    def __init__(self, intent: Intent, entries: Mapping[str, Entry]) -> None:
        self._devices: dict[str, set[str]] = {}
        self._addresses: dict[IPAddress, set[str]] = {}
        self._interfaces: dict[str, set[str]] = {}
        self._default_route: set[str] = set()
        self._own_address: set[str] = set()
        self._any_device: set[str] = set()
        for connection in intent.connections.values():
            self._add(connection, intent.interfaces)
        by_source: dict[IPAddress, set[str]] = {}
        for name, entry in entries.items():
            for pair in entry.pairs:
                by_source.setdefault(pair.source, set()).add(name)
        # Whether a connection is fenced also depends on addresses that it had under older settings: on whether they are
        # here, and rightfully so, and on the interfaces that they are VIPs of.
        for interface in intent.interfaces.values():
            for vip in interface.vips:
                for name in by_source.get(vip, ()):
                    self._depends(name, interface)
                    self._addresses.setdefault(vip, set()).add(name)

    def of_network(self, change: NetworkChange, network: Network | None) -> set[str]:
        """Those that *change* can concern; *network* is what is known after it."""
        names: set[str] = set()
        for address in change.addresses:
            # Nobody's VIP: it can be an own address of any device, for it may have left it already.
            names |= self._addresses.get(address, self._own_address)
        for device in change.devices:
            names |= self._devices.get(device, set()) | self._devices.get(_below(device, network), set())
        if change.defaults:
            names |= self._default_route
        if change.devices:
            names |= self._any_device
        return names

    def of_interfaces(self, interfaces: frozenset[str]) -> set[str]:
        """Those that use one of *interfaces*: for news from VRRP."""
        return {name for interface in interfaces for name in self._interfaces.get(interface, set())}

    def _add(self, connection: Connection, interfaces: Mapping[str, Interface]) -> None:
        name = connection.name
        if len(connection.interfaces) > 1 or connection.interfaces == (ANY_INTERFACE,):
            self._default_route.add(name)
        if connection.interfaces == (ANY_INTERFACE,):
            self._own_address.add(name)
            self._any_device.add(name)
        for each in connection.interfaces:
            interface = interfaces.get(each)
            if interface is None:
                continue
            self._depends(name, interface)
            if not interface.vips:
                self._own_address.add(name)
            for vip in interface.vips:
                self._addresses.setdefault(vip, set()).add(name)

    def _depends(self, name: str, interface: Interface) -> None:
        self._interfaces.setdefault(interface.name, set()).add(name)
        self._devices.setdefault(interface.device, set()).add(name)


def _below(device: str, network: Network | None) -> str:
    """The device below a macvlan, which is the one that the settings name."""
    link = network.links.get(device) if network is not None else None
    return link.parent or device if link is not None else device
