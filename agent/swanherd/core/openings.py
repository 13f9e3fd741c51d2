"""What rules of ours, in chains that the user names, let in: the IPsec of connections with a ``firewall_rule``.

They follow the address: there while the connection's source is on this gateway and may be used, gone with it. Nothing
here says who may come through the tunnel: that is the user's own policy.
"""

from collections.abc import Iterable, Mapping
from ipaddress import ip_network
from types import MappingProxyType
from typing import Final

from swanherd.core.facts import Network, Opening, Pair
from swanherd.core.intent import ChainName, Connection, Intent, IPAddress
from swanherd.core.leaks import Ways
from swanherd.core.source import ANY_INTERFACE
from swanherd.core.wire import pairs_from, remotes
from swanherd.core.words import Start

UDP: Final = 17
ESP: Final = 50
AH: Final = 51

Openings = Mapping[ChainName, tuple[Opening, ...]]
"""The rules of each chain."""


def wanted(
    intent: Intent,
    sources: Mapping[str, frozenset[IPAddress]],
    peers: Mapping[str, frozenset[IPAddress]] = MappingProxyType({}),
) -> Openings:
    """The rules for *sources*: the addresses that may be used here now, by interface.

    *peers* is what hostnames mean, by connection. Where this end only waits, a peer with a name may come from anywhere:
    it can have moved before DNS tells.
    A chain whose connections have none of them now has no rule, and is in it: what is left there goes.
    """
    asked: dict[ChainName, list[Connection]] = {}
    for connection in intent.connections.values():
        if connection.firewall_rule is not None:
            asked.setdefault(connection.firewall_rule, []).append(connection)
    return MappingProxyType(
        {chain: _rules(intent, connections, sources, peers) for chain, connections in asked.items()}
    )


def usable(
    intent: Intent, ways: Ways, network: Network, fenced: frozenset[IPAddress]
) -> Mapping[str, frozenset[IPAddress]]:
    """Of the sources of each interface those that are here, and not fenced."""
    here = {ip for ip, held in network.addresses.items() if any(each.usable for each in held)} - fenced
    return {name: ways.sources.get(name, frozenset()) & here for name in (*intent.interfaces, ANY_INTERFACE)}


def _rules(
    intent: Intent,
    connections: list[Connection],
    sources: Mapping[str, frozenset[IPAddress]],
    peers: Mapping[str, frozenset[IPAddress]],
) -> tuple[Opening, ...]:
    found: dict[tuple[int, int, bool], tuple[set[Pair], list[str]]] = {}
    for connection in connections:
        mine = {ip for name in connection.interfaces for ip in sources.get(name, ())}
        family = connection.ip_version
        for pair in _pairs(connection, (ip for ip in mine if ip.version == family), peers):
            for protocol in _protocols(connection):
                anywhere = pair.remote.prefixlen == 0
                pairs, names = found.setdefault((protocol, family, anywhere), (set(), []))
                pairs.add(pair)
                if connection.name not in names:
                    names.append(connection.name)
    return tuple(
        Opening(protocol, intent.ike_ports if protocol == UDP else (), frozenset(pairs), tuple(names))
        for (protocol, _, _), (pairs, names) in sorted(found.items(), key=lambda item: item[0])
    )


def _pairs(
    connection: Connection, sources: Iterable[IPAddress], peers: Mapping[str, frozenset[IPAddress]]
) -> Iterable[Pair]:
    if connection.name not in peers or connection.start is Start.RESPOND:
        return pairs_from(connection, sources)
    literal = frozenset(each for each in remotes(connection) if each.prefixlen)
    known = literal | frozenset(map(ip_network, peers[connection.name]))
    return [Pair(source, remote) for source in sources for remote in known]


def _protocols(connection: Connection) -> tuple[int, ...]:
    """IKE always; ESP and AH as the children say, unless all of it travels in UDP."""
    by_ah = [bool(child.ah_proposals) for child in connection.children]
    esp = (ESP,) if not connection.encap and not all(by_ah) else ()
    return (UDP, *esp, *((AH,) if any(by_ah) else ()))
