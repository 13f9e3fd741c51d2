"""What the kernel gives to the listener's sockets (classic BPF), so that traffic never wakes the agent.

Packets begin with the network header, on devices of any kind. Source: Documentation/networking/filter.rst,
linux/filter.h.
"""

import ctypes
import socket
import struct
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from swanherd.core.intent import IPAddress
from swanherd.world.vrrp.adverts import AUTHENTICATION_HEADER, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, VRRP

MOST_CLAIMS: Final = 300
"""So many addresses fit into a program (4096 instructions, nine for an IPv6 address); of more, claims are not heard."""

_Instruction = tuple[int, int, int, int]

_LOAD_WORD, _LOAD_HALF, _LOAD_BYTE = 0x20, 0x28, 0x30
_LOAD_X_HEADER_LENGTH, _LOAD_BYTE_AT_X = 0xB1, 0x50
_AND, _JUMP, _IF_EQUAL, _IF_SET, _GIVE = 0x54, 0x05, 0x15, 0x45, 0x06
_ANCILLARY: Final = 0xFFFFF000
_PROTOCOL, _PACKET_TYPE, _VLAN_TAG = _ANCILLARY, _ANCILLARY + 4, _ANCILLARY + 44
_SO_ATTACH_FILTER: Final = 26

_PASS: Final[_Instruction] = (_GIVE, 0, 0, 0xFFFF)
_REJECT: Final[_Instruction] = (_GIVE, 0, 0, 0)
_ICMPV6, _NEIGHBOUR_ADVERTISEMENT = 58, 136


def program(vips: Iterable[IPAddress], *, outgoing: bool) -> bytes:
    """Adverts, and claims (ARP, neighbour advertisements) of *vips*, in one direction, as ``struct sock_filter[]``.

    Frames of other VLANs are rejected: a socket on the device below a VLAN device sees them too, without their tag.
    """
    known = list(vips)[:MOST_CLAIMS]
    of_4 = [int(vip) for vip in known if isinstance(vip, IPv4Address)]
    of_6 = [vip for vip in known if isinstance(vip, IPv6Address)]
    lines: list[_Instruction] = [
        (_LOAD_WORD, 0, 0, _VLAN_TAG),
        (_AND, 0, 0, 0xFFF),
        (_IF_EQUAL, 1, 0, 0),
        _REJECT,
        (_LOAD_WORD, 0, 0, _PACKET_TYPE),
        (_IF_EQUAL, int(outgoing), int(not outgoing), socket.PACKET_OUTGOING),
        _REJECT,
        (_LOAD_WORD, 0, 0, _PROTOCOL),
    ]
    for ethertype, block in ((ETHERTYPE_ARP, _arp(of_4)), (ETHERTYPE_IPV4, _ipv4()), (ETHERTYPE_IPV6, _ipv6(of_6))):
        # Conditional jumps reach 255 instructions, unconditional ones any number.
        lines += [(_IF_EQUAL, 1, 0, ethertype), (_JUMP, 0, 0, len(block)), *block]
    lines.append(_REJECT)
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


def attach(sock: socket.socket, code: bytes) -> None:
    """Filter from here on, in place of any older filter, with no moment without one."""
    instructions = ctypes.create_string_buffer(code, len(code))
    argument = struct.pack("@HP", len(code) // 8, ctypes.addressof(instructions))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, argument)


def _arp(vips: list[int]) -> list[_Instruction]:
    """Who has one of *vips* as its sender address."""
    return [(_LOAD_WORD, 0, 0, 14), *(each for vip in vips for each in ((_IF_EQUAL, 0, 1, vip), _PASS)), _REJECT]


def _ipv4() -> list[_Instruction]:
    return [
        (_LOAD_HALF, 0, 0, 6),
        (_IF_SET, 0, 1, 0x1FFF),  # a later fragment
        _REJECT,
        (_LOAD_BYTE, 0, 0, 9),
        (_IF_EQUAL, 0, 1, VRRP),
        _PASS,
        (_IF_EQUAL, 1, 0, AUTHENTICATION_HEADER),
        _REJECT,
        (_LOAD_X_HEADER_LENGTH, 0, 0, 0),
        (_LOAD_BYTE_AT_X, 0, 0, 0),
        (_IF_EQUAL, 0, 1, VRRP),
        _PASS,
        _REJECT,
    ]


def _ipv6(vips: list[IPv6Address]) -> list[_Instruction]:
    lines: list[_Instruction] = [
        (_LOAD_BYTE, 0, 0, 6),
        (_IF_EQUAL, 0, 1, VRRP),
        _PASS,
        (_IF_EQUAL, 1, 0, _ICMPV6),
        _REJECT,
        (_LOAD_BYTE, 0, 0, 40),
        (_IF_EQUAL, 1, 0, _NEIGHBOUR_ADVERTISEMENT),
        _REJECT,
    ]
    for vip in vips:
        for number, word in enumerate(struct.unpack("!4I", vip.packed)):
            to_next_vip = 1 + 2 * (3 - number)
            lines += [(_LOAD_WORD, 0, 0, 48 + 4 * number), (_IF_EQUAL, 0, to_next_vip, word)]
        lines.append(_PASS)
    return [*lines, _REJECT]
