"""Messages of NETLINK_XFRM, as far as finding and deleting states and policies needs them.

The layouts are of linux/xfrm.h. A listed state carries its keys: nothing but the fields below is ever taken from it.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from swanherd.core.intent import IPAddress

ERROR, DONE = 2, 3
"""NLMSG_ERROR, NLMSG_DONE."""
DUMP_INTERRUPTED: Final = 0x10
"""NLM_F_DUMP_INTR: something changed while the table was listed, so that a row may be missing."""
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300

_NEW_STATE, _DELETE_STATE, _GET_STATE = 0x10, 0x11, 0x12
_NEW_POLICY, _DELETE_POLICY, _GET_POLICY = 0x13, 0x14, 0x15
_TEMPLATES, _SOURCE, _MARK, _IF_ID = 5, 13, 21, 31
"""XFRMA_TMPL, XFRMA_SRCADDR, XFRMA_MARK, XFRMA_IF_ID."""
_INET: Final = 2
"""AF_INET; the other family here is AF_INET6."""

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_STATE_BYTES: Final = 224
"""sizeof(struct xfrm_usersa_info); the selector is its first 56, then come id, source, lifetimes, statistics."""
_POLICY_BYTES: Final = 168
"""sizeof(struct xfrm_userpolicy_info)."""
_TEMPLATE_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class State:
    """An SA of the kernel's."""

    source: IPAddress
    destination: IPAddress
    protocol: int
    """50 (ESP), 51 (AH), 108 (IPComp)."""
    spi: bytes
    if_id: int
    mark: bytes

    def deletion(self, sequence: int) -> bytes:
        """The request that deletes exactly this one."""
        family = _INET if self.destination.version == 4 else 10
        body = struct.pack("=16s4sHBx", self.destination.packed, self.spi, family, self.protocol)
        source = _attribute(_SOURCE, self.source.packed.ljust(16, b"\0"))
        return _frame(_DELETE_STATE, _ACK, sequence, body + source + _marked(self.mark))


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy of the kernel's that asks for IPsec."""

    ends: tuple[tuple[IPAddress, IPAddress], ...]
    """Source and destination of each of its templates; those of transport mode name none and are left out."""
    index: int
    direction: int
    """0 in, 1 out, 2 forward."""
    if_id: int
    mark: bytes

    def deletion(self, sequence: int) -> bytes:
        """The request that deletes exactly this one: an index is unique."""
        body = struct.pack("=56xIB3x", self.index, self.direction)
        if_id = _attribute(_IF_ID, struct.pack("=I", self.if_id)) if self.if_id else b""
        return _frame(_DELETE_POLICY, _ACK, sequence, body + if_id + _marked(self.mark))


@dataclass(frozen=True, slots=True)
class Reply:
    """One message of the kernel's."""

    kind: int
    flags: int
    sequence: int
    body: bytes

    @property
    def error(self) -> int:
        """The errno of an ERROR or DONE message; 0 says that all went well."""
        return -int.from_bytes(self.body[:4], "little", signed=True) if len(self.body) >= 4 else 0

    def parse(self) -> State | Policy | None:
        """What is listed; None for what is no IPsec between two addresses (a bypass, a socket's own policy)."""
        if self.kind == _NEW_STATE and len(self.body) >= _STATE_BYTES:
            return _state(self.body)
        if self.kind == _NEW_POLICY and len(self.body) >= _POLICY_BYTES:
            return _policy(self.body)
        return None


def listing(*, policies: bool, sequence: int) -> bytes:
    """The request that lists all states, or all policies."""
    kind = _GET_POLICY if policies else _GET_STATE
    # The kernel wants the header of the kind's own message, and reads nothing of it.
    return _frame(kind, _DUMP, sequence, bytes(64 if policies else 24))


def replies(datagram: bytes) -> Iterator[Reply]:
    """The messages in one datagram."""
    offset = 0
    while offset + _HEADER.size <= len(datagram):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(datagram, offset)
        if length < _HEADER.size:
            return
        yield Reply(kind, flags, sequence, datagram[offset + _HEADER.size : offset + length])
        offset += (length + 3) & ~3


def _state(body: bytes) -> State:
    family = struct.unpack_from("=H", body, 212)[0]
    attributes = dict(_attributes(body[_STATE_BYTES:]))
    return State(
        source=_address(body[80:96], family),
        destination=_address(body[56:72], family),
        protocol=body[76],
        spi=body[72:76],
        if_id=_number(attributes.get(_IF_ID)),
        mark=attributes.get(_MARK, b""),
    )


def _policy(body: bytes) -> Policy | None:
    attributes = dict(_attributes(body[_POLICY_BYTES:]))
    index, direction = struct.unpack_from("=IB", body, 156)
    ends = tuple(_template_ends(attributes.get(_TEMPLATES, b"")))
    if direction > 2 or not ends:
        return None
    return Policy(ends, index, direction, _number(attributes.get(_IF_ID)), attributes.get(_MARK, b""))


def _template_ends(templates: bytes) -> Iterator[tuple[IPAddress, IPAddress]]:
    for offset in range(0, len(templates) - _TEMPLATE_BYTES + 1, _TEMPLATE_BYTES):
        family = struct.unpack_from("=H", templates, offset + 24)[0]
        source = _address(templates[offset + 28 : offset + 44], family)
        destination = _address(templates[offset : offset + 16], family)
        if not (source.is_unspecified or destination.is_unspecified):
            yield source, destination


def _address(raw: bytes, family: int) -> IPAddress:
    return IPv4Address(raw[:4]) if family == _INET else IPv6Address(raw)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size:
            return
        yield kind, data[offset + _ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value.ljust((len(value) + 3) & ~3, b"\0")


def _marked(mark: bytes) -> bytes:
    return _attribute(_MARK, mark) if mark else b""


def _number(value: bytes | None) -> int:
    return struct.unpack("=I", value)[0] if value is not None and len(value) == 4 else 0


def _frame(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | flags, sequence, 0) + body
