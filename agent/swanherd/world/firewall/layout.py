"""What our tables are made of: counters, sets, chains and rules, as the kernel spells them.

``nft list table inet swanherd`` and ``nft list table arp swanherd`` show it in the words of
docs/design/0003-firewall.md; a test compares both. There are two because no table has both IP and ARP packets.
Every rule is a list of expressions; an expression is its name and its attributes, which the kernel gives back byte
for byte when it is asked, so that a rule that somebody changed is told from ours without a second description.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from swanherd.world.firewall.codec import ARP, INET
from swanherd.world.firewall.expressions import (
    NETWORK_HEADER,
    PROTOCOL,
    PROTOCOL_FAMILY,
    TRANSPORT_HEADER,
    Expression,
    accept,
    by_ipsec,
    equal,
    go_to,
    in_set,
    load,
    loaded_meta,
    meta,
    not_in_set,
    source_is_not_local,
    stop,
)

TABLE: Final = "swanherd"
"""The name of both tables."""
COMMENTS: Final = {
    INET: "swanherd: IPsec leaves only from addresses that may send it",
    ARP: "swanherd: an address does not answer for itself where another gateway has it",
}
"""The tables, by family, and what each says to people."""
PRIORITY: Final = -310
"""Before everything that others do with a packet: raw is -300, conntrack -200."""
LAST_PRIORITY: Final = 310
"""Of the leak guard: behind everything that gives a packet of this host another target or way out (mangle is -150,
destination NAT -100), and in hooks that come before any source NAT, which hides what the selectors say."""

ESP, AH, UDP, ICMPV6, VRRP, IGMP = 50, 51, 17, 58, 112, 2
IPV4, IPV6 = 2, 10
"""NFPROTO_IPV4, NFPROTO_IPV6."""
FAMILIES: Final = (IPV4, IPV6)
ADDRESS_BYTES: Final = {IPV4: 4, IPV6: 16}
NEIGHBOUR_DISCOVERY: Final = ((133, "router solicitation"), (134, "router advertisement"),
                              (135, "neighbour solicitation"), (136, "neighbour advertisement"))  # fmt: skip
"""Types of ICMPv6 messages that tell neighbours the link-layer address of their source (RFC 4861, section 4).

The kernel advertises an own address from that address itself, so the source alone says whom it is about.
"""

NEIGHBOURS_HELP: Final = ((137, "redirect"), (130, "listener query"), (131, "listener report"),
                         (132, "listener done"), (143, "listener report, version 2"))  # fmt: skip
"""More types that finding neighbours needs: a router's better advice, and what makes a switch hand a neighbour's
question to this host (RFC 4861, 2710, 3810)."""

# Types of keys, for people: nft shows a set's elements by them. A concatenation is one type in each 6 bits.
ADDRESS_TYPE: Final = {IPV4: 7, IPV6: 8}
PORT_TYPE: Final = 13
PROTOCOL_TYPE: Final = 12
CONCATENATED_BITS: Final = 6

INTERVAL: Final = 0x4
CONCATENATION: Final = 0x80


@dataclass(frozen=True, slots=True)
class Set:
    """A named set."""

    name: str
    """Unique in both tables together."""
    key_type: int
    key_bytes: int
    fields: tuple[int, ...] = ()
    """Bytes of each part of a key in a set of intervals."""
    family: int = INET
    """Of its table."""

    @property
    def flags(self) -> int:
        """NFT_SET_* flags."""
        return INTERVAL | CONCATENATION if self.fields else 0


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain, which is entered at its *hook* if it has one, else from another chain."""

    name: str
    family: int = INET
    """Of its table."""
    hook: int | None = None
    priority: int = PRIORITY


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of a chain."""

    chain: Chain
    expressions: tuple[Expression, ...]
    comment: str


OUTPUT_CHAIN: Final = Chain("output", hook=3)
"""NF_INET_LOCAL_OUT."""
IPSEC_CHAIN: Final = Chain("ipsec_output")
NEIGHBOUR_CHAIN: Final = Chain("neighbour_output")
ARP_CHAIN: Final = Chain("output", ARP, hook=1)
"""NF_ARP_OUT."""
LEAK_FORWARD_CHAIN: Final = Chain("leak_forward", hook=2, priority=LAST_PRIORITY)
"""NF_INET_FORWARD."""
LEAK_OUTPUT_CHAIN: Final = Chain("leak_output", hook=3, priority=LAST_PRIORITY)
LEAKS_CHAIN: Final = Chain("leaks")
"""The one chain whose rules come and go: one for each flow, see ``leaks``."""
CHAINS: Final = (
    OUTPUT_CHAIN,
    IPSEC_CHAIN,
    NEIGHBOUR_CHAIN,
    LEAK_FORWARD_CHAIN,
    LEAK_OUTPUT_CHAIN,
    LEAKS_CHAIN,
    ARP_CHAIN,
)

GUARDED: Final = {IPV4: "guarded4", IPV6: "guarded6"}
FENCED: Final = {IPV4: "fenced4", IPV6: "fenced6"}
FENCED_ARP: Final = "fenced"
"""What FENCED[IPV4] holds once more, since a set belongs to one table."""
SELVES_ARP: Final = "selves"
"""Each address of GUARDED[IPV4] beside itself: the two addresses of an ARP packet by which somebody announces it."""


@dataclass(frozen=True, slots=True)
class PairSets:
    """The sets that hold pairs, by family; one for each kind of remote.

    Elements of a set of intervals come into force, and leave, a moment after the rest of their transaction (measured:
    two or three packets of a sender at full speed, kernel 6.18), may not lie in one another, and cost the kernel more
    the more there are (4000 IPv6 pairs: seconds). So only what cannot be told otherwise is in one.
    """

    hosts: dict[int, str]
    """Source and remote address."""
    anywhere: dict[int, str]
    """The source alone: the remote is 0.0.0.0/0 or ::/0."""
    networks: dict[int, str]
    """Source and a remote network of any other length."""

    @property
    def all(self) -> tuple[dict[int, str], ...]:
        """All three."""
        return self.hosts, self.anywhere, self.networks


def _pair_sets(hosts: str, rest: str) -> PairSets:
    return PairSets(*({IPV4: f"{name}4", IPV6: f"{name}6"} for name in (hosts, f"{rest}_anywhere", f"{rest}_networks")))


OURS: Final = _pair_sets("ours", "ours")
FENCED_PAIRS: Final = _pair_sets("fenced_pairs", "fenced")
IKE_PORTS: Final = "ike_ports"
MOBIKE: Final = "mobike"
"""The protocols of which nothing leaves but between the addresses of ``OURS``: all of IPsec's, or none.

A set, so that it is switched on and off as everything else is: the rules always stand.
"""
IPSEC_PROTOCOLS: Final = frozenset({ESP, AH, UDP})


def _addresses(name: str, family: int) -> Set:
    return Set(name, ADDRESS_TYPE[family], ADDRESS_BYTES[family])


def _sets_of_pairs(sets: PairSets, family: int) -> Iterator[Set]:
    kind = ADDRESS_TYPE[family]
    size = ADDRESS_BYTES[family]
    both = kind << CONCATENATED_BITS | kind
    yield Set(sets.hosts[family], both, 2 * size)
    yield _addresses(sets.anywhere[family], family)
    yield Set(sets.networks[family], both, 2 * size, (size, size))


SETS: Final = (
    Set(IKE_PORTS, PORT_TYPE, 2),
    Set(MOBIKE, PROTOCOL_TYPE, 1),
    *(_addresses(names[family], family) for names in (GUARDED, FENCED) for family in FAMILIES),
    *(item for sets in (OURS, FENCED_PAIRS) for family in FAMILIES for item in _sets_of_pairs(sets, family)),
    Set(FENCED_ARP, ADDRESS_TYPE[IPV4], ADDRESS_BYTES[IPV4], family=ARP),
    Set(SELVES_ARP, ADDRESS_TYPE[IPV4] << CONCATENATED_BITS | ADDRESS_TYPE[IPV4], 2 * ADDRESS_BYTES[IPV4], family=ARP),
)
COUNTERS: Final = (
    (INET, "guard"),
    (INET, "fence"),
    (INET, "fence_pairs"),
    (INET, "mobike"),
    (INET, "stale_vip"),
    (INET, "leak"),
    (ARP, "stale_vip"),
)
"""What each step stopped, by family of the table: the guard, the fence of addresses, the fence of single connections;
what an address that another gateway has would have told its neighbours; what would have left in clear."""

SECOND: Final = {IPV4: 9, IPV6: 2}
"""The register behind a first address in register 1, which has 16 bytes: NFT_REG32_01, NFT_REG_2."""
SOURCE_AT: Final = {IPV4: 12, IPV6: 8}
DESTINATION_AT: Final = {IPV4: 16, IPV6: 24}
_ARP_OPERATION_AT, _ARP_SENDER_AT, _ARP_TARGET_AT = 6, 14, 24
"""In an ARP packet whose link-layer addresses have 6 bytes (RFC 826): of the operation, and of both IPv4 addresses."""
_ARP_REPLY: Final = b"\0\2"


def _source(family: int) -> Expression:
    return load(NETWORK_HEADER, SOURCE_AT[family], ADDRESS_BYTES[family])


def _ipsec(chain: Chain, verdict: Expression) -> Iterator[Rule]:
    """What is ESP, AH or IKE meets *verdict*."""
    for number, name in ((ESP, "ESP"), (AH, "AH")):
        yield Rule(chain, (*meta(PROTOCOL, number), verdict), f"swanherd: {name}")
    for at, name in ((0, "from"), (2, "to")):
        port = (load(TRANSPORT_HEADER, at, 2), in_set(IKE_PORTS))
        yield Rule(chain, (*meta(PROTOCOL, UDP), *port, verdict), f"swanherd: {name} an IKE port")


def _by_protocol() -> Iterator[Rule]:
    """What concerns us, and nothing else, goes on to another chain."""
    yield from _ipsec(OUTPUT_CHAIN, go_to(IPSEC_CHAIN.name))
    yield Rule(
        OUTPUT_CHAIN,
        # Not in the order of other rules: so nft writes what it lists when it is given its listing.
        (*meta(PROTOCOL, ICMPV6), *meta(PROTOCOL_FAMILY, IPV6), _source(IPV6), in_set(FENCED[IPV6]),
         go_to(NEIGHBOUR_CHAIN.name)),
        "swanherd: ICMPv6 from a fenced address",
    )  # fmt: skip


def _drops(family: int) -> Iterator[Rule]:
    is_family = meta(PROTOCOL_FAMILY, family)
    source = _source(family)
    both = (source, load(NETWORK_HEADER, DESTINATION_AT[family], ADDRESS_BYTES[family], SECOND[family]))
    yield Rule(
        IPSEC_CHAIN,
        (*is_family, source, in_set(GUARDED[family]), *source_is_not_local(), *stop("guard")),
        "swanherd: guard, the address is not here",
    )
    not_between_ours = (
        expression
        for names in OURS.all
        for expression in (*((source,) if names is OURS.anywhere else both), not_in_set(names[family]))
    )
    yield Rule(
        IPSEC_CHAIN,
        (loaded_meta(PROTOCOL), in_set(MOBIKE), *is_family, *not_between_ours, *stop("mobike")),
        "swanherd: MOBIKE, no connection of ours runs between these",
    )
    for names in OURS.all:
        key = (source,) if names is OURS.anywhere else both
        yield Rule(
            IPSEC_CHAIN,
            (*is_family, source, in_set(FENCED[family]), *key, in_set(names[family]), *stop("fence")),
            "swanherd: fence, no right to the address",
        )
    for names in FENCED_PAIRS.all:
        key = (source,) if names is FENCED_PAIRS.anywhere else both
        yield Rule(
            IPSEC_CHAIN,
            (*is_family, *key, in_set(names[family]), *stop("fence_pairs")),
            "swanherd: fence, no right to the connection",
        )


def _silence() -> Iterator[Rule]:
    """Neither an answer nor a question of a fenced address leaves: both tell neighbours that it is here.

    Of an address that is not fenced (yet), no answer to whoever announces the same address: with a virtual MAC, which
    the other gateway has too, the kernel gives one (keepalived sets ``accept_local``), and switches send what is for
    the new master to this gateway until it is heard again, an advert interval later.
    """
    is_icmpv6 = (*meta(PROTOCOL_FAMILY, IPV6), *meta(PROTOCOL, ICMPV6))
    for number, name in NEIGHBOUR_DISCOVERY:
        kind = (load(TRANSPORT_HEADER, 0, 1), equal(bytes([number])))
        yield Rule(NEIGHBOUR_CHAIN, (*is_icmpv6, *kind, *stop("stale_vip")), f"swanherd: no {name}")
    sender = load(NETWORK_HEADER, _ARP_SENDER_AT, ADDRESS_BYTES[IPV4])
    yield Rule(ARP_CHAIN, (sender, in_set(FENCED_ARP), *stop("stale_vip")), "swanherd: no ARP from a fenced address")
    is_reply = (load(NETWORK_HEADER, _ARP_OPERATION_AT, len(_ARP_REPLY)), equal(_ARP_REPLY))
    target = load(NETWORK_HEADER, _ARP_TARGET_AT, ADDRESS_BYTES[IPV4], SECOND[IPV4])
    yield Rule(
        ARP_CHAIN,
        (*is_reply, sender, target, in_set(SELVES_ARP), *stop("stale_vip")),
        "swanherd: no answer to another gateway's announcement",
    )


def _leaks() -> Iterator[Rule]:
    """What goes by IPsec, and what carries or finds it, passes; the rest is looked at flow by flow."""
    look = go_to(LEAKS_CHAIN.name)
    for chain in (LEAK_FORWARD_CHAIN, LEAK_OUTPUT_CHAIN):
        yield Rule(chain, (*by_ipsec(), accept()), "swanherd: by IPsec")
        if chain is LEAK_OUTPUT_CHAIN:
            yield from _ipsec(chain, accept())
            for number, name in ((VRRP, "VRRP"), (IGMP, "IGMP")):
                yield Rule(chain, (*meta(PROTOCOL, number), accept()), f"swanherd: {name}")
            is_icmpv6 = (*meta(PROTOCOL_FAMILY, IPV6), *meta(PROTOCOL, ICMPV6))
            for number, name in (*NEIGHBOUR_DISCOVERY, *NEIGHBOURS_HELP):
                kind = (load(TRANSPORT_HEADER, 0, 1), equal(bytes([number])))
                yield Rule(chain, (*is_icmpv6, *kind, accept()), f"swanherd: {name}")
        yield Rule(chain, (look,), "swanherd: in clear")


RULES: Final = (
    *_by_protocol(),
    *(rule for family in FAMILIES for rule in _drops(family)),
    *_silence(),
    *_leaks(),
)
"""Of every chain but ``LEAKS_CHAIN``."""
