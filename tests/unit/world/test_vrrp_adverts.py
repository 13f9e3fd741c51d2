"""Adverts and claims, decoded from what keepalived 2.2.7 put on the wire (recorded from the IP header on)."""

import random
from dataclasses import replace
from ipaddress import ip_address

import pytest

from swanherd.world.vrrp.adverts import (
    ETHERTYPE_ARP,
    ETHERTYPE_IPV4,
    ETHERTYPE_IPV6,
    GROUP_4,
    Advert,
    Ignored,
    claimed,
    intact,
    is_claim,
    read_advert,
)

RECORDED = {
    "v3": "45c0002000010000ff709e96cb007103e000001231339601000ae022cb00710a",
    "v2": "45c0002800010000ff709e8ecb007103e00000122133960100010cbfcb00710a0000000000000000",
    "v2-password": "45c0002800010000ff709e8ecb007103e000001221339601010136d9cb00710a7377616e00000000",
    "v2-ah": "45c0004000010000ff339eb3cb007103e000001270040000cb00710300000001b16d727ae92a4167a618412a"
    "2133960102010abfcb00710a0000000000000000",
    "v3-unicast": "45c0002000010000ff7042a6cb007103cb00710231339601000a8432cb00710a",
    "v3-unicast-old-checksum": "45c0002000010000ff7042a6cb007103cb00710231339601000ae022cb00710a",
    "v2-unicast": "45c0002800010000ff70429ecb007103cb0071022133960100010cbfcb00710a0000000000000000",
    "v6": "6c0e9717001870fffe800000000000000000000000000003ff02000000000000000000000000001231339601000a3c0f"
    "fe800000000000000000000000000010",
    "v6-unicast": "6c0a8e1100187040fe800000000000000000000000000003fe80000000000000000000000000000231339601000a3ca1"
    "fe800000000000000000000000000010",
}
GRATUITOUS_ARP = "0001080006040001c2cc4ca84936cb00710affffffffffffcb00710a"
NEIGHBOUR_ADVERTISEMENT = (
    "6000000000203afffe800000000000000000000000000010ff020000000000000000000000000001880088eb20000000"
    "fe8000000000000000000000000000100201cac02301e2d0"
)


def recorded(kind: str) -> tuple[bytes, int]:
    """The packet, and its ethertype."""
    packet = bytes.fromhex(RECORDED[kind])
    return packet, ETHERTYPE_IPV4 if packet[0] >> 4 == 4 else ETHERTYPE_IPV6


def read(kind: str) -> Advert:
    """The advert in it."""
    advert = read_advert(*recorded(kind))
    assert isinstance(advert, Advert)
    return advert


@pytest.mark.parametrize("kind", RECORDED)
def test_every_kind_of_advert_is_read_and_is_intact(kind: str) -> None:
    """Version, VRID, priority, TTL and addresses are what keepalived was told; unicast over IPv6 has hop limit 64."""
    advert = read(kind)
    assert (advert.version, advert.vrid, advert.priority) == (2 if "v2" in kind else 3, 51, 150)
    assert advert.ttl == (64 if kind == "v6-unicast" else 255)
    assert advert.source == ip_address("fe80::3" if "v6" in kind else "203.0.113.3")
    assert advert.destination.is_multicast == ("unicast" not in kind)
    assert intact(advert)


@pytest.mark.parametrize("kind", RECORDED)
def test_padding_is_no_part_of_an_advert(kind: str) -> None:
    """Short Ethernet frames are padded; what is behind the IP packet's end does not count."""
    packet, ethertype = recorded(kind)
    assert read_advert(packet + bytes(14), ethertype) == read(kind)


@pytest.mark.parametrize("kind", RECORDED)
def test_each_flipped_bit_of_an_advert_is_noticed(kind: str) -> None:
    """Checksums cover all of it: flipped anywhere but in what a router or AH may change, it is not taken for intact.

    Not covered by any of ours: the IPv6 header's first eight octets, and the authentication header.
    """
    packet, ethertype = recorded(kind)
    for bit in range(8 * len(packet)):
        at = bit // 8
        if (ethertype == ETHERTYPE_IPV6 and at < 8) or (kind == "v2-ah" and 20 <= at < 44):
            continue
        flipped = bytearray(packet)
        flipped[at] ^= 1 << bit % 8
        advert = read_advert(bytes(flipped), ethertype)
        assert isinstance(advert, Ignored) or not intact(advert), f"octet {at}, bit {bit % 8}"


def test_the_pseudo_header_of_a_group_is_right_only_in_unicast() -> None:
    """``old_unicast_checksum`` sums 224.0.0.18 up in place of the peer; in IPv6 there is no such thing."""
    advert = read("v3-unicast-old-checksum")
    assert intact(advert)
    other_group = bytearray(recorded("v3")[0])
    other_group[19] ^= 1  # to 224.0.0.19, and its header's checksum with it
    other_group[11] -= 1
    moved = read_advert(bytes(other_group), ETHERTYPE_IPV4)
    assert isinstance(moved, Advert)
    assert not intact(moved)
    assert intact(replace(moved, destination=GROUP_4))


def test_nonsense_is_ignored_and_never_raises() -> None:
    """Any prefix of an advert, and random octets in place of its head, are malformed or of no known version."""
    for kind in RECORDED:
        packet, ethertype = recorded(kind)
        for length in range(len(packet)):
            assert isinstance(read_advert(packet[:length], ethertype), Ignored)
    noise = random.Random(4)
    for _ in range(20_000):
        data = noise.randbytes(noise.randrange(80))
        for ethertype in (ETHERTYPE_IPV4, ETHERTYPE_IPV6):
            advert = read_advert(data, ethertype)
            assert isinstance(advert, Ignored) or not intact(advert)


@pytest.mark.parametrize(
    ("octet", "value", "reason"),
    [
        (20, 0x41, Ignored.VERSION),
        (20, 0x32, Ignored.MALFORMED),
        (23, 2, Ignored.MALFORMED),
        (3, 0x21, Ignored.MALFORMED),
    ],
)
def test_what_is_wrong_is_named(octet: int, value: int, reason: Ignored) -> None:
    """An unknown version; another type; a count of addresses, and a length, that do not fit."""
    packet = bytearray(recorded("v3")[0])
    packet[octet] = value
    assert read_advert(bytes(packet), ETHERTYPE_IPV4) is reason


def test_there_is_no_version_2_of_ipv6() -> None:
    """RFC 3768 knows IPv4 only."""
    packet = bytearray(recorded("v6")[0])
    packet[40] = 0x21
    assert read_advert(bytes(packet), ETHERTYPE_IPV6) is Ignored.VERSION


def test_a_gratuitous_arp_and_a_neighbour_advertisement_claim_the_vip() -> None:
    """As keepalived sends them when it becomes the master."""
    arp, advertisement = bytes.fromhex(GRATUITOUS_ARP), bytes.fromhex(NEIGHBOUR_ADVERTISEMENT)
    assert is_claim(arp, ETHERTYPE_ARP)
    assert claimed(arp, ETHERTYPE_ARP) == ip_address("203.0.113.10")
    assert is_claim(advertisement, ETHERTYPE_IPV6)
    assert claimed(advertisement, ETHERTYPE_IPV6) == ip_address("fe80::10")
    assert claimed(arp[:27], ETHERTYPE_ARP) is None
    assert claimed(advertisement[:63], ETHERTYPE_IPV6) is None
    assert not is_claim(*recorded("v6"))
    assert not is_claim(*recorded("v3"))
