"""A ``Wire`` as elements of the sets of our tables (and rules of the one chain that is like a set), and back."""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final, NamedTuple

from swanherd.core.facts import Flow, Pair, Wire
from swanherd.core.intent import IPAddress, IPNetwork
from swanherd.world.firewall import layout, leaks
from swanherd.world.firewall.errors import ForeignElementError
from swanherd.world.firewall.layout import FAMILIES, IPV4, IPV6, PairSets

_FAMILY: Final = {4: IPV4, 6: IPV6}
_ANYWHERE: Final[Mapping[int, IPNetwork]] = {4: IPv4Network((0, 0)), 6: IPv6Network((0, 0))}
_REMEMBERED: Final = 1 << 15
"""Conversions kept: two addresses a connection in each direction for thousands of connections, a few MB at most."""


class Element(NamedTuple):
    """An element of a set: from *key* to *end*, both included; *end* is empty in a set without intervals."""

    key: bytes
    end: bytes = b""


_MOBIKE: Final = frozenset(Element(bytes([protocol])) for protocol in layout.IPSEC_PROTOCOLS)

NOWHERE: Final = b"nowhere"
"""In the place of ranges: no flow of the family leads anywhere."""
Contents = Mapping[str, frozenset[Element]]
"""The elements of each set by its name; a set that is missing has none.

The chain of the leak guard is one of them: each of its rules is an element, and its expressions are the key. A look at
where a packet goes has the family as its key, and as its end the ranges.
"""


def contents(wire: Wire) -> dict[str, frozenset[Element]]:
    """What the sets hold for *wire*."""
    guarded = _by_set(layout.GUARDED, _of_addresses(wire.guarded))
    return {
        layout.IKE_PORTS: frozenset(Element(port.to_bytes(2)) for port in wire.ike_ports),
        layout.MOBIKE: _MOBIKE if wire.mobike else frozenset(),
        **guarded,
        layout.SELVES_ARP: _selves(guarded),
        **_of_pairs(layout.OURS, wire.ours),
        **fenced(addresses=wire.fenced, pairs=wire.fenced_pairs),
        layout.LEAKS_CHAIN.name: of_leaks(wire.leaks),
    }


def of_leaks(flows: frozenset[Flow]) -> frozenset[Element]:
    """The rules of the chain ``leaks`` for *flows*: for each its own, and by family a look at what all lead to."""
    rules = (Element(rule) for flow in flows for rule in leaks.rules(flow))
    return frozenset((*rules, *(target(family, ranges) for family, ranges in leaks.targets(flows))))


def target(family: int, ranges: bytes) -> Element:
    """The rule that lets pass what goes to no address of *ranges* as an element of the chain."""
    return Element(bytes([family]), ranges or NOWHERE)


def fenced(*, addresses: Iterable[IPAddress], pairs: Iterable[Pair]) -> dict[str, frozenset[Element]]:
    """What the sets of the fence hold for *addresses* and *pairs*."""
    by_family = _by_set(layout.FENCED, _of_addresses(addresses))
    return {
        **by_family,
        layout.FENCED_ARP: by_family[layout.FENCED[IPV4]],
        **_of_pairs(layout.FENCED_PAIRS, pairs),
    }


def agree(found: Contents) -> bool:
    """Whether both tables fence, and guard, the same IPv4 addresses."""
    fenced_in_both = found.get(layout.FENCED_ARP, frozenset()) == found.get(layout.FENCED[IPV4], frozenset())
    return fenced_in_both and found.get(layout.SELVES_ARP, frozenset()) == _selves(found)


def _selves(found: Contents) -> frozenset[Element]:
    return frozenset(Element(2 * item.key) for item in found.get(layout.GUARDED[IPV4], ()))


def outermost(elements: Iterable[Element]) -> Iterator[Element]:
    """*elements* without those within another one: the kernel refuses them, and the larger one says the same."""
    # Two networks either lie in one another or share nothing; the one that begins first and ends last comes first.
    last: Element | None = None
    for element in sorted(sorted(elements, key=lambda item: item.end, reverse=True), key=lambda item: item.key):
        if last is None or element.end > last.end:
            last = element
            yield element


def _of_addresses(addresses: Iterable[IPAddress]) -> Iterator[tuple[int, Element]]:
    return ((address.version, Element(address.packed)) for address in addresses)


def _of_pairs(sets: PairSets, pairs: Iterable[Pair]) -> dict[str, frozenset[Element]]:
    found: dict[str, set[Element]] = {names[family]: set() for names in sets.all for family in FAMILIES}
    for pair in pairs:
        length = pair.remote.prefixlen
        names = sets.hosts if length == pair.remote.max_prefixlen else sets.networks if length else sets.anywhere
        found[names[_FAMILY[pair.source.version]]].add(_of_pair(pair))
    wide = set(sets.networks.values())
    return {name: frozenset(outermost(items) if name in wide else items) for name, items in found.items()}


def _by_set(names: Mapping[int, str], elements: Iterable[tuple[int, Element]]) -> dict[str, frozenset[Element]]:
    found: dict[str, set[Element]] = {names[family]: set() for family in FAMILIES}
    for version, element in elements:
        found[names[_FAMILY[version]]].add(element)
    return {name: frozenset(items) for name, items in found.items()}


@lru_cache(maxsize=_REMEMBERED)
def _of_pair(pair: Pair) -> Element:
    if pair.source.version != pair.remote.version:
        raise ValueError(f"a pair of two families: {pair.source} and {pair.remote}")
    source, remote = pair.source.packed, pair.remote
    if remote.prefixlen == 0:
        return Element(source)
    key = source + remote.network_address.packed
    return Element(key, source + remote.broadcast_address.packed if remote.num_addresses > 1 else b"")


@lru_cache(maxsize=_REMEMBERED)
def _to_pair(element: Element) -> Pair:
    half = len(element.key) // 2
    if element.end and element.key[:half] != element.end[:half]:
        raise ForeignElementError("a range of sources")
    first = int.from_bytes(element.key[half:])
    span = int.from_bytes(element.end[half:] or element.key[half:]) ^ first
    if span & (span + 1) or first & span:
        raise ForeignElementError("a range that is no network")
    network = IPv4Network if half == layout.ADDRESS_BYTES[IPV4] else IPv6Network
    return Pair(ip_address(element.key[:half]), network((first, 8 * half - span.bit_length())))


def wire(found: Contents) -> Wire:
    """The ``Wire`` that *found* stands for; ForeignElementError if there is none.

    An address that one of the tables fences is fenced, whatever became of the other one.
    """
    return Wire(
        guarded=_addresses(found, layout.GUARDED),
        ours=_pairs(found, layout.OURS),
        fenced=_addresses(found, layout.FENCED) | _addresses(found, {IPV4: layout.FENCED_ARP}),
        fenced_pairs=_pairs(found, layout.FENCED_PAIRS),
        leaks=frozenset(
            flow
            for item in found.get(layout.LEAKS_CHAIN.name, ())
            if not item.end and (flow := leaks.flow_of(item.key)) is not None
        ),
        mobike=found.get(layout.MOBIKE) == _MOBIKE,
        ike_ports=tuple(sorted(int.from_bytes(item.key) for item in found.get(layout.IKE_PORTS, ()))),
    )


def _addresses(found: Contents, names: Mapping[int, str]) -> frozenset[IPAddress]:
    return frozenset(ip_address(item.key) for name in names.values() for item in found.get(name, ()))


def _pairs(found: Contents, sets: PairSets) -> frozenset[Pair]:
    anywhere = {Pair(source, _ANYWHERE[source.version]) for source in _addresses(found, sets.anywhere)}
    names = [names[family] for names in (sets.hosts, sets.networks) for family in FAMILIES]
    return frozenset(anywhere | {_to_pair(item) for name in names for item in found.get(name, ())})
