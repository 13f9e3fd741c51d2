"""What our tables are made of: counters, sets and chains, as the kernel spells them. What chains do is in ``rules``.

``nft list table inet swanherd`` and ``nft list table arp swanherd`` show it in the words of
docs/design/0003-firewall.md; a test compares both. There are two because no table has both IP and ARP packets.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from swanherd.world.firewall.codec import ARP, INET

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

ESP, AH, UDP = 50, 51, 17
IPV4, IPV6 = 2, 10
"""NFPROTO_IPV4, NFPROTO_IPV6."""
FAMILIES: Final = (IPV4, IPV6)
ADDRESS_BYTES: Final = {IPV4: 4, IPV6: 16}
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
