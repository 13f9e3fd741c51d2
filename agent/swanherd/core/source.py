"""Which address a connection may run from on this gateway, and why not.

An address that is held is the right to run; silence never gives it. VRRP evidence joins here (it can only contradict).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from swanherd.core.evidence import Situation, VrrpFacts, judge
from swanherd.core.facts import HeldAddress, Network
from swanherd.core.intent import Connection, Interface, IPAddress
from swanherd.core.routes import NO_PATH, PathFact, passable, way_out
from swanherd.core.words import Reason

ALONE: Final = Situation()
"""No VRRP evidence at all: the address alone decides."""

ANY_INTERFACE: Final = "any"
"""An interface name that means: whatever own address the route gives."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The source that was chosen (None: no right), and the reason and detail for people."""

    source: IPAddress | None
    reason: Reason
    detail: str
    look_again_at: float | None = None
    """When time alone may change the choice."""
    two_masters: bool = False
    undecided: bool = False
    """No route has ever been told: it takes no right away, and gives none."""


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


def by_route(connection: Connection) -> bool:
    """Whether a route chooses where *connection* leaves."""
    return len(connection.interfaces) > 1 or connection.interfaces == (ANY_INTERFACE,)


def choose(
    connection: Connection,
    interfaces: Mapping[str, Interface],
    network: Network,
    situation: Situation = ALONE,
    path: PathFact = NO_PATH,
) -> Choice:
    """The source of *connection* now: one interface's if held; of several, the one that the route leaves by."""
    vips = frozenset(vip for interface in interfaces.values() for vip in interface.vips)
    if not by_route(connection):
        return _chosen(holding(interfaces[connection.interfaces[0]], connection.ip_version, network, vips, situation))
    way = way_out(connection, network, path)
    if not way.known:
        return Choice(None, Reason.STARTING, way.looked_at, undecided=True)
    if not way.devices:
        return Choice(None, way.reason, way.looked_at)
    if connection.interfaces == (ANY_INTERFACE,):
        mine = [Interface(name=ANY_INTERFACE, device=way.devices[0])]
    else:
        mine = [interfaces[name] for name in connection.interfaces]
    for interface in mine:
        if interface.device in way.devices:
            return _chosen(holding(interface, connection.ip_version, network, vips, situation), way.looked_at)
    which = "none of which is one" if len(way.devices) > 1 else "which is none"
    return Choice(None, way.reason, f"{way.looked_at}, {which} of {', '.join(connection.interfaces)}")


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
    path: PathFact = NO_PATH,
) -> Holding | None:
    """How *address* is held, if *connection* may run from it and the way out behind it works, be it the best or not.

    So what runs from there may go on until something better is up. Where a route chooses, a way out works only while a
    live default route, or the route to the endpoint, leaves by it: without one, its packets go elsewhere or nowhere.
    While no route has ever been told, the address alone says so.
    """
    vips = frozenset(vip for interface in interfaces.values() for vip in interface.vips)
    if connection.interfaces == (ANY_INTERFACE,):
        mine = [Interface(name=ANY_INTERFACE, device=held.device) for held in network.addresses.get(address, ())]
    else:
        mine = [interfaces[name] for name in connection.interfaces]
    if by_route(connection) and way_out(connection, network, path).known:
        devices = passable(connection, network, path)
        mine = [interface for interface in mine if interface.device in devices]
    for interface in mine:
        held = holding(interface, connection.ip_version, network, vips, situation, only=address)
        if held.rightful is not None:
            return held
    return None


def _chosen(held: Holding, looked_at: str = "") -> Choice:
    detail = f"{held.detail}; {looked_at}" if looked_at else held.detail
    return Choice(held.rightful, held.reason, detail, held.look_again_at, held.two_masters)


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
