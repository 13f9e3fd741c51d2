"""Adverts and claims that no keepalived sent, put on the cable by the other gateway; an encoder of its own."""

import socket
import struct
from dataclasses import dataclass
from ipaddress import ip_address

from tests.component.vrrp.gateways import VRID
from tests.lab.namespaces import socket_in

MAC = bytes.fromhex("0200c0ffee03")
_GROUPS = {4: "224.0.0.18", 6: "ff02::12"}
_GROUP_MACS = {4: bytes.fromhex("01005e000012"), 6: bytes.fromhex("333300000012")}


def _sum(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Forged:
    """An advert, right in everything that is not said."""

    family: int = 4
    version: int = 3
    vrid: int = VRID
    priority: int = 250
    ttl: int = 255
    source: str = ""
    destination: str = ""
    checksum: int = 0
    """Added to the right one."""
    header_checksum: int = 0
    kind: int = 1
    count: int = 1

    def packet(self) -> bytes:
        """From the IP header on."""
        source = ip_address(self.source or ("203.0.113.3" if self.family == 4 else "fe80::3")).packed
        destination = ip_address(self.destination or _GROUPS[self.family]).packed
        vip = ip_address("203.0.113.10" if self.family == 4 else "fe80::10").packed
        interval, tail = (10, b"") if self.version == 3 else (1, bytes(8))
        head = struct.pack("!BBBBH", self.version << 4 | self.kind, self.vrid, self.priority, self.count, interval)
        rest = vip + tail
        length = len(head) + 2 + len(rest)
        pseudo = b""
        if self.family == 6:
            pseudo = source + destination + struct.pack("!II", length, 112)
        elif self.version == 3:
            pseudo = source + destination + struct.pack("!BBH", 0, 112, length)
        checksum = (_sum(pseudo + head + b"\0\0" + rest) + self.checksum) & 0xFFFF
        body = head + struct.pack("!H", checksum) + rest
        if self.family == 6:
            return struct.pack("!IHBB", 6 << 28, length, 112, self.ttl) + source + destination + body
        start = struct.pack("!BBHHHBB", 0x45, 0xC0, 20 + length, 1, 0, self.ttl, 112)
        ip_sum = (_sum(start + b"\0\0" + source + destination) + self.header_checksum) & 0xFFFF
        return start + struct.pack("!H", ip_sum) + source + destination + body


def arp(sender: str, target: str, *, operation: int = 2, mac: bytes = MAC) -> bytes:
    """An ARP packet."""
    head = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
    return head + mac + ip_address(sender).packed + bytes(6) + ip_address(target).packed


def advertisement(target: str, *, kind: int = 136, mac: bytes = MAC) -> bytes:
    """A neighbour advertisement of *target* to all nodes (or another ICMPv6 message with such a target)."""
    source, everybody = ip_address("fe80::3").packed, ip_address("ff02::1").packed
    body = struct.pack("!BBHI", kind, 0, 0, 0x20000000) + ip_address(target).packed + b"\2\1" + mac
    pseudo = source + everybody + struct.pack("!II", len(body), 58)
    body = body[:2] + struct.pack("!H", _sum(pseudo + body)) + body[4:]
    return struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + source + everybody + body


def frame(packet: bytes, *, mac: bytes = MAC, vlan: int | None = None) -> bytes:
    """*packet* as an Ethernet frame to VRRP's group (or everybody), padded to the minimum."""
    version = packet[0] >> 4
    if version in _GROUP_MACS:
        to, ethertype = _GROUP_MACS[version], 0x0800 if version == 4 else 0x86DD
    else:
        to, ethertype = b"\xff" * 6, 0x0806
    tag = b"" if vlan is None else struct.pack("!HH", 0x8100, vlan)
    return (to + mac + tag + struct.pack("!H", ethertype) + packet).ljust(60, b"\0")


class Forger:
    """Sends frames from the other gateway's *device*."""

    def __init__(self, netns: str, *, device: str = "wan") -> None:
        self._sock = socket_in(f"/run/netns/{netns}", socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._sock.bind((device, 0))

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()

    def send(self, packet: bytes, *, mac: bytes = MAC, vlan: int | None = None) -> None:
        """Put one packet on the cable."""
        self._sock.send(frame(packet, mac=mac, vlan=vlan))
