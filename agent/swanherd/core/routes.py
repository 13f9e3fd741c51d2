"""By which device a connection's packets leave: what the default routes say, or the kernel about one endpoint.

Devices that carry tunnels never count: the next best way is looked for behind them.
"""

from dataclasses import dataclass, replace
from typing import Final

from swanherd.core.facts import Absent, DefaultRoute, Known, Network, Path, Unknown
from swanherd.core.intent import Connection
from swanherd.core.words import Reason

TUNNEL_KINDS: Final = frozenset({"xfrm", "gre", "gretap", "ip6gre", "ip6gretap", "vti", "vti6", "tun", "ipip", "sit"})
"""Kinds of device whose route never chooses a way out: IPsec inside its own tunnel."""

TUNNEL_NAME_PREFIXES: Final = ("ipsec",)
"""Userland ESP's device is a plain TUN; its name tells it apart."""

PathFact = Known[Path] | Unknown[Path] | Absent
"""The kernel's route to the endpoint of now. Absent: the settings do not ask for it, or nobody is called."""

NO_PATH: Final = Absent()


@dataclass(frozen=True, slots=True)
class WayOut:
    """The devices by which packets leave, the first one before the others; none: there is no way."""

    devices: tuple[str, ...]
    looked_at: str
    """Which route said so, for people."""
    reason: Reason = Reason.NO_DEFAULT_ROUTE
    """What it is called where that route leads nowhere, or by none of the connection's interfaces."""
    known: bool = True
    """False: the kernel could not be asked, and has never answered."""


def way_out(connection: Connection, network: Network, path: PathFact = NO_PATH) -> WayOut:
    """How packets of *connection* leave now. What the kernel said last counts while it cannot be asked."""
    if isinstance(path, Absent):
        return _by_default(connection.ip_version, network)
    told = path.value if isinstance(path, Known) else path.last
    if told is None:
        why = path.why if isinstance(path, Unknown) else ""
        return WayOut((), f"the kernel could not be asked for the route to the endpoint ({why})", known=False)
    if told.device is None:
        return WayOut((), f"there is no route to {told.to}", Reason.NO_ROUTE)
    looked_at = f"the route to {told.to} leaves by {told.device} (table {told.table})"
    if is_tunnel(told.device, network):
        other = _by_default(connection.ip_version, network)
        return replace(other, looked_at=f"{looked_at}, a tunnel, which never counts; {other.looked_at}")
    return WayOut((beneath(told.device, network),), looked_at, Reason.NO_ROUTE)


def passable(connection: Connection, network: Network, path: PathFact = NO_PATH) -> frozenset[str]:
    """Devices by which packets can get out, be it the best way or not: those of live default routes, and the path's."""
    devices = {route.device for route in _live_defaults(network, connection.ip_version)}
    if not isinstance(path, Absent):
        devices.update(way_out(connection, network, path).devices)
    return frozenset(devices)


def best_defaults(network: Network, family: int) -> tuple[DefaultRoute, ...]:
    """The live default route of *family* that chooses a way out, hop by hop: several where it is shared (ECMP)."""
    live = _live_defaults(network, family)
    return tuple(route for route in live if route.metric == live[0].metric)


def is_tunnel(device: str, network: Network) -> bool:
    """Whether *device* carries tunnels: IPsec of ours or others, GRE and the like."""
    link = network.links.get(device)
    return (link is not None and link.kind in TUNNEL_KINDS) or device.startswith(TUNNEL_NAME_PREFIXES)


def beneath(device: str, network: Network) -> str:
    """*device*, or the one below it if it is a macvlan: that is the one which the settings name (``use_vmac``)."""
    link = network.links.get(device)
    return link.parent if link is not None and link.kind == "macvlan" and link.parent is not None else device


def _by_default(family: int, network: Network) -> WayOut:
    routes = best_defaults(network, family)
    if not routes:
        return WayOut((), f"there is no live IPv{family} default route")
    devices = tuple(dict.fromkeys(route.device for route in routes))
    return WayOut(
        devices, f"the IPv{family} default route leaves by {' and '.join(devices)} (metric {routes[0].metric})"
    )


def _live_defaults(network: Network, family: int) -> list[DefaultRoute]:
    """In the order of preference; tunnel devices never count."""
    return [
        route
        for route in network.defaults
        if route.family == family and route.alive and not is_tunnel(route.device, network)
    ]
