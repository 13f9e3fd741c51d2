"""The rules of our tables but those of the leak guard's flows: what each of them stops, and what it lets pass.

Every rule is a list of expressions; an expression is its name and its attributes, which the kernel gives back byte
for byte when it is asked, so that a rule that somebody changed is told from ours without a second description.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

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
from swanherd.world.firewall.layout import (
    ADDRESS_BYTES,
    AH,
    ARP_CHAIN,
    DESTINATION_AT,
    ESP,
    FAMILIES,
    FENCED,
    FENCED_ARP,
    FENCED_PAIRS,
    GUARDED,
    IKE_PORTS,
    IPSEC_CHAIN,
    IPV4,
    IPV6,
    LEAK_FORWARD_CHAIN,
    LEAK_OUTPUT_CHAIN,
    LEAKS_CHAIN,
    MOBIKE,
    NEIGHBOUR_CHAIN,
    OURS,
    OUTPUT_CHAIN,
    SECOND,
    SELVES_ARP,
    SOURCE_AT,
    UDP,
    Chain,
)

ICMPV6, VRRP, IGMP = 58, 112, 2
NEIGHBOUR_DISCOVERY: Final = ((133, "router solicitation"), (134, "router advertisement"),
                              (135, "neighbour solicitation"), (136, "neighbour advertisement"))  # fmt: skip
"""Types of ICMPv6 messages that tell neighbours the link-layer address of their source (RFC 4861, section 4).

The kernel advertises an own address from that address itself, so the source alone says whom it is about.
"""

NEIGHBOURS_HELP: Final = ((137, "redirect"), (130, "listener query"), (131, "listener report"),
                         (132, "listener done"), (143, "listener report, version 2"))  # fmt: skip
"""More types that finding neighbours needs: a router's better advice, and what makes a switch hand a neighbour's
question to this host (RFC 4861, 2710, 3810)."""

_ARP_OPERATION_AT, _ARP_SENDER_AT, _ARP_TARGET_AT = 6, 14, 24
"""In an ARP packet whose link-layer addresses have 6 bytes (RFC 826): of the operation, and of both IPv4 addresses."""
_ARP_REPLY: Final = b"\0\2"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of a chain."""

    chain: Chain
    expressions: tuple[Expression, ...]
    comment: str


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
