"""Which adverts count for an instance, what they leave behind, and which of them are news."""

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from swanherd.core.facts import HeldAddress, Link, Network
from swanherd.world.vrrp.adverts import ETHERTYPE_ARP, Advert, Ignored, read_advert
from swanherd.world.vrrp.ear import Frame
from swanherd.world.vrrp.instance import Instance, Place, Watched
from tests.unit.world.test_vrrp_adverts import read, recorded

VIP, OTHER = ip_address("203.0.113.10"), ip_address("203.0.113.3")
OWN_MAC, FOREIGN_MAC, VIRTUAL_MAC = b"\x02\0\0\0\0\1", b"\x02\0\0\0\0\2", bytes.fromhex("00005e000133")


def instance(**changes: Any) -> Instance:
    """A multicast instance with one VIP and an interval of a second."""
    return Instance(replace(Watched("wan", 51, 4, (VIP,), (), 1.0), **changes))


def place(*addresses: str, links: tuple[Link, ...] = ()) -> Place:
    """The network with *addresses* (``ADDRESS/PREFIX`` on wan, or ``ADDRESS/PREFIX@DEVICE``)."""
    held = {}
    for each in addresses:
        address, _, device = each.partition("@")
        text, _, prefix = address.partition("/")
        ip = ip_address(text)
        held[ip] = (HeldAddress(ip, int(prefix), device or "wan", usable=True, since=100.0),)
    return Place(Network(addresses=held, links={link.name: link for link in links}), "wan")


HERE = ("203.0.113.2/24", "fe80::2/64")


def claim(mac: bytes, at: float, packet: bytes = b"the same") -> Frame:
    """A claim of the VIP."""
    return Frame(packet, ETHERTYPE_ARP, mac, at)


def refused(kind: str, of: Instance, at: Place, **changes: Any) -> Ignored | None:
    """What the instance says to a recorded advert with some of it changed (checksums are made right again)."""
    advert = read(kind)
    return of.refuses(replace(advert, **changes) if changes else advert, at)


def test_a_multicast_advert_from_a_neighbour_counts() -> None:
    """Both versions."""
    assert refused("v3", instance(), place(*HERE)) is None
    assert refused("v2", instance(), place(*HERE)) is None
    assert refused("v6", instance(family=6), place(*HERE)) is None
    assert refused("v6", instance(family=6), place("2001:db8::2/64")) is None  # link-local is always on the link


def test_what_crossed_a_router_does_not_count() -> None:
    """TTL 254 in multicast."""
    assert refused("v3", instance(), place(*HERE), ttl=254) is Ignored.TTL


def test_a_sender_off_the_link_does_not_count() -> None:
    """Its address is in no prefix of the device, though in one of another device."""
    elsewhere = place("198.51.100.2/24", "203.0.113.77/24@lan")
    assert refused("v3", instance(), elsewhere) is Ignored.OFF_LINK
    assert refused("v6", instance(family=6), place(*HERE), source=ip_address("2001:db8::3")) is Ignored.OFF_LINK


def test_the_prefix_may_be_that_of_a_macvlan_above() -> None:
    """``use_vmac``; but a VIP's own /32 makes nobody a neighbour."""
    vmac = Link("vrrp.51", 7, up=True, kind="macvlan", parent="wan")
    assert refused("v3", instance(), place("198.51.100.2/24", "203.0.113.2/24@vrrp.51", links=(vmac,))) is None
    assert refused("v3", instance(), place("198.51.100.2/24", "203.0.113.3/32@lan")) is Ignored.OWN_ADDRESS
    assert refused("v3", instance(), place("203.0.113.10/32")) is None  # no prefix at all: the TTL must do


def test_an_own_address_is_never_another_router() -> None:
    """Wherever in this host it is."""
    assert refused("v3", instance(), place(*HERE, "203.0.113.3/24@lan")) is Ignored.OWN_ADDRESS


def test_priority_0_is_no_master() -> None:
    """It says: I leave."""
    packet = bytearray(recorded("v2")[0])
    packet[22] = 0
    checksum = int.from_bytes(packet[26:28], "big") + 150 * 256
    packet[26:28] = ((checksum & 0xFFFF) + (checksum >> 16)).to_bytes(2, "big")
    leaving = read_advert(bytes(packet), 0x0800)
    assert isinstance(leaving, Advert)
    assert leaving.priority == 0
    assert instance().refuses(leaving, place(*HERE)) is Ignored.PRIORITY_0


def test_unicast_counts_from_a_declared_peer_to_us_alone() -> None:
    """With any hop limit, as keepalived takes it; and multicast does not count then, nor unicast otherwise."""
    peered = instance(unicast_peers=(OTHER,))
    assert refused("v3-unicast", peered, place(*HERE)) is None
    assert refused("v3-unicast-old-checksum", peered, place(*HERE)) is None
    far = instance(family=6, unicast_peers=(ip_address("fe80::3"),))
    assert refused("v6-unicast", far, place(*HERE)) is None
    assert refused("v3-unicast", instance(unicast_peers=(ip_address("203.0.113.4"),)), place(*HERE)) is (
        Ignored.NOT_A_PEER
    )
    assert refused("v3-unicast", peered, place("203.0.113.9/24")) is Ignored.NOT_FOR_US
    assert refused("v3", peered, place(*HERE)) is Ignored.NOT_UNICAST
    assert refused("v3-unicast", instance(), place(*HERE)) is Ignored.NOT_MULTICAST


def test_a_pause_of_our_own_adverts_is_remembered_when_it_ends() -> None:
    """Longer than a backup waits; three intervals are not longer."""
    it = instance()
    assert it.own_advert(150, 10.0)
    it.own_advert(150, 13.0)
    assert it.heard.own_resumed_at is None
    assert it.own_advert(150, 16.1)
    assert it.heard.own_resumed_at == 16.1
    it.own_advert(150, 17.1)
    assert it.heard.own_resumed_at == 16.1


def test_our_own_adverts_in_their_time_are_no_news() -> None:
    """The first is, and one after silence; while another router is heard each of them is."""
    it = instance()
    assert it.own_advert(150, 10.0)
    assert not it.own_advert(150, 11.0)
    assert it.heard.own_at == 11.0
    assert it.own_advert(150, 12.6)
    it.other_advert(OTHER, 12.7, None)
    assert it.own_advert(150, 13.6)
    assert [it.own_advert(150, 13.6 + n / 1000) for n in range(1, 1001)].count(True) == 2
    assert not it.own_advert(150, 16.0)


def test_our_own_priority_0_takes_the_voucher_back() -> None:
    """Who says that it leaves vouches for nothing; a pause is still measured from there."""
    it = instance()
    it.own_advert(150, 10.0)
    assert it.own_advert(0, 10.5)
    assert it.heard.own_at is None
    assert not it.own_advert(0, 10.6)
    assert it.own_advert(150, 20.0)
    assert it.heard.own_resumed_at == 20.0


def test_another_router_in_its_time_is_no_news_while_no_vip_is_here() -> None:
    """The first is, and one after silence."""
    it = instance()
    assert it.other_advert(OTHER, 10.0, None)
    assert not it.other_advert(OTHER, 11.0, None)
    assert (it.heard.other_at, it.heard.other) == (11.0, "203.0.113.3")
    assert not it.other_advert(OTHER, 12.0, None)
    assert it.other_advert(OTHER, 13.6, None)


def test_another_router_is_news_while_a_vip_is_here() -> None:
    """At once when it is the first since the VIP came, then twice an interval, however many there are."""
    it = instance()
    it.other_advert(OTHER, 10.0, None)
    assert it.other_advert(OTHER, 10.1, 10.05)
    told = [it.other_advert(ip_address(f"203.0.113.{n % 5 + 3}"), 10.1 + n / 1000, 10.05) for n in range(1, 1001)]
    assert told.count(True) == 2


def test_a_foreign_claim_is_news_while_the_vip_is_here() -> None:
    """Otherwise it is only remembered; our own MAC claims nothing."""
    it = instance()
    assert not it.claim(claim(OWN_MAC, 9.0), 5.0, own_mac=True)
    assert it.heard.claimed_at is None
    assert not it.claim(claim(FOREIGN_MAC, 10.0), None, own_mac=False)
    assert it.heard.claimed_at == 10.0
    assert it.claim(claim(FOREIGN_MAC, 11.0), 10.5, own_mac=False)
    assert [it.claim(claim(FOREIGN_MAC, 11.0 + n / 1000), 10.5, own_mac=False) for n in range(1, 1001)].count(True) == 2
    assert it.claim(claim(FOREIGN_MAC, 12.003), 12.002, own_mac=False)  # the first since the VIP came anew


def test_a_virtual_routers_mac_is_foreign_unless_we_have_just_used_it() -> None:
    """With ``use_vmac`` both gateways have it; what comes back of our own claim is not the other one's."""
    it = instance()
    it.own_claim(claim(VIRTUAL_MAC, 10.0))
    for n in range(9):
        it.own_claim(claim(VIRTUAL_MAC, 10.0, b"%d" % n))
    assert not it.claim(claim(VIRTUAL_MAC, 10.001), 5.0, own_mac=True)
    assert it.claim(claim(VIRTUAL_MAC, 10.001, b"another"), 5.0, own_mac=True)
    assert it.claim(claim(VIRTUAL_MAC, 12.0), 5.0, own_mac=True)
    assert not it.claim(claim(bytes.fromhex("00005e000134"), 13.0), 5.0, own_mac=True)


def test_older_news_never_replaces_newer() -> None:
    """Two sockets are read one after the other, and a stamp may be corrected: times only grow."""
    it = instance()
    it.own_advert(150, 10.0)
    it.other_advert(OTHER, 10.0, None)
    it.claim(claim(FOREIGN_MAC, 10.0), None, own_mac=False)
    before = it.heard
    assert not it.own_advert(150, 9.0)
    assert not it.other_advert(OTHER, 9.0, 1.0)
    assert not it.claim(claim(FOREIGN_MAC, 9.0), 1.0, own_mac=False)
    assert it.heard == before


def test_what_was_heard_stays_known_under_other_settings() -> None:
    """A reload that changes the declared interval forgets nothing."""
    old, new = instance(), instance(advert_interval_s=0.2)
    old.own_advert(150, 10.0)
    old.other_advert(OTHER, 11.0, None)
    old.claim(claim(FOREIGN_MAC, 12.0), None, own_mac=False)
    new.continues(old)
    assert new.heard == old.heard


@pytest.mark.parametrize(("kind", "octet"), [("v3", 26), ("v2", 33), ("v3-unicast", 31), ("v6", 47)])
def test_a_wrong_checksum_does_not_count(kind: str, octet: int) -> None:
    """One bit."""
    packet, ethertype = recorded(kind)
    broken = bytearray(packet)
    broken[octet] ^= 0x10
    advert = read_advert(bytes(broken), ethertype)
    assert isinstance(advert, Advert)
    peers = (OTHER,) if "unicast" in kind else ()
    assert instance(unicast_peers=peers).refuses(advert, place(*HERE)) is Ignored.CHECKSUM
