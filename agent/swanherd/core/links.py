"""The devices of our own that should be there, and whether each should be up."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_network

from swanherd.core.decision import Decision, Goal
from swanherd.core.intent import Connection, GreInterface, Interface, IPAddress, IPNetwork, XfrmInterface
from swanherd.core.literal import literal
from swanherd.core.words import Role


@dataclass(frozen=True, slots=True)
class XfrmLink:
    """What makes a device an XFRM interface."""

    if_id: int


@dataclass(frozen=True, slots=True)
class GreLink:
    """What makes a device a GRE device: its ends, both of one IP family."""

    local: IPAddress
    remote: IPAddress


@dataclass(frozen=True, slots=True)
class Link:
    """A device as it should be."""

    name: str
    kind: XfrmLink | GreLink | None
    """None: its ends are not known now. One that is there keeps those that it has, and none is made."""
    addresses: frozenset[IPAddress] = frozenset()
    mtu: int | None = None
    up: bool | None = False
    """None: stays as it is."""
    routes: frozenset[IPNetwork] = frozenset()
    """Networks that are routed into it while it is up."""
    guarded: frozenset[IPNetwork] = frozenset()
    """Those of them that must never be reached another way: behind the route stands one that refuses."""


def wanted(
    connections: Iterable[Connection], decisions: Mapping[str, Decision], interfaces: Mapping[str, Interface]
) -> dict[str, Link]:
    """The devices of *connections*, by name. One that a connection runs through is up.

    Where nothing is decided yet, or a decision holds still, a device stays as it is: after a restart of the agent the
    tunnel that goes through it may be up.
    """
    links: dict[str, Link] = {}
    for connection in connections:
        decision = decisions.get(connection.name)
        if connection.xfrm is not None:
            networks = frozenset(connection.xfrm.routes)
            if connection.xfrm.install_routes:
                networks |= _networks(connection)
            link = _link(connection, connection.xfrm, XfrmLink(connection.xfrm.if_id), decision, networks)
            links[link.name] = _shared(links[link.name], link) if link.name in links else link
        if connection.gre is not None:
            ends = _ends(connection, decision, interfaces)
            link = _link(connection, connection.gre, ends, decision, frozenset(connection.gre.routes))
            links[link.name] = link
    return links


def _link(
    connection: Connection,
    device: XfrmInterface | GreInterface,
    kind: XfrmLink | GreLink | None,
    decision: Decision | None,
    networks: frozenset[IPNetwork],
) -> Link:
    up = _up(decision)
    return Link(
        name=device.name,
        kind=kind,
        addresses=frozenset(device.addresses),
        mtu=device.mtu,
        up=up,
        routes=networks if up else frozenset(),
        guarded=networks if connection.when_down == "drop" else frozenset(),
    )


def _ends(connection: Connection, decision: Decision | None, interfaces: Mapping[str, Interface]) -> GreLink | None:
    """Where the tunnel runs now; where it does not run here, where it would: the first VIP, the first endpoint."""
    source = decision.source if decision is not None else None
    remote = decision.memory.aim if decision is not None and source is not None else None
    if source is None:
        known = (interfaces[name] for name in connection.interfaces if name in interfaces)
        vips = (vip for each in known for vip in each.vips if vip.version == connection.ip_version)
        source = next(vips, None)
    if remote is None:
        remote = _literal(connection.remote[0])
    return GreLink(source, remote) if source is not None and remote is not None else None


def _literal(endpoint: str) -> IPAddress | None:
    address = literal(endpoint)
    return None if address is None or address.is_unspecified else address  # a hostname has not been asked for


def _up(decision: Decision | None) -> bool | None:
    if decision is None:
        return None
    match decision.role:
        case Role.ACTIVE:
            return True
        case Role.STANDBY:
            return False if decision.goal is Goal.RELEASE else None


def _shared(first: Link, second: Link) -> Link:
    ups = {first.up, second.up}
    up = True if True in ups else None if None in ups else False
    return replace(first, up=up, routes=first.routes | second.routes, guarded=first.guarded | second.guarded)


def _networks(connection: Connection) -> frozenset[IPNetwork]:
    """The remote networks of the children; ranges and ``dynamic`` are no networks that a route could lead to."""
    found: set[IPNetwork] = set()
    for child in connection.children:
        for selector in child.remote_ts:
            try:
                found.add(ip_network(selector.partition("[")[0]))
            except ValueError:
                continue
    return frozenset(found)
