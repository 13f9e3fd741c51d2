"""How the observer reads what kernels say of addresses."""

import struct

import pytest

from tests.lab.observe.holders import AddressEvent, read_events


def message(kind: int, body: bytes) -> bytes:
    """A netlink message, padded."""
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body + bytes(-len(body) % 4)


def address_body(*attributes: tuple[int, bytes]) -> bytes:
    """An ifaddrmsg with its attributes."""
    encoded = b"".join(
        struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4) for kind, value in attributes
    )
    return struct.pack("=BBBBI", 2, 32, 0, 0, 3) + encoded


LABEL = (3, b"wan1\0")
LOCAL, FAR = (2, bytes([203, 0, 113, 10])), (1, bytes([192, 0, 2, 1]))


def test_several_messages_of_one_read_are_all_read() -> None:
    """The local address counts, not the far end of a point-to-point link; other messages are passed over."""
    data = (
        message(20, address_body(FAR, LABEL, LOCAL))
        + message(16, b"a link")
        + message(21, address_body((1, bytes.fromhex("20010db8000100000000000000000010"))))
    )

    assert list(read_events(data)) == [AddressEvent("203.0.113.10", True), AddressEvent("2001:db8:1::10", False)]


def test_a_refused_dump_is_an_error() -> None:
    """A kernel that does not answer must not look like a host without addresses."""
    with pytest.raises(OSError, match="refused"):
        list(read_events(message(2, struct.pack("=i", -1) + bytes(16))))
