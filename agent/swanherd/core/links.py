"""The devices of our own that should be there, and whether each should be up."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_network

from swanherd.core.decide import Decision, Goal
from swanherd.core.intent import Connection, IPAddress, IPNetwork
from swanherd.core.words import Role


@dataclass(frozen=True, slots=True)
class Link:
    """An XFRM interface as it should be."""

    name: str
    if_id: int
    addresses: frozenset[IPAddress] = frozenset()
    mtu: int | None = None
    up: bool | None = False
    """None: stays as it is."""
    routes: frozenset[IPNetwork] = frozenset()
    """Networks that are routed into it while it is up."""
    guarded: frozenset[IPNetwork] = frozenset()
    """Those of them that must never be reached another way: behind the route stands one that refuses."""


def wanted(connections: Iterable[Connection], decisions: Mapping[str, Decision]) -> dict[str, Link]:
    """The devices of *connections*, by name. One that a connection runs through is up.

    Where nothing is decided yet, or a decision holds still, a device stays as it is: after a restart of the agent the
    tunnel that goes through it may be up.
    """
    links: dict[str, Link] = {}
    for connection in connections:
        if connection.xfrm is None:
            continue
        up = _up(decisions.get(connection.name))
        networks = _networks(connection) if connection.xfrm.install_routes else frozenset[IPNetwork]()
        link = Link(
            name=connection.xfrm.name,
            if_id=connection.xfrm.if_id,
            addresses=frozenset(connection.xfrm.addresses),
            mtu=connection.xfrm.mtu,
            up=up,
            routes=networks if up else frozenset(),
            guarded=networks if connection.when_down == "drop" else frozenset(),
        )
        links[link.name] = _shared(links[link.name], link) if link.name in links else link
    return links


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
