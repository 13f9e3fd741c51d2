"""The kernel's filter for a capture: what the judge needs of a port, and only the head of it (classic BPF).

Kept are IKE, ESP, AH, VRRP, ARP, neighbour advertisements, the numbered traffic, and whatever travels from or to one of
the inner networks: on a WAN port that is a leak. The kernel drops the rest, so a busy test costs the judge nothing.
Source: Documentation/networking/filter.rst, linux/filter.h.
"""

import ctypes
import socket
import struct
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network

from tests.lab.observe.packets import IKE_NAT_PORT, IKE_PORT, NUMBERED_PORT

HEAD_BYTES = 192
"""Octets kept of each frame: Ethernet, IPv6 with an extension header, UDP and an IKE header need 130."""

_SO_ATTACH_FILTER = 26
"""asm-generic/socket.h; the socket module has no name for it."""

Network = IPv4Network | IPv6Network

_LOAD_WORD, _LOAD_HALF, _LOAD_BYTE = 0x20, 0x28, 0x30
_LOAD_HALF_AT_X, _LOAD_X_HEADER_LENGTH = 0x48, 0xB1
_AND, _RETURN = 0x54, 0x06
_JUMP, _JUMP_EQUAL, _JUMP_SET = 0x05, 0x15, 0x45
_IPSEC_AND_VRRP = (50, 51, 112)
_UDP, _ICMPV6, _NEIGHBOUR_ADVERTISEMENT = 17, 58, 136
_EXTENSIONS_V6 = (0, 43, 44, 60)


class _Program:
    """A program with forward labels; every jump goes to a label or falls through."""

    def __init__(self) -> None:
        self._lines: list[tuple[int, str | None, str | None, int]] = []
        self._labels: dict[str, int] = {}

    def label(self, name: str) -> None:
        self._labels[name] = len(self._lines)

    def do(self, code: int, k: int = 0) -> None:
        self._lines.append((code, None, None, k))

    def jump_if(self, values: Iterable[int], to: str, *, code: int = _JUMP_EQUAL) -> None:
        for value in values:
            self._lines.append((code, to, None, value))

    def jump_unless(self, value: int, to: str) -> None:
        self._lines.append((_JUMP_EQUAL, None, to, value))

    def jump(self, to: str) -> None:
        self._lines.append((_JUMP, to, None, 0))

    def assemble(self) -> bytes:
        """Resolve the labels; conditional jumps reach 255 lines, which `struct` checks."""
        code = bytearray()
        for line, (operation, true, false, k) in enumerate(self._lines):
            over_true = self._labels[true] - line - 1 if true else 0
            over_false = self._labels[false] - line - 1 if false else 0
            if operation == _JUMP:
                code += struct.pack("=HBBI", operation, 0, 0, over_true)
            else:
                code += struct.pack("=HBBI", operation, over_true, over_false, k)
        return bytes(code)


def judge_filter(inner: Iterable[Network] = ()) -> bytes:
    """Return the program, as an array of `struct sock_filter`, for frames that start with an Ethernet header."""
    networks = tuple(inner)
    program = _Program()
    program.do(_LOAD_HALF, 12)
    program.jump_if([0x0806], "accept")
    program.jump_if([0x0800], "ipv4")
    program.jump_if([0x86DD], "ipv6")
    program.jump("reject")
    _ipv4(program, [network for network in networks if isinstance(network, IPv4Network)])
    _ipv6(program, [network for network in networks if isinstance(network, IPv6Network)])
    program.label("accept")
    program.do(_RETURN, HEAD_BYTES)
    program.label("reject")
    program.do(_RETURN, 0)
    return program.assemble()


def _ipv4(program: _Program, networks: list[IPv4Network]) -> None:
    program.label("ipv4")
    program.do(_LOAD_BYTE, 23)
    program.jump_if(_IPSEC_AND_VRRP, "accept")
    program.jump_unless(_UDP, "inner4")
    program.do(_LOAD_HALF, 20)
    program.jump_if([0x1FFF], "accept", code=_JUMP_SET)  # a later fragment: its ports are elsewhere
    program.do(_LOAD_X_HEADER_LENGTH, 14)
    for offset in (14, 16):
        program.do(_LOAD_HALF_AT_X, offset)
        program.jump_if((IKE_PORT, IKE_NAT_PORT, NUMBERED_PORT), "accept")
    program.label("inner4")
    for network in networks:
        for offset in (26, 30):
            program.do(_LOAD_WORD, offset)
            program.do(_AND, int(network.netmask))
            program.jump_if([int(network.network_address)], "accept")
    program.jump("reject")


def _ipv6(program: _Program, networks: list[IPv6Network]) -> None:
    program.label("ipv6")
    program.do(_LOAD_BYTE, 20)
    program.jump_if((*_IPSEC_AND_VRRP, *_EXTENSIONS_V6), "accept")
    program.jump_if([_ICMPV6], "icmpv6")
    program.jump_unless(_UDP, "inner6")
    for offset in (54, 56):
        program.do(_LOAD_HALF, offset)
        program.jump_if((IKE_PORT, IKE_NAT_PORT, NUMBERED_PORT), "accept")
    program.jump("inner6")
    program.label("icmpv6")
    program.do(_LOAD_BYTE, 54)
    program.jump_if([_NEIGHBOUR_ADVERTISEMENT], "accept")
    program.label("inner6")
    for network in networks:
        for start in (22, 38):
            other = f"not {network} at {start}"
            for word in range((network.prefixlen + 31) // 32):
                shift = 96 - 32 * word
                program.do(_LOAD_WORD, start + 4 * word)
                program.do(_AND, int(network.netmask) >> shift & 0xFFFFFFFF)
                program.jump_unless(int(network.network_address) >> shift & 0xFFFFFFFF, other)
            program.jump("accept")
            program.label(other)
    program.jump("reject")


def attach(sock: socket.socket, program: bytes) -> None:
    """Filter what the socket receives from here on; attach before `bind`, so that nothing unfiltered is queued."""
    lines = ctypes.create_string_buffer(program, len(program))
    fprog = struct.pack("@HP", len(program) // 8, ctypes.addressof(lines))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)
