"""The leak guard: which packets never leave this gateway in clear.

Traffic that a child would protect, on its way out by one of the connection's own ways out. It follows the settings and
the names of devices, never the state of an SA: it holds on master and standby, before, during and after a takeover,
and whatever becomes of the agent. A path by the LAN or by another uplink is none of its business.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network, summarize_address_range
from types import MappingProxyType
from typing import Final

from swanherd.core.facts import ANY_PORTS, Flow, Network
from swanherd.core.intent import Child, Connection, Intent, Interface, IPAddress, IPNetwork
from swanherd.core.literal import literal
from swanherd.core.routes import is_tunnel
from swanherd.core.source import ANY_INTERFACE
from swanherd.core.wire import ANYWHERE, CONNECTIONS, remotes

_SELECTOR: Final = re.compile(r"(?P<hosts>[^\[]+)(?:\[(?P<protocol>\d+)(?:/(?P<ports>[^\]]+))?\])?")
DYNAMIC: Final = "dynamic"
"""A selector that follows the tunnel's own ends."""
_OPAQUE: Final = "opaque"
"""Ports that cannot be read; such a selector is guarded as if it had none."""
_ICMP: Final = frozenset({1, 58})
_WITH_PORTS: Final = frozenset({6, 17, 33, 132, 136})
"""TCP, UDP, DCCP, SCTP, UDP-Lite. The ports of any other protocol cannot be seen in a packet: all of it is guarded."""


@dataclass(frozen=True, slots=True)
class Ways:
    """Where packets of each interface can leave now, and the addresses that are its sources, by its name.

    And by the name of each connection that has hostnames among its endpoints what they mean now.
    """

    devices: Mapping[str, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))
    sources: Mapping[str, frozenset[IPAddress]] = field(default_factory=lambda: MappingProxyType({}))
    peers: Mapping[str, frozenset[IPAddress]] = field(default_factory=lambda: MappingProxyType({}))

    def remembering(self, before: "Ways", network: Network | None) -> "Ways":
        """The same, with the devices of *before* that do not exist: who puts one back finds it guarded.

        keepalived takes its macvlan away when it ends, and makes it anew when it starts. For ``any``, who was an uplink
        once stays one: its default route may come back while nobody looks. A name that means nothing any more means
        what it meant.
        """
        peers = {name: known or before.peers.get(name, known) for name, known in self.peers.items()}
        if network is None:
            return Ways({**self.devices, **before.devices}, {**self.sources, **before.sources}, peers)
        kept: dict[str, frozenset[str]] = {}
        for name, devices in self.devices.items():
            known = before.devices.get(name, frozenset())
            gone = known if name == ANY_INTERFACE else {device for device in known if device not in network.links}
            kept[name] = devices | gone
        return Ways(kept, self.sources, peers)


def ways(
    intent: Intent, network: Network | None, peers: Mapping[str, frozenset[IPAddress]] = MappingProxyType({})
) -> Ways:
    """The ways out of every interface; while *network* is None (not read) those that the settings tell alone."""
    devices: dict[str, frozenset[str]] = {}
    sources: dict[str, frozenset[IPAddress]] = {}
    for interface in intent.interfaces.values():
        devices[interface.name] = frozenset(_devices(interface, network))
        sources[interface.name] = frozenset(interface.vips or _own(interface.device, intent, network))
    defaults = network.defaults if network is not None else ()
    uplinks = {route.device for route in defaults if network is not None and not is_tunnel(route.device, network)}
    devices[ANY_INTERFACE] = frozenset(uplinks)
    # Only for who asks: a host may have ten thousand addresses, and this is done at each change of any.
    if any(ANY_INTERFACE in connection.interfaces for connection in intent.connections.values()):
        sources[ANY_INTERFACE] = frozenset(ip for device in uplinks for ip in _own(device, intent, network))
    return Ways(devices, sources, peers)


def flows(intent: Intent, by: Ways) -> frozenset[Flow]:
    """What must not leave in clear: the children of every connection whose ``when_down`` is ``drop``."""
    return frozenset(
        Flow(device, *traffic)
        for connection in intent.connections.values()
        if connection.when_down == "drop"
        for traffic in _of_connection(connection, by)
        for name in connection.interfaces
        for device in by.devices.get(name, frozenset())
    )


def unguardable(connection: Connection) -> tuple[str, ...]:
    """Children of *connection* whose traffic cannot be told beforehand: they follow a peer that can be anywhere."""
    if not any((address := literal(endpoint)) is not None and address.is_unspecified for endpoint in connection.remote):
        return ()
    return tuple(child.name for child in connection.children if any(map(_is_dynamic, child.remote_ts)))


def routed_by_hand(connection: Connection) -> tuple[str, ...]:
    """Children of *connection* of which only routes that a person makes tell what belongs into its XFRM interface.

    Their selectors are for anything, as is usual with such an interface: to guard all that would cut everything.
    """
    if connection.xfrm is None or connection.xfrm.install_routes:
        return ()
    wide = set(ANYWHERE.values())
    return tuple(child.name for child in connection.children if any(_hosts(each) in wide for each in child.remote_ts))


def everything(child: Child) -> bool:
    """Whether *child* protects what this gateway itself says to anybody: both its sides are a whole IP family."""
    wide = set(ANYWHERE.values())
    return any(
        local == remote and local in wide
        for local in map(_whole_network, child.local_ts)
        for remote in map(_whole_network, child.remote_ts)
    )


_Traffic = tuple[IPNetwork, IPNetwork, int, tuple[int, int], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class _Side:
    """One selector: networks of one end, a protocol (0: any) and its ports."""

    networks: tuple[IPNetwork, ...]
    protocol: int
    ports: tuple[int, int]


def _of_connection(connection: Connection, by: Ways) -> Iterator[_Traffic]:
    family = connection.ip_version
    sources = {source for name in connection.interfaces for source in by.sources.get(name, ())}
    own = tuple(ip_network(source) for source in sorted(sources, key=str) if source.version == family)
    # Where the peer can be anywhere nothing tells its packets from others': guarding all of them would cut too much.
    named = frozenset(map(ip_network, by.peers.get(connection.name, ())))
    theirs = tuple(sorted(named | remotes(connection) - set(ANYWHERE.values()), key=str))
    by_hand = bool(routed_by_hand(connection))
    for child in connection.children:
        for mine in child.local_ts:
            for peers in child.remote_ts:
                if by_hand and _hosts(peers) in set(ANYWHERE.values()):
                    continue
                yield from _between(_side(mine, own), _side(peers, theirs))


def _between(local: _Side, remote: _Side) -> Iterator[_Traffic]:
    if local.protocol and remote.protocol and local.protocol != remote.protocol:
        return  # no packet is of two protocols, and charon makes no policy of it
    protocol = local.protocol or remote.protocol
    mine, theirs = local.ports, remote.ports
    if protocol in _ICMP:
        mine, theirs = _icmp(mine if mine != ANY_PORTS else theirs)
    elif protocol not in _WITH_PORTS:
        mine = theirs = ANY_PORTS
    for one in local.networks:
        for other in remote.networks:
            if one.version == other.version:
                yield one, other, protocol, mine, theirs


def _icmp(ports: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Type and code, which a selector has in the upper and the lower byte of a port; 0 is any, as in the kernel's."""
    low, high = ports
    if low != high:
        return ANY_PORTS, ANY_PORTS
    kind, code = low >> 8, low & 0xFF
    return (kind, kind) if kind else ANY_PORTS, (code, code) if code else ANY_PORTS


def _side(selector: str, ends: tuple[IPNetwork, ...]) -> _Side:
    match = _SELECTOR.fullmatch(selector)
    if match is None:
        raise ValueError(f"not a selector of the settings: {selector}")
    networks = ends if match["hosts"] == DYNAMIC else _networks(match["hosts"])
    ports = match["ports"]
    if ports is None or ports == _OPAQUE:
        return _Side(networks, int(match["protocol"] or 0), ANY_PORTS)
    low, _, high = ports.partition("-")
    return _Side(networks, int(match["protocol"]), (int(low), int(high or low)))


@lru_cache(maxsize=CONNECTIONS)
def _networks(hosts: str) -> tuple[IPNetwork, ...]:
    low, dash, high = hosts.partition("-")
    if not dash:
        return (ip_network(hosts),)
    first, last = ip_address(low), ip_address(high)
    if isinstance(first, IPv4Address) and isinstance(last, IPv4Address):
        return tuple(summarize_address_range(first, last))
    if isinstance(first, IPv6Address) and isinstance(last, IPv6Address):
        return tuple(summarize_address_range(first, last))
    raise ValueError(f"a range of two families: {hosts}")


def _is_dynamic(selector: str) -> bool:
    return selector.partition("[")[0] == DYNAMIC


def _hosts(selector: str) -> IPNetwork | None:
    """The network of a selector, whatever protocol it is for."""
    return _whole_network(selector.partition("[")[0])


def _whole_network(selector: str) -> IPNetwork | None:
    """The network of a selector that has nothing else."""
    return None if "[" in selector or "-" in selector or selector == DYNAMIC else ip_network(selector)


def _devices(interface: Interface, network: Network | None) -> Iterator[str]:
    yield interface.device
    vrrp = interface.vrrp
    if vrrp is not None and vrrp.vrid is not None and vrrp.device in {None, interface.device}:
        # keepalived's own names for the macvlan of `use_vmac`, which may come while the agent does not look.
        yield f"vrrp.{vrrp.vrid}"
        yield f"vrrp6.{vrrp.vrid}"
    for link in network.links.values() if network is not None else ():
        if link.kind == "macvlan" and link.parent == interface.device:
            yield link.name


def _own(device: str, intent: Intent, network: Network | None) -> Iterator[IPAddress]:
    vips = intent.vips
    for ip, held in network.addresses.items() if network is not None else ():
        # The device first: it is the cheapest to tell.
        if any(entry.device == device for entry in held) and ip not in vips and not ip.is_link_local:
            yield ip
