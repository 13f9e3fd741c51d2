"""Tells the neighbours at once where a VIP is now, before the first IKE packet leaves from it.

keepalived does so too, but after it has added the address: measured 0.1 to 17 ms later, and swanherd's first packet is
out after 2 to 10 ms. Where that packet came first, the peer (or the router before it) still knew the VIP at the dead
gateway's MAC; its answer was lost, and charon's first retransmission comes after four seconds.
"""

import fcntl
import socket
import struct
from typing import Final

from swanherd.core.intent import IPAddress

_SIOCGIFHWADDR: Final = 0x8927
_ARPHRD_ETHER: Final = 1
_ETH_ARP: Final = 0x0806
_ETH_IPV6: Final = 0x86DD
_ARP_REPLY: Final = 2
_BROADCAST: Final = b"\xff" * 6
_ALL_NODES_MAC: Final = bytes.fromhex("333300000001")
_ALL_NODES: Final = socket.inet_pton(socket.AF_INET6, "ff02::1")
_NEIGHBOUR_ADVERTISEMENT: Final = 136
_ROUTER_AND_OVERRIDE: Final = 0xA0000000
"""RFC 4861: the sender is a router, and what is cached is to be replaced; not solicited."""


class Announcer:
    """Sends gratuitous ARP and unsolicited neighbour advertisements; needs CAP_NET_RAW, and does without it silently.

    Only to be asked about addresses that this gateway rightfully holds.
    """

    def __init__(self) -> None:
        self.trouble = ""
        """Why nothing can be announced, for people; empty: it can."""
        self._socket: socket.socket | None = None
        try:
            # Protocol 0: nothing is received.
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
            self._socket.setblocking(False)
        except PermissionError:
            self.trouble = "no CAP_NET_RAW: a takeover may have to wait for keepalived's own announcement"

    def announce(self, address: IPAddress, device: str) -> bool:
        """Say that *address* is at *device*'s MAC; whether it was sent. Takes about 20 us, waits for nothing."""
        if self._socket is None:
            return False
        try:
            mac = _mac(self._socket, device)
            if mac is None:
                return False
            self._socket.sendto(announcement(address, mac), (device, 0))
        except OSError:
            # The device has gone, or its queue is full: keepalived announces as well.
            return False
        return True

    def close(self) -> None:
        """Let the socket go."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def announcement(address: IPAddress, mac: bytes) -> bytes:
    """The Ethernet frame: an ARP reply that nobody has asked for, or an advertisement to all nodes.

    keepalived announces by requests. The old master's kernel, as long as the address stays behind there, answers them;
    with ``use_vmac`` (and the ``accept_local`` that comes with it) it does so with the MAC that both have, and switches
    then send there what is for the new one: seen in 2 of 10 takeovers, each 4 s long.
    """
    if address.version == 4:
        # Linux takes a reply for an announcement only where both hardware addresses are the sender's (arp_is_garp).
        arp = struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, _ARP_REPLY, mac, address.packed, mac, address.packed)
        return _BROADCAST + mac + struct.pack("!H", _ETH_ARP) + arp
    option = struct.pack("!BB6s", 2, 1, mac)  # target link-layer address
    body = struct.pack("!BBHI", _NEIGHBOUR_ADVERTISEMENT, 0, 0, _ROUTER_AND_OVERRIDE) + address.packed + option
    pseudo = address.packed + _ALL_NODES + struct.pack("!II", len(body), socket.IPPROTO_ICMPV6)
    body = body[:2] + struct.pack("!H", _checksum(pseudo + body)) + body[4:]
    header = struct.pack("!IHBB", 0x60000000, len(body), socket.IPPROTO_ICMPV6, 255) + address.packed + _ALL_NODES
    return _ALL_NODES_MAC + mac + struct.pack("!H", _ETH_IPV6) + header + body


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def _mac(sock: socket.socket, device: str) -> bytes | None:
    """The device's MAC; None if it is no Ethernet."""
    answer = fcntl.ioctl(sock, _SIOCGIFHWADDR, struct.pack("16s24x", device.encode()[:15]))
    kind, mac = struct.unpack_from("=16xH6s", answer)
    return bytes(mac) if kind == _ARPHRD_ETHER else None
