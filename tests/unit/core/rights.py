"""Which source a connection may run from, told independently of the code that is tested."""

from typing import Final

from swanherd.core.facts import Network, Path
from swanherd.core.intent import Connection, IPAddress
from tests.unit.core.settings import OWN, VIP_LTE, VIP_WAN

HOMES: Final = {"wan": ("eth0", VIP_WAN), "lte": ("eth1", VIP_LTE), "lab": ("eth2", OWN)}
"""The device and the address of each interface."""


def held(interface: str, network: Network) -> IPAddress | None:
    """The address of *interface*, if it is rightfully here."""
    device, ip = HOMES[interface]
    good = any(entry.device == device and entry.usable for entry in network.addresses.get(ip, ()))
    return ip if good and network.links[device].up else None


def right(connection: Connection, network: Network, path: Path | None) -> IPAddress | None:
    """The source that *connection* should come to rest on, told independently of the code that is tested.

    *path*: what the kernel has told of the route to its endpoint; None: nothing, so wherever it is, it may stay.
    """
    if len(connection.interfaces) == 1:
        return held(connection.interfaces[0], network)
    routes = [route.device for route in network.defaults if route.alive]
    if connection.source_by == "route-to-endpoint":
        if path is None:
            return next(iter(rights(connection, network, path)), None)
        routes = [path.device] if path.device is not None else []
    chosen = [name for name in connection.interfaces if routes and HOMES[name][0] == routes[0]]
    return held(chosen[0], network) if chosen else None


def rights(connection: Connection, network: Network, path: Path | None) -> set[IPAddress]:
    """Every source that *connection* may use for now: after a move it stays for a while where a way out lives."""
    routes = {route.device for route in network.defaults if route.alive}
    if connection.source_by == "route-to-endpoint":
        routes |= {device for device, _ in HOMES.values() if path is None or device == path.device}
    names = [name for name in connection.interfaces if len(connection.interfaces) == 1 or HOMES[name][0] in routes]
    return {ip for name in names if (ip := held(name, network)) is not None}
