"""VRRP adverts (RFC 3768, RFC 5798) and what claims an address, decoded from packets that begin with the IP header.

Authentication data of version 2 is ignored: it never protected anything, and keepalived judges it for itself.
"""

import struct
from dataclasses import dataclass
from enum import StrEnum, unique
from ipaddress import IPv4Address, IPv6Address
from typing import Final, Literal

from swanherd.core.intent import IPAddress

VRRP: Final = 112
"""IP protocol number."""

AUTHENTICATION_HEADER: Final = 51
"""IP protocol number; keepalived's ``auth_type AH`` of version 2 puts one before the advert."""

TTL: Final = 255
"""What has crossed a router has less."""

GROUP_4: Final = IPv4Address("224.0.0.18")
GROUP_6: Final = IPv6Address("ff02::12")

ETHERTYPE_IPV4, ETHERTYPE_ARP, ETHERTYPE_IPV6 = 0x0800, 0x0806, 0x86DD

_ADVERTISEMENT = 1
_HEADER_BYTES: Final = {4: 20, 6: 40}
_HEADER = struct.Struct("!BBBB")
_AUTHENTICATION_BYTES = 8
_ADDRESS_BYTES: Final = {4: 4, 6: 16}
_VERSIONS: Final = {4: {2, 3}, 6: {3}}


@unique
class Ignored(StrEnum):
    """Why an advert changed nothing; the words are labels of a metric."""

    MALFORMED = "malformed"
    VERSION = "version"
    VRID = "vrid"
    FAMILY = "family"
    TTL = "ttl"
    OFF_LINK = "off-link"
    OWN_ADDRESS = "own-address"
    NOT_MULTICAST = "not-multicast"
    NOT_UNICAST = "not-unicast"
    NOT_A_PEER = "not-a-peer"
    NOT_FOR_US = "not-for-us"
    CHECKSUM = "checksum"
    PRIORITY_0 = "priority-0"


@dataclass(frozen=True, slots=True)
class Advert:
    """One advert. Its checksum has not been looked at (see `intact`)."""

    family: Literal[4, 6]
    version: int
    vrid: int
    priority: int
    """0: this router leaves."""
    ttl: int
    source: IPAddress
    destination: IPAddress
    body: bytes
    """The VRRP message; for IPv4 only its checksum is its own, see `header`."""
    header: bytes
    """The IPv4 header; empty for IPv6."""


def read_advert(packet: bytes, ethertype: int) -> Advert | Ignored:
    """Decode a packet that the filter let pass; the padding of short frames is cut off."""
    try:
        return _read_4(packet) if ethertype == ETHERTYPE_IPV4 else _read_6(packet)
    except (struct.error, IndexError):
        return Ignored.MALFORMED


def _read_4(packet: bytes) -> Advert | Ignored:
    # Taps come before the kernel's own checks: anything can be in here, and of any length.
    if len(packet) < _HEADER_BYTES[4]:
        return Ignored.MALFORMED
    header_bytes = (packet[0] & 0xF) * 4
    (total,) = struct.unpack_from("!H", packet, 2)
    at = header_bytes
    if packet[9] == AUTHENTICATION_HEADER:
        if packet[at] != VRRP:
            return Ignored.MALFORMED
        at += (packet[at + 1] + 2) * 4
    if header_bytes < _HEADER_BYTES[4] or total > len(packet):
        return Ignored.MALFORMED
    source, destination = IPv4Address(packet[12:16]), IPv4Address(packet[16:20])
    return _read_body(packet[at:total], 4, packet[8], source, destination, packet[:header_bytes])


def _read_6(packet: bytes) -> Advert | Ignored:
    if len(packet) < _HEADER_BYTES[6]:
        return Ignored.MALFORMED
    (payload,) = struct.unpack_from("!H", packet, 4)
    end = _HEADER_BYTES[6] + payload
    if end > len(packet):
        return Ignored.MALFORMED
    source, destination = IPv6Address(packet[8:24]), IPv6Address(packet[24:40])
    return _read_body(packet[_HEADER_BYTES[6] : end], 6, packet[7], source, destination, b"")


def _read_body(
    body: bytes, family: Literal[4, 6], ttl: int, source: IPAddress, destination: IPAddress, header: bytes
) -> Advert | Ignored:
    version_and_type, vrid, priority, addresses = _HEADER.unpack_from(body)
    version = version_and_type >> 4
    if version not in _VERSIONS[family]:
        return Ignored.VERSION
    expected = 8 + addresses * _ADDRESS_BYTES[family] + (_AUTHENTICATION_BYTES if version == 2 else 0)
    if version_and_type & 0xF != _ADVERTISEMENT or len(body) != expected:
        return Ignored.MALFORMED
    return Advert(family, version, vrid, priority, ttl, source, destination, body, header)


def intact(advert: Advert) -> bool:
    """Whether the checksums are right: version 3 has the pseudo header in it, version 2 has not.

    In unicast, keepalived takes (and with ``old_unicast_checksum`` sends) the multicast group in the pseudo header for
    right as well.
    """
    if advert.header and not _sums_up(advert.header):
        return False
    if advert.version == 2:
        return _sums_up(advert.body)
    destinations = [advert.destination]
    if advert.family == 4 and not advert.destination.is_multicast:
        destinations.append(GROUP_4)
    return any(_sums_up(_pseudo_header(advert, each) + advert.body) for each in destinations)


def _pseudo_header(advert: Advert, destination: IPAddress) -> bytes:
    length = len(advert.body)
    tail = struct.pack("!BBH", 0, VRRP, length) if advert.family == 4 else struct.pack("!II", length, VRRP)
    return advert.source.packed + destination.packed + tail


def _sums_up(data: bytes) -> bool:
    """Whether the Internet checksum (RFC 1071) of *data*, which includes it, is right.

    The one's complement sum of 16-bit words is the number modulo 65535; all zeros, which no packet is, would pass.
    """
    return int.from_bytes(data, "big") % 0xFFFF == 0


def claimed(packet: bytes, ethertype: int) -> IPAddress | None:
    """The address that an ARP packet's or a neighbour advertisement's sender says is its own.

    A question about an address (ARP with another sender address, a solicitation) claims nothing.
    """
    if ethertype == ETHERTYPE_ARP:
        return IPv4Address(packet[14:18]) if len(packet) >= 28 else None
    return IPv6Address(packet[48:64]) if len(packet) >= 64 else None


def is_claim(packet: bytes, ethertype: int) -> bool:
    """Whether a packet that the filter let pass is about neighbours, not an advert."""
    return ethertype == ETHERTYPE_ARP or (ethertype == ETHERTYPE_IPV6 and len(packet) > 6 and packet[6] != VRRP)
