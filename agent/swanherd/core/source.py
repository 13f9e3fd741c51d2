"""Which address a connection may run from on this gateway, and why not.

An address that is held is the right to run; silence never gives it. VRRP evidence joins here (it can only contradict).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from swanherd.core.evidence import Situation, VrrpFacts, judge
from swanherd.core.facts import DefaultRoute, HeldAddress, Network
from swanherd.core.intent import Connection, Interface, IPAddress
from swanherd.core.words import Reason

ALONE: Final = Situation()
"""No VRRP evidence at all: the address alone decides."""

ANY_INTERFACE: Final = "any"
"""An interface name that means: whatever own address the default route gives."""

TUNNEL_KINDS: Final = frozenset({"xfrm", "gre", "gretap", "ip6gre", "ip6gretap", "vti", "vti6", "tun", "ipip", "sit"})
"""Kinds of device whose default route never chooses a way out: IPsec inside its own tunnel."""

TUNNEL_NAME_PREFIXES: Final = ("ipsec",)
"""Userland ESP's device is a plain TUN; its name tells it apart."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The source that was chosen (None: no right), and the reason and detail for people."""

    source: IPAddress | None
    reason: Reason
    detail: str
    look_again_at: float | None = None
    """When time alone may change the choice."""
    two_masters: bool = False


@dataclass(frozen=True, slots=True)
class Holding:
    """What one interface holds for one IP family."""

    rightful: IPAddress | None
    """The address that may be used now."""
    present: frozenset[IPAddress]
    """Its VIPs that are on this host at all, rightful or not."""
    reason: Reason
    detail: str
    look_again_at: float | None = None
    two_masters: bool = False


def choose(
    connection: Connection, interfaces: Mapping[str, Interface], network: Network, situation: Situation = ALONE
) -> Choice:
    """The source of *connection* now: one interface's if held; of several, the one that the default route takes."""
    vips = frozenset(vip for interface in interfaces.values() for vip in interface.vips)
    if connection.interfaces == (ANY_INTERFACE,):
        return _by_default_route(connection, None, network, vips, situation)
    mine = [interfaces[name] for name in connection.interfaces]
    if len(mine) == 1:
        return _chosen(holding(mine[0], connection.ip_version, network, vips, situation))
    return _by_default_route(connection, mine, network, vips, situation)


def holding(
    interface: Interface,
    family: int,
    network: Network,
    vips: frozenset[IPAddress],
    situation: Situation = ALONE,
    *,
    only: IPAddress | None = None,
) -> Holding:
    """What *interface* holds of IP *family* (4 or 6). Of several declared VIPs the first usable one is the source.

    *only*: look at this address and at no other one.
    """
    declared = [vip for vip in interface.vips if vip.version == family]
    if interface.vips:
        candidates = [(vip, network.addresses.get(vip, ())) for vip in declared]
    else:
        candidates = [
            (ip, entries)
            for ip, entries in network.addresses.items()
            if ip.version == family and ip not in vips and not ip.is_link_local and _on(entries, interface.device)
        ]
    if only is not None:
        candidates = [(ip, entries) for ip, entries in candidates if ip == only]
    present = frozenset(ip for ip, entries in candidates if entries)
    if interface.device not in network.links:
        return Holding(None, present, Reason.NO_DEVICE, f"device {interface.device} does not exist")
    refused = Holding(None, present, Reason.NO_ADDRESS, _missing(interface, declared, family))
    facts = situation.vrrp.get(interface.name, VrrpFacts())
    for ip, entries in candidates:
        for entry in entries:
            if not _belongs(entry, interface.device, network):
                refused = replace(refused, detail=f"{ip} is on {entry.device}, not on {interface.device}")
            elif not entry.usable:
                detail = f"{ip} on {entry.device} is tentative or a duplicate"
                refused = replace(refused, reason=Reason.ADDRESS_TENTATIVE, detail=detail)
            elif not _up(entry.device, network):
                refused = replace(refused, reason=Reason.LINK_DOWN, detail=f"{ip} is here, but {entry.device} is down")
            else:
                judged = judge(interface.vrrp if interface.vips else None, entry, facts, situation)
                if judged.right:
                    detail = judged.detail or f"{ip} on {entry.device}"
                    return Holding(ip, present, Reason.LOADING, detail, judged.look_again_at, judged.two_masters)
                refused = replace(
                    refused, reason=judged.reason, detail=judged.detail, look_again_at=judged.look_again_at
                )
    return refused


def living(
    address: IPAddress,
    connection: Connection,
    interfaces: Mapping[str, Interface],
    network: Network,
    situation: Situation = ALONE,
) -> Holding | None:
    """How *address* is held, if *connection* may run from it and the way out behind it works, be it the best or not.

    So what runs from there may go on until something better is up. Where the default route chooses, a way out works
    only while a live default route leaves by it: without one, its packets go elsewhere or nowhere.
    """
    vips = frozenset(vip for interface in interfaces.values() for vip in interface.vips)
    everywhere = connection.interfaces == (ANY_INTERFACE,)
    if everywhere:
        mine = [Interface(name=ANY_INTERFACE, device=held.device) for held in network.addresses.get(address, ())]
    else:
        mine = [interfaces[name] for name in connection.interfaces]
    routed = {route.device for route in _live_defaults(network, connection.ip_version)}
    for interface in mine:
        if interface.device in routed or not (everywhere or len(mine) > 1):
            held = holding(interface, connection.ip_version, network, vips, situation, only=address)
            if held.rightful is not None:
                return held
    return None


def best_defaults(network: Network, family: int) -> tuple[DefaultRoute, ...]:
    """The live default route of *family* that chooses a way out, hop by hop: several where it is shared (ECMP)."""
    live = _live_defaults(network, family)
    return tuple(route for route in live if route.metric == live[0].metric)


def _live_defaults(network: Network, family: int) -> list[DefaultRoute]:
    """In the order of preference; tunnel devices never count."""
    return [
        route
        for route in network.defaults
        if route.family == family and route.alive and not is_tunnel(route.device, network)
    ]


def _chosen(held: Holding, looked_at: str = "") -> Choice:
    detail = f"{held.detail}; {looked_at}" if looked_at else held.detail
    return Choice(held.rightful, held.reason, detail, held.look_again_at, held.two_masters)


def _by_default_route(
    connection: Connection,
    interfaces: list[Interface] | None,
    network: Network,
    vips: frozenset[IPAddress],
    situation: Situation,
) -> Choice:
    family = connection.ip_version
    routes = best_defaults(network, family)
    if not routes:
        return Choice(None, Reason.NO_DEFAULT_ROUTE, f"there is no live IPv{family} default route")
    devices = tuple(dict.fromkeys(route.device for route in routes))
    looked_at = f"the IPv{family} default route leaves by {' and '.join(devices)} (metric {routes[0].metric})"
    if interfaces is None:
        interfaces = [Interface(name=ANY_INTERFACE, device=devices[0])]
    for interface in interfaces:
        if interface.device in devices:
            return _chosen(holding(interface, family, network, vips, situation), looked_at)
    which = "none of which is one" if len(devices) > 1 else "which is none"
    return Choice(None, Reason.NO_DEFAULT_ROUTE, f"{looked_at}, {which} of {', '.join(connection.interfaces)}")


def _missing(interface: Interface, declared: list[IPAddress], family: int) -> str:
    if not interface.vips:
        return f"{interface.device} has no IPv{family} address of its own"
    if not declared:
        return f"interface {interface.name} declares no IPv{family} VIP"
    return f"{', '.join(map(str, declared))} not on {interface.device}"


def _on(entries: Iterable[HeldAddress], device: str) -> bool:
    return any(entry.device == device for entry in entries)


def devices_of(vip: IPAddress, interfaces: Mapping[str, Interface], network: Network | None) -> frozenset[str]:
    """Every device by which something may have left from *vip*: of its interfaces, with the macvlans above them."""
    devices = {interface.device for interface in interfaces.values() if vip in interface.vips}
    links = network.links if network is not None else {}
    above = (name for name, link in links.items() if link.kind == "macvlan" and link.parent in devices)
    return frozenset((*devices, *above))


def _belongs(entry: HeldAddress, device: str, network: Network) -> bool:
    """On the device itself, or on keepalived's macvlan above it (``use_vmac``)."""
    if entry.device == device:
        return True
    link = network.links.get(entry.device)
    return link is not None and link.kind == "macvlan" and link.parent == device


def _up(device: str, network: Network) -> bool:
    link = network.links.get(device)
    if link is None or not link.up:
        return False
    # A macvlan can claim to be up while the device below it has lost its carrier.
    return link.parent is None or link.kind != "macvlan" or _up(link.parent, network)


def is_tunnel(device: str, network: Network) -> bool:
    """Whether *device* carries tunnels: IPsec of ours or others, GRE and the like."""
    link = network.links.get(device)
    return (link is not None and link.kind in TUNNEL_KINDS) or device.startswith(TUNNEL_NAME_PREFIXES)
