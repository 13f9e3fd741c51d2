"""nfnetlink on the wire, as much of it as our tables need: attributes and messages.

Numbers and layouts are those of the kernel's UAPI headers ``linux/netlink.h``, ``linux/netfilter/nfnetlink.h`` and
``linux/netfilter/nf_tables.h``: the outer header in the machine's byte order, everything inside in network order.
"""

import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

SUBSYSTEM: Final = 10
"""NFNL_SUBSYS_NFTABLES: the upper byte of a message's type."""
BATCH_BEGIN: Final = 16
BATCH_END: Final = 17
ERROR: Final = 2
DONE: Final = 3

INET: Final = 1
"""NFPROTO_INET: a table for IPv4 and IPv6."""
ARP: Final = 3
"""NFPROTO_ARP."""

REQUEST: Final = 0x1
ACK: Final = 0x4
DUMP_INTERRUPTED: Final = 0x10
DUMP: Final = 0x300
CREATE: Final = 0x400
APPEND: Final = 0x800

_HEADER = struct.Struct("=IHHII")
_FAMILY = struct.Struct("!BBH")
_ATTRIBUTE = struct.Struct("=HH")
_TYPE_MASK: Final = 0x3FFF
"""Without NLA_F_NESTED and NLA_F_NET_BYTEORDER."""


class Message(IntEnum):
    """NFT_MSG_*: what a message is about."""

    NEWTABLE = 0
    GETTABLE = 1
    DELTABLE = 2
    NEWCHAIN = 3
    GETCHAIN = 4
    NEWRULE = 6
    GETRULE = 7
    DELRULE = 8
    NEWSET = 9
    GETSET = 10
    NEWSETELEM = 12
    GETSETELEM = 13
    DELSETELEM = 14
    NEWGEN = 15
    GETGEN = 16
    NEWOBJ = 18
    GETOBJ = 19


def attribute(kind: int, value: bytes | str | int) -> bytes:
    """Encode one attribute: text gets its NUL, a number is 32 bits in network order, bytes go as they are."""
    if isinstance(value, str):
        value = value.encode() + b"\0"
    elif isinstance(value, int):
        value = value.to_bytes(4)
    return _ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def nest(kind: int, *parts: bytes) -> bytes:
    """Encode an attribute that holds attributes; without NLA_F_NESTED, as nf_tables dumps them too."""
    return attribute(kind, b"".join(parts))


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes in *data*, in their order."""
    at = 0
    while at + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            return
        yield kind & _TYPE_MASK, data[at + 4 : at + length]
        at += length + (-length % 4)


def text(value: bytes) -> str:
    """A NUL-terminated attribute as text."""
    return value.rstrip(b"\0").decode(errors="replace")


@dataclass(frozen=True, slots=True)
class Request:
    """A message to the kernel."""

    message: Message
    body: bytes = b""
    flags: int = 0
    family: int = INET
    """Of the table that it is about."""

    def encode(self, sequence: int, extra_flags: int = 0) -> bytes:
        """The message in bytes."""
        data = _FAMILY.pack(self.family, 0, 0) + self.body
        kind = SUBSYSTEM << 8 | self.message
        return _HEADER.pack(_HEADER.size + len(data), kind, REQUEST | self.flags | extra_flags, sequence, 0) + data


@dataclass(frozen=True, slots=True)
class Reply:
    """One netlink message from the kernel."""

    kind: int
    flags: int
    sequence: int
    payload: bytes

    @property
    def message(self) -> int:
        """The nf_tables message, or -1 for anything else."""
        return self.kind & 0xFF if self.kind >> 8 == SUBSYSTEM else -1

    @property
    def family(self) -> int:
        """The protocol family that it is about."""
        return self.payload[0] if self.payload else 0

    @property
    def error(self) -> int:
        """The errno in an ERROR message; 0 is an acknowledgement."""
        return -int.from_bytes(self.payload[:4], sys.byteorder, signed=True)

    def attributes(self) -> Iterator[tuple[int, bytes]]:
        """Its attributes, which follow the family header."""
        return attributes(self.payload[_FAMILY.size :])


def frame(kind: int, sequence: int, body: bytes = b"") -> bytes:
    """The message that begins or ends a batch for nf_tables."""
    data = _FAMILY.pack(0, 0, SUBSYSTEM) + body
    return _HEADER.pack(_HEADER.size + len(data), kind, REQUEST, sequence, 0) + data


def replies(datagram: bytes) -> Iterator[Reply]:
    """The messages in one datagram."""
    at = 0
    while at + _HEADER.size <= len(datagram):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(datagram, at)
        if length < _HEADER.size:
            return
        yield Reply(kind, flags, sequence, datagram[at + _HEADER.size : at + length])
        at += length + (-length % 4)
