"""How the netlink source keeps its table and reads messages, without a socket; the component ring has the kernel."""

import struct
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from swanherd.core.facts import NetworkChange
from swanherd.world.netlink.messages import AddressMessage, LinkMessage, decode, parts
from swanherd.world.netlink.table import Table

WAN = LinkMessage(gone=False, ifindex=2, name="wan", up=True, kind="veth", parent=None)
LAN = LinkMessage(gone=False, ifindex=3, name="lan", up=True, kind=None, parent=None)
VIP = ip_address("203.0.113.10")


def address(*, gone: bool = False, packed: bytes = VIP.packed, ifindex: int = 2, created: int = 1) -> AddressMessage:
    """The VIP on wan, or a variation of it."""
    return AddressMessage(packed, ifindex, 24, b"", gone=gone, usable=True, created=created)


def test_an_event_wins_over_the_reading_that_it_overtook() -> None:
    """A row that an event removed, or added, after the reading began is not what the reading says."""
    table = Table()
    table.apply(WAN, 0.0)
    table.apply(address(), 1.0)
    table.begin_reading()
    table.apply(address(gone=True), 2.0)
    table.apply(LAN, 2.0)
    table.apply(address(packed=b"\x0a\0\0\1", ifindex=3), 2.0)
    assert table.differences([WAN, address()]) == {}
    table.end_reading()
    table.begin_reading()
    found = table.differences([WAN, address()])
    assert set(found) == {3, (VIP.packed, 2, 24, b""), (b"\x0a\0\0\1", 3, 24, b"")}


def test_an_event_wins_over_a_correction_that_is_under_way() -> None:
    """A reading is taken in slices; what an event touches before its slice comes is no longer corrected."""
    table = Table()
    table.apply(WAN, 0.0)
    table.begin_reading()
    found = table.differences([WAN, address()])
    table.apply(address(), 1.0)
    table.apply(address(gone=True), 2.0)
    table.correct(found.items(), 3.0)
    assert not table.snapshot().addresses


def test_an_address_told_before_its_link_shows_with_it() -> None:
    """The order of a reading and of events is not the order of births."""
    table = Table()
    table.apply(address(), 1.0)
    assert not table.snapshot().addresses
    table.apply(WAN, 2.0)
    assert table.snapshot().addresses[VIP][0].device == "wan"
    assert table.take_change() == NetworkChange(addresses=frozenset({VIP}), devices=frozenset({"wan"}))
    assert table.take_change() is None


MESSAGES = st.one_of(
    st.builds(
        address,
        gone=st.booleans(),
        packed=st.sampled_from([VIP.packed, b"\x0a\0\0\1", b"\0" * 15 + b"\1"]),
        ifindex=st.sampled_from([2, 3]),
        created=st.integers(1, 2),
    ),
    st.builds(
        # Renamed or not; never two of one name at the same time, which no kernel has.
        lambda link, gone, up, other: link._replace(
            gone=gone, up=up, name=f"other-{link.name}" if other else link.name
        ),
        st.sampled_from([WAN, LAN]),
        st.booleans(),
        st.booleans(),
        st.booleans(),
    ),
)


@pytest.mark.parametrize(
    ("now", "stamp", "born"),
    [
        pytest.param(1000.0, 90_000, 900.0, id="ticks are those of the clock"),
        pytest.param(50_000_000.0, (49_999_000 * 100) % 2**32, 49_999_000.0, id="they have begun anew"),
        pytest.param(1000.0, 100_001, 1000.01 - 2**32 / 100, id="ahead of the clock: never too late"),
    ],
)
def test_when_an_address_was_born(now: float, stamp: int, born: float) -> None:
    """The kernel's stamp tells it of an address that was there before, rather too early than too late.

    Broken by: ``born`` being the moment of the reading (a restarted agent replaces every SA that works).
    """
    table = Table()
    table.apply(WAN, now)
    table.apply(address(created=stamp), now)
    told = table.snapshot().addresses[VIP][0].born
    assert told is not None
    assert born - 1.0 < told <= born


def as_read(kernel: Table) -> Iterator[LinkMessage | AddressMessage]:
    """What a reading of *kernel* lists: links, and the addresses on them."""
    yield from kernel._links.values()
    for key, (usable, created, *_) in kernel._rows.items():
        if key[1] in kernel._links:
            yield AddressMessage(*key, gone=False, usable=usable, created=created)


ON_LAN = address(ifindex=3, created=1)
TWICE = [WAN, LAN, address(created=1), ON_LAN, address(created=1, gone=True), address(created=1)]


@example(messages=TWICE, lost_from=5)
@given(messages=st.lists(MESSAGES, max_size=30), lost_from=st.integers(0, 30))
def test_followed_equals_read(messages: list[LinkMessage | AddressMessage], lost_from: int) -> None:
    """Whatever events came, or were lost: a reading corrects the table to what one that only read would hold."""
    kernel = Table()
    for message in messages:
        kernel.apply(message, 0.0)
    rows = list(as_read(kernel))
    followed, fresh = Table(), Table()
    for message in messages[:lost_from]:
        followed.apply(message, 0.0)
    for table in (followed, fresh):
        table.begin_reading()
        table.correct(table.differences(rows).items(), 0.0)
        table.end_reading()
    assert followed.snapshot() == fresh.snapshot()
    assert fresh.snapshot() == kernel.snapshot()
    assert not followed.differences(rows)


@pytest.mark.parametrize(("flags", "usable"), [(0x80, True), (0x81, True), (0xA0, True), (0xC0, False), (0x88, False)])
def test_usable_is_read_from_the_long_flags(flags: int, *, usable: bool) -> None:
    """Permanent, secondary and deprecated are usable, tentative and failed are not; IFA_FLAGS rules over the 8 bits."""
    attributes = struct.pack("=HH4s", 8, 2, VIP.packed) + struct.pack("=HHI", 8, 8, flags)
    datagram = struct.pack("=IHHII", 24 + len(attributes), 20, 0, 0, 0) + struct.pack("=BBBBI", 2, 24, 0x48, 0, 2)
    datagram += attributes
    (part,) = parts(datagram)
    message = decode(part, datagram)
    assert isinstance(message, AddressMessage)
    assert message.usable is usable


def test_a_default_route_of_another_table_is_none_of_ours() -> None:
    """Before Linux 4.20 a reading lists all tables."""
    for table, ours in ((254, True), (100, False)):
        body = struct.pack("=BBBBBBBBI", 2, 0, 0, 0, table, 3, 0, 1, 0) + struct.pack("=HHI", 8, 4, 2)
        datagram = struct.pack("=IHHII", 16 + len(body), 24, 0, 0, 0) + body
        (part,) = parts(datagram)
        assert (decode(part, datagram) is not None) is ours


@given(st.binary(max_size=200))
def test_garbage_ends_and_is_an_error_at_most(noise: bytes) -> None:
    """No bytes make the reader hang or raise anything but ValueError, which means "read everything again"."""
    for kind in (16, 20, 24):
        datagram = struct.pack("=IHHII", 16 + len(noise), kind, 0, 0, 0) + noise
        with suppress(ValueError):
            for part in parts(datagram):
                decode(part, datagram)
