"""The observer's filter, run by the kernel: attached to one end of a socket pair; frames are sent in at the other.

A socket filter sees a datagram's payload just as it sees a frame on a packet socket, so no interface is needed.
"""

import socket
import struct
from ipaddress import ip_address, ip_network

import pytest

from tests.lab.observe.filters import HEAD_BYTES, attach, judge_filter
from tests.lab.observe.packets import NUMBERED_PORT

INNER = [ip_network(net) for net in ("10.10.0.0/24", "10.20.0.0/24", "fd00:10::/64", "2001:db8:70::/44")]
OUTSIDE = {4: "192.0.2.1", 6: "2001:db8::1"}


def passed(*frames: bytes) -> list[bytes]:
    """What the kernel lets through."""
    sender, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with sender, receiver:
        attach(receiver, judge_filter(INNER))
        receiver.setblocking(False)
        for frame in frames:
            sender.send(frame)
        found = []
        while True:
            try:
                found.append(receiver.recv(65536))
            except BlockingIOError:
                return found


def frame(
    protocol: int, payload: bytes = b"", *, source: str = "", to: str = "", family: int = 4, offset: int = 0
) -> bytes:
    """An Ethernet frame with an IPv4 packet (with an option) or an IPv6 packet."""
    addresses = b"".join(ip_address(address or OUTSIDE[family]).packed for address in (source, to))
    if family == 4:
        head = struct.pack("!BBHHHBBH", 0x46, 0, 24 + len(payload), 0, offset, 64, protocol, 0) + addresses + bytes(4)
        return bytes(12) + b"\x08\x00" + head + payload
    return bytes(12) + b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64) + addresses + payload


def udp(source: int, destination: int) -> bytes:
    """A UDP header and a little payload."""
    return struct.pack("!HHHH", source, destination, 12, 0) + b"data"


TCP, UDP, ICMPV6 = bytes(20), 17, 58


@pytest.mark.parametrize(
    "wanted",
    [
        pytest.param(bytes(12) + b"\x08\x06" + bytes(28), id="ARP"),
        *(pytest.param(frame(protocol), id=f"IPv4 {protocol}") for protocol in (50, 51, 112)),
        *(pytest.param(frame(protocol, family=6), id=f"IPv6 {protocol}") for protocol in (50, 51, 112, 0, 43, 44, 60)),
        *(pytest.param(frame(UDP, udp(port, 9)), id=f"from UDP {port}") for port in (500, 4500, NUMBERED_PORT)),
        *(pytest.param(frame(UDP, udp(9, port)), id=f"to UDP {port}") for port in (500, 4500, NUMBERED_PORT)),
        *(
            pytest.param(frame(UDP, udp(9, port), family=6), id=f"to UDP6 {port}")
            for port in (500, 4500, NUMBERED_PORT)
        ),
        pytest.param(frame(UDP, udp(500, 9), family=6), id="from UDP6 500"),
        pytest.param(frame(UDP, bytes(8), offset=185), id="a later fragment of UDP"),
        pytest.param(frame(ICMPV6, bytes([136]), family=6), id="neighbour advertisement"),
        pytest.param(frame(6, TCP, source="10.10.0.7"), id="from inside"),
        pytest.param(frame(6, TCP, to="10.20.0.7"), id="to inside"),
        pytest.param(frame(UDP, udp(9, 53), to="10.20.0.7"), id="other UDP to inside"),
        pytest.param(frame(6, TCP, source="fd00:10::7", family=6), id="from inside, IPv6"),
        pytest.param(frame(ICMPV6, bytes([128]), to="2001:db8:7f::7", family=6), id="to inside, IPv6, /44"),
    ],
)
def test_what_a_verdict_rests_on_is_kept(wanted: bytes) -> None:
    """The kernel keeps every kind of frame that the judge reads."""
    assert passed(wanted) == [wanted]


@pytest.mark.parametrize(
    "unwanted",
    [
        pytest.param(frame(6, TCP), id="TCP"),
        pytest.param(frame(UDP, udp(53, 53)), id="DNS"),
        pytest.param(frame(UDP, udp(53, 53), family=6), id="DNS, IPv6"),
        pytest.param(frame(6, TCP, source="10.10.1.7", to="10.21.0.7"), id="the networks beside"),
        pytest.param(
            frame(6, TCP, source="fd00:10:0:1::7", to="2001:db8:80::7", family=6), id="the networks beside, IPv6"
        ),
        pytest.param(frame(ICMPV6, bytes([135]), family=6), id="neighbour solicitation"),
        pytest.param(bytes(12) + b"\x88\xcc" + bytes(40), id="LLDP"),
        pytest.param(b"short", id="not even Ethernet"),
    ],
)
def test_everything_else_is_left_in_the_kernel(unwanted: bytes) -> None:
    """What no verdict needs costs the judge nothing."""
    assert passed(unwanted) == []


def test_only_the_head_of_a_frame_is_kept() -> None:
    """A full-size ESP packet is cut to what is read of it."""
    assert [len(found) for found in passed(frame(50, bytes(1400)))] == [HEAD_BYTES]
