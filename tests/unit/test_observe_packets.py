"""What the observer makes of a frame."""

import struct
from ipaddress import ip_address

import pytest

from tests.lab.observe.packets import (
    NUMBERED,
    NUMBERED_MAGIC,
    NUMBERED_PORT,
    Ah,
    Arp,
    Content,
    Esp,
    Fragment,
    Ike,
    Keepalive,
    Neighbour,
    Numbered,
    Other,
    Vrrp,
    read_packet,
)

VIP, PEER = "203.0.113.10", "203.0.113.20"
VIP6, PEER6 = "2001:db8:1::10", "2001:db8:1::20"
SPI_I, SPI_R = "1122334455667788", "8877665544332211"


def ethernet(payload: bytes, ether_type: int) -> bytes:
    """A frame from 02:..:01."""
    return bytes.fromhex("02000000ff02" + "020000000001") + struct.pack("!H", ether_type) + payload


def ipv4(protocol: int, payload: bytes, *, offset: int = 0) -> bytes:
    """An IPv4 packet with an option, so that the header's length has to be read."""
    head = struct.pack("!BBHHHBBH", 0x46, 0, 24 + len(payload), 1, offset, 64, protocol, 0)
    return ethernet(head + ip_address(VIP).packed + ip_address(PEER).packed + b"\x01" * 4 + payload, 0x0800)


def ipv6(protocol: int, payload: bytes) -> bytes:
    """An IPv6 packet."""
    head = struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64)
    return ethernet(head + ip_address(VIP6).packed + ip_address(PEER6).packed + payload, 0x86DD)


def udp(port: int, payload: bytes) -> bytes:
    """A UDP datagram."""
    return struct.pack("!HHHH", port, port, 8 + len(payload), 0) + payload


def ike(exchange: int, *, flags: int = 0x08, version: int = 0x20, following: int = 33) -> bytes:
    """An IKE header with message id 1, and the start of a fragment payload (number 2 of 3)."""
    spis = bytes.fromhex(SPI_I + SPI_R)
    fragment = struct.pack("!BBHHH", 0, 0, 8, 2, 3)
    return spis + struct.pack("!BBBBII", following, version, exchange, flags, 1, 28) + fragment


ESP_HEAD = bytes.fromhex("c0ffee01") + struct.pack("!I", 7) + b"payload"
NUMBERED_PAYLOAD = NUMBERED.pack(NUMBERED_MAGIC, 1, 3, 41, 99)
AUTH = Ike(SPI_I, SPI_R, 2, 35, 1, response=False, from_initiator=True)


@pytest.mark.parametrize(
    ("frame", "content"),
    [
        pytest.param(ipv4(17, udp(500, ike(35))), AUTH, id="IKE on 500"),
        pytest.param(ipv4(17, udp(4500, b"\0\0\0\0" + ike(35))), AUTH, id="IKE on 4500 behind its marker"),
        pytest.param(ipv6(17, udp(4500, b"\0\0\0\0" + ike(35))), AUTH, id="IKE over IPv6"),
        pytest.param(
            ipv4(17, udp(500, ike(34, flags=0x20))),
            Ike(SPI_I, SPI_R, 2, 34, 1, response=True, from_initiator=False),
            id="the responder's answer",
        ),
        pytest.param(
            ipv4(17, udp(500, ike(32, version=0x10))),
            Ike(SPI_I, SPI_R, 1, 32, 1, response=False, from_initiator=False),
            id="IKEv1 quick mode",
        ),
        pytest.param(
            ipv4(17, udp(500, ike(35, following=53))),
            Ike(SPI_I, SPI_R, 2, 35, 1, response=False, from_initiator=True, fragment=2),
            id="an IKE fragment",
        ),
        pytest.param(ipv4(17, udp(4500, ESP_HEAD)), Esp("c0ffee01", 7, in_udp=True), id="ESP in UDP"),
        pytest.param(ipv4(50, ESP_HEAD), Esp("c0ffee01", 7, in_udp=False), id="raw ESP"),
        pytest.param(ipv6(50, ESP_HEAD), Esp("c0ffee01", 7, in_udp=False), id="raw ESP over IPv6"),
        pytest.param(ipv4(51, b"\x32\x04\0\0" + ESP_HEAD), Ah("c0ffee01", 7), id="AH"),
        pytest.param(ipv4(17, udp(4500, b"\xff")), Keepalive(), id="NAT keepalive"),
        pytest.param(
            ipv4(112, bytes([0x31, 51, 150, 1, 0, 20, 0, 0]) + ip_address(VIP).packed),
            Vrrp(3, 51, 150, (VIP,)),
            id="VRRP 3",
        ),
        pytest.param(
            ipv6(112, bytes([0x31, 51, 0, 1, 0, 20, 0, 0]) + ip_address(VIP6).packed),
            Vrrp(3, 51, 0, (VIP6,)),
            id="VRRP 3 over IPv6, leaving",
        ),
        pytest.param(
            ipv4(112, bytes([0x21, 52, 100, 1, 0, 1, 0, 0]) + ip_address(VIP).packed + b"password"),
            Vrrp(2, 52, 100, (VIP,)),
            id="VRRP 2",
        ),
        pytest.param(
            ethernet(
                bytes.fromhex("0001080006040001" + "020000000001")
                + ip_address(VIP).packed
                + bytes(6)
                + ip_address(VIP).packed,
                0x0806,
            ),
            Arp(request=True, sender=VIP, sender_mac="02:00:00:00:00:01", target=VIP),
            id="gratuitous ARP",
        ),
        pytest.param(
            ipv6(58, bytes([136, 0, 0, 0, 0xA0, 0, 0, 0]) + ip_address(VIP6).packed), Neighbour(VIP6), id="NA"
        ),
        pytest.param(ipv4(17, udp(NUMBERED_PORT, NUMBERED_PAYLOAD)), Numbered(3, 41, 99, echo=True), id="numbered"),
        pytest.param(ipv4(17, b"\x00" * 20, offset=185), Fragment(17), id="a later fragment has no ports"),
        pytest.param(ipv6(44, b"\x11\x00\x00\xb8" + bytes(20)), Fragment(17), id="a later IPv6 fragment"),
        pytest.param(ipv6(0, b"\x32\x00" + bytes(6) + ESP_HEAD), Esp("c0ffee01", 7, in_udp=False), id="behind options"),
        pytest.param(ipv4(6, bytes(20)), Other(6), id="TCP"),
    ],
)
def test_a_frame_is_what_it_says(frame: bytes, content: Content) -> None:
    """Every kind of frame that a verdict rests on is told from every other."""
    packet = read_packet(frame, at=1.0, port="a-wan1", leaving=True)

    assert packet.content == content
    assert packet.mac == "02:00:00:00:00:01"


@pytest.mark.parametrize("cut", range(60))
def test_a_frame_cut_short_is_never_an_error(cut: int) -> None:
    """Whatever is missing of a frame, the judge goes on."""
    for frame in (ipv4(17, udp(500, ike(35))), ipv6(112, bytes([0x31, 51, 0, 9])), ipv6(58, bytes([136]))):
        read_packet(frame[:cut], at=1.0, port="a-wan1", leaving=True)


def test_only_ike_esp_and_ah_are_ipsec() -> None:
    """A NAT keepalive or an advert does not mean that a gateway runs a tunnel."""
    ipsec = [ipv4(17, udp(500, ike(37))), ipv4(50, ESP_HEAD), ipv4(51, b"\x32\x04\0\0" + ESP_HEAD)]
    others = [ipv4(17, udp(4500, b"\xff")), ipv4(112, bytes(8)), ipv4(17, udp(53, b"x"))]

    for frames, expected in ((ipsec, True), (others, False)):
        for frame in frames:
            assert read_packet(frame, at=1.0, port="a-wan1", leaving=True).is_ipsec is expected
