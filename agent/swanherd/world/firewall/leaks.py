"""Flows as rules of the chain ``leaks``, and back.

A rule is known by its expressions as we send them. What the kernel lists is understood first, and then compared with
what we would have sent for it, so that nothing that somebody else put there passes for ours.
"""

from collections.abc import Collection, Iterator
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Final

from swanherd.core.facts import ANY_PORTS, Flow
from swanherd.core.intent import IPNetwork
from swanherd.world.firewall import layout
from swanherd.world.firewall.codec import attributes, text
from swanherd.world.firewall.errors import ForeignElementError
from swanherd.world.firewall.expressions import (
    AT_LEAST,
    AT_MOST,
    DEVICE_OUT,
    EQUAL,
    NETWORK_HEADER,
    PROTOCOL,
    PROTOCOL_FAMILY,
    TRANSPORT_HEADER,
    UNEQUAL,
    Expression,
    accept,
    compare,
    encoded,
    expressions_of,
    fragment_header,
    load,
    masked,
    meta,
    not_in_own_set,
    same,
    stop,
)
from swanherd.world.firewall.layout import ADDRESS_BYTES, IPV4, IPV6

COMMENT: Final = "swanherd: leak guard"
COMMENT_OF_LOOK: Final = "swanherd: no flow leads there"
FEW: Final = 16
"""Flows that a packet is compared with one by one (about 0.2 us each) without a look at where it goes first."""
_REMEMBERED: Final = 1 << 14
"""Conversions kept, a few hundred bytes each: some for each child of thousands of connections."""
_LOOK_BYTES: Final = 400
"""No ``look`` is so long (some 250 as the kernel lists it), and every rule about a flow is longer (700 and more)."""
_NAME_BYTES: Final = 16
"""IFNAMSIZ."""
_FAMILY: Final = {4: IPV4, 6: IPV6}
_ICMP: Final = frozenset({1, 58})
_LATER: Final = {
    # The offset of a fragment, in its header: not zero in all but the first one.
    IPV4: (load(NETWORK_HEADER, 6, 2), masked(b"\x1f\xff"), compare(UNEQUAL, bytes(2))),
    IPV6: (fragment_header(2, 2), masked(b"\xff\xf8"), compare(UNEQUAL, bytes(2))),
}


@lru_cache(maxsize=_REMEMBERED)
def rules(flow: Flow) -> tuple[bytes, ...]:
    """The rules that drop *flow*, each as its expressions, encoded.

    Ports are in the first fragment of a packet only: where a flow has some, the others of its protocol are dropped too.
    """
    if flow.local_ports == flow.remote_ports == ANY_PORTS:
        return (encoded(_expressions(flow, later=False)),)
    return tuple(encoded(_expressions(flow, later=later)) for later in (False, True))


@lru_cache(maxsize=_REMEMBERED)
def flow_of(rule: bytes) -> Flow | None:
    """The flow that *rule* (as ``rules`` says it) drops; None: it drops the later fragments of one."""
    flow, later = _understood(rule)
    return None if later else flow


@lru_cache(maxsize=_REMEMBERED)
def as_sent(rule: bytes) -> bytes:
    """What we sent for the *rule* that the kernel lists; ForeignElementError if it is none of ours."""
    try:
        flow, later = _understood(rule)
    except (KeyError, ValueError, IndexError) as error:
        raise ForeignElementError("a rule of somebody else's") from error
    expressions = _expressions(flow, later=later)
    if not same(rule, expressions):
        raise ForeignElementError("a rule of somebody else's")
    return encoded(expressions)


def targets(flows: Collection[Flow]) -> Iterator[tuple[int, bytes]]:
    """Where there are many flows: by family, all addresses that they lead to, as first and last of each range.

    What goes to none of them need not be compared with every flow.
    """
    if len(flows) <= FEW:
        return
    for version, family in _FAMILY.items():
        remotes = {flow.remote for flow in flows if flow.remote.version == version}
        if not any(remote.prefixlen == 0 for remote in remotes):
            yield family, b"".join(first + last for first, last in _ranges(remotes, ADDRESS_BYTES[family]))


def look(family: int, name: str, number: int | None = None) -> tuple[Expression, ...]:
    """Accept what goes to no address of the set *name* (of addresses of *family*), or to none at all if it is ""."""
    if not name:
        return (*meta(PROTOCOL_FAMILY, family), accept())
    where = load(NETWORK_HEADER, layout.DESTINATION_AT[family], ADDRESS_BYTES[family])
    return (*meta(PROTOCOL_FAMILY, family), where, *not_in_own_set(name, number), accept())


def looked_at(rule: bytes) -> tuple[int, str] | None:
    """Family and set of a *rule* by ``look``; None if it is none of them."""
    if len(rule) > _LOOK_BYTES:
        return None
    name = next((text(values[1]) for kind, values in expressions_of(rule) if kind == "lookup"), "")
    return next(((family, name) for family in layout.FAMILIES if same(rule, look(family, name))), None)


def _ranges(networks: Collection[IPNetwork], size: int) -> Iterator[tuple[bytes, bytes]]:
    """The first and last address of each stretch, in order; stretches that touch are one."""
    spans = sorted((int(network.network_address), int(network.broadcast_address)) for network in networks)
    first, last = spans[0] if spans else (0, -1)
    for low, high in spans:
        if low > last + 1:
            yield first.to_bytes(size), last.to_bytes(size)
            first = low
        last = max(last, high)
    if spans:
        yield first.to_bytes(size), last.to_bytes(size)


def _expressions(flow: Flow, *, later: bool) -> tuple[Expression, ...]:
    return tuple(_parts(flow, later=later))


def _parts(flow: Flow, *, later: bool) -> Iterator[Expression]:
    """In the order and form in which nft writes the same, so that its listing says what we sent."""
    family = _FAMILY[flow.local.version]
    yield from meta(DEVICE_OUT, flow.device.encode().ljust(_NAME_BYTES, b"\0"))
    yield from meta(PROTOCOL_FAMILY, family)
    yield from _network(flow.local, layout.SOURCE_AT[family])
    yield from _network(flow.remote, layout.DESTINATION_AT[family])
    if flow.protocol:
        yield from meta(PROTOCOL, flow.protocol)
    if later:
        yield from _LATER[family]
    else:
        size = _port_bytes(flow.protocol)
        yield from _ports(flow.local_ports, 0, size)
        yield from _ports(flow.remote_ports, size, size)
    yield from stop("leak")


def _network(network: IPNetwork, at: int) -> Iterator[Expression]:
    length, rest = divmod(network.prefixlen, 8)
    address = network.network_address.packed
    if rest:
        yield load(NETWORK_HEADER, at, len(address))
        yield masked(network.netmask.packed)
        yield compare(EQUAL, address)
    elif length:
        yield load(NETWORK_HEADER, at, length)
        yield compare(EQUAL, address[:length])


def _ports(ports: tuple[int, int], at: int, size: int) -> Iterator[Expression]:
    if ports == ANY_PORTS:
        return
    low, high = (port.to_bytes(size) for port in ports)
    yield load(TRANSPORT_HEADER, at, size)
    if low == high:
        yield compare(EQUAL, low)
    else:
        yield compare(AT_LEAST, low)
        yield compare(AT_MOST, high)


def _port_bytes(protocol: int) -> int:
    """Of ICMP the type and the code are what a port is elsewhere."""
    return 1 if protocol in _ICMP else 2


_Subject = tuple[str, int, int, bytes]
"""What is compared: ``meta`` and its key, or a header and where in it; and what it was masked with."""


def _understood(rule: bytes) -> tuple[Flow, bool]:
    """A flow, and whether the rule is about its later fragments; KeyError and the like where it says something else."""
    said = dict(_comparisons(rule))
    family = said["meta", PROTOCOL_FAMILY, 0, b""][EQUAL][0]
    protocol = said.get(("meta", PROTOCOL, 0, b""), {EQUAL: b"\0"})[EQUAL][0]
    size = _port_bytes(protocol)
    flow = Flow(
        said["meta", DEVICE_OUT, 0, b""][EQUAL].rstrip(b"\0").decode(),
        _network_said(said, family, layout.SOURCE_AT[family]),
        _network_said(said, family, layout.DESTINATION_AT[family]),
        protocol,
        _ports_said(said, 0),
        _ports_said(said, size),
    )
    return flow, any(UNEQUAL in how for how in said.values())


def _comparisons(rule: bytes) -> Iterator[tuple[_Subject, dict[int, bytes]]]:
    subject: _Subject = ("", 0, 0, b"")
    found: dict[_Subject, dict[int, bytes]] = {}
    for kind, values in expressions_of(rule):
        match kind:
            case "meta":
                subject = ("meta", _number(values[2]), 0, b"")
            case "payload":
                subject = ("payload", _number(values[2]), _number(values[3]), b"")
            case "exthdr":
                subject = ("exthdr", 0, 0, b"")
            case "bitwise":
                subject = (*subject[:3], _data(values[4]))
            case "cmp":
                found.setdefault(subject, {})[_number(values[2])] = _data(values[3])
    yield from found.items()


def _network_said(said: dict[_Subject, dict[int, bytes]], family: int, at: int) -> IPNetwork:
    size = ADDRESS_BYTES[family]
    for (header, base, where, mask), how in said.items():
        if (header, base, where) == ("payload", NETWORK_HEADER, at):
            value = how[EQUAL]
            length = int.from_bytes(mask).bit_count() if mask else 8 * len(value)
            return ip_network((ip_address(value.ljust(size, b"\0")), length))
    return ip_network((ip_address(bytes(size)), 0))


def _ports_said(said: dict[_Subject, dict[int, bytes]], at: int) -> tuple[int, int]:
    how = said.get(("payload", TRANSPORT_HEADER, at, b""))
    if how is None:
        return ANY_PORTS
    if EQUAL in how:
        return int.from_bytes(how[EQUAL]), int.from_bytes(how[EQUAL])
    return int.from_bytes(how[AT_LEAST]), int.from_bytes(how[AT_MOST])


def _number(value: bytes) -> int:
    return int.from_bytes(value)


def _data(value: bytes) -> bytes:
    return dict(attributes(value))[1]
