"""Expressions of rules, as the kernel spells them: attribute numbers are those of nf_tables.h."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from swanherd.world.firewall.codec import attribute, attributes, nest, text

DEVICE_OUT, PROTOCOL_FAMILY, PROTOCOL = 7, 15, 16
"""What ``meta`` loads: NFT_META_OIFNAME, NFT_META_NFPROTO, NFT_META_L4PROTO."""
NETWORK_HEADER, TRANSPORT_HEADER = 1, 2
"""NFT_PAYLOAD_NETWORK_HEADER, NFT_PAYLOAD_TRANSPORT_HEADER."""

_REGISTER_1: Final = 1
EQUAL, UNEQUAL, AT_MOST, AT_LEAST = 0, 1, 3, 5
"""How ``cmp`` compares: NFT_CMP_EQ, NEQ, LTE, GTE."""
_IPSEC: Final = 4
"""NFT_RT_XFRM: whether the packet's route goes through IPsec."""
_FRAGMENT_HEADER: Final = 44
_LOCAL: Final = 2
"""RTN_LOCAL, which the fib expression gives in the machine's byte order."""
_FIB_ADDRESS_TYPE, _FIB_SOURCE = 3, 1
_INVERTED: Final = 1
"""NFT_LOOKUP_F_INV."""
_COUNTER: Final = 1
"""NFT_OBJECT_COUNTER."""
_DROP, _ACCEPT, _GOTO = 0, 1, 0xFFFFFFFC


@dataclass(frozen=True, slots=True)
class Expression:
    """One expression of a rule: attributes by number, encoded."""

    name: str
    values: tuple[tuple[int, bytes], ...]
    """Number and whole encoded attribute."""


def _expression(name: str, *values: bytes | str | int | None) -> Expression:
    """An expression whose attributes are numbered from 1 in the order of *values*; None leaves one out."""
    encoded = ((kind, attribute(kind, value)) for kind, value in enumerate(values, 1) if value is not None)
    return Expression(name, tuple((kind, value) for kind, value in encoded))


def _verdict(code: int, chain: str | None = None) -> Expression:
    parts = [attribute(1, code)] + ([attribute(2, chain)] if chain else [])
    return _expression("immediate", 0, nest(2, *parts))  # NFTA_DATA_VERDICT into the verdict register


def compare(operator: int, value: bytes) -> Expression:
    """What was loaded is to *value* as *operator* says."""
    return _expression("cmp", _REGISTER_1, operator, attribute(1, value))  # NFTA_DATA_VALUE


def meta(key: int, value: int | bytes) -> tuple[Expression, ...]:
    """The packet's DEVICE_OUT, PROTOCOL_FAMILY or PROTOCOL is *value*."""
    return _expression("meta", _REGISTER_1, key), compare(EQUAL, bytes([value]) if isinstance(value, int) else value)


def load(base: int, at: int, size: int, register: int = _REGISTER_1) -> Expression:
    """Take *size* bytes at *at* of a header into a register."""
    return _expression("payload", register, base, at, size)


def equal(value: bytes) -> Expression:
    """What was loaded is *value*."""
    return compare(EQUAL, value)


def masked(mask: bytes) -> Expression:
    """Keep the bits of *mask* of what was loaded."""
    return _expression(
        "bitwise", _REGISTER_1, _REGISTER_1, len(mask), attribute(1, mask), attribute(1, bytes(len(mask)))
    )


def fragment_header(at: int, size: int) -> Expression:
    """Take *size* bytes at *at* of the packet's IPv6 fragment header."""
    return _expression("exthdr", _REGISTER_1, bytes([_FRAGMENT_HEADER]), at, size)


def by_ipsec() -> tuple[Expression, ...]:
    """The packet's route goes through IPsec: it will leave encrypted, or not at all."""
    return _expression("rt", _REGISTER_1, _IPSEC), compare(EQUAL, b"\x01")


def in_set(name: str) -> Expression:
    """What was loaded is in the set *name*."""
    return _expression("lookup", name, _REGISTER_1, None, None, 0)


def not_in_set(name: str) -> Expression:
    """What was loaded is not in the set *name*."""
    return _expression("lookup", name, _REGISTER_1, None, None, _INVERTED)


def loaded_meta(key: int) -> Expression:
    """Take the packet's DEVICE_OUT, PROTOCOL_FAMILY or PROTOCOL, to look it up."""
    return _expression("meta", _REGISTER_1, key)


def in_own_set(name: str, number: int) -> tuple[Expression, ...]:
    """What was loaded is in the set without a name that is *number* in this transaction."""
    return (_expression("lookup", name, _REGISTER_1, None, number, 0),)


def not_in_own_set(name: str, number: int | None = None) -> tuple[Expression, ...]:
    """What was loaded is not in a set without a name: *number* in its transaction, later the kernel has named it."""
    return (_expression("lookup", name, _REGISTER_1, None, number, _INVERTED),)


def source_is_not_local() -> tuple[Expression, ...]:
    """The packet's source is no address of this host."""
    return (
        _expression("fib", _REGISTER_1, _FIB_ADDRESS_TYPE, _FIB_SOURCE),
        compare(UNEQUAL, _LOCAL.to_bytes(4, sys.byteorder)),
    )


def go_to(chain: str) -> Expression:
    """Go on in *chain*, and do not come back."""
    return _verdict(_GOTO, chain)


def accept() -> Expression:
    """Let it pass this hook of ours; others' chains may still drop it."""
    return _verdict(_ACCEPT)


def stop(counter: str) -> tuple[Expression, ...]:
    """Count and drop."""
    return _expression("objref", _COUNTER, counter), _verdict(_DROP)


_LIST_ITEM: Final = 1
"""NFTA_LIST_ELEM."""


def encoded(expressions: Iterable[Expression]) -> bytes:
    """*expressions* as a rule has them."""
    return b"".join(
        nest(_LIST_ITEM, attribute(1, item.name), nest(2, *(value for _, value in item.values))) for item in expressions
    )


def expressions_of(listed: bytes) -> Iterator[tuple[str, dict[int, bytes]]]:
    """Each expression of a rule as the kernel lists it: its name, and its attributes.

    A ``range`` is told as the two comparisons that we send for it: nft from 1.1 on makes one of them where it loads a
    listing of ours.
    """
    for _, expression in attributes(listed):
        parts = dict(attributes(expression))
        name, values = text(parts.get(1, b"")), dict(attributes(parts.get(2, b"")))
        if name == "range" and int.from_bytes(values[2]) == EQUAL:
            for operator, value in ((AT_LEAST, values[3]), (AT_MOST, values[4])):
                yield "cmp", {1: values[1], 2: operator.to_bytes(4), 3: value}
        else:
            yield name, values


def same(listed: bytes, expressions: Sequence[Expression]) -> bool:
    """Whether the kernel lists *expressions*.

    It may tell more of one than it was given (newer kernels do), never something else.
    """
    found = list(expressions_of(listed))
    return len(found) == len(expressions) and all(
        name == item.name and all(_encoded(values, kind) == value for kind, value in item.values)
        for (name, values), item in zip(found, expressions, strict=True)
    )


def _encoded(values: dict[int, bytes], kind: int) -> bytes | None:
    return attribute(kind, values[kind]) if kind in values else None
