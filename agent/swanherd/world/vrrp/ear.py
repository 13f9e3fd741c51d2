"""A packet socket that hears adverts and claims in one direction on one device.

Two a device: what others send can fill one socket's queue, but never push our own adverts out of the other's.
It sees packets before the input firewall, and what leaves after the output firewall.
"""

import errno
import socket
import struct
from collections.abc import Iterable
from contextlib import suppress
from typing import Final, NamedTuple

from swanherd.core.intent import IPAddress
from swanherd.world.vrrp.adverts import GROUP_4, GROUP_6
from swanherd.world.vrrp.clock import KernelClock
from swanherd.world.vrrp.filters import attach, program

RECEIVE_BUFFER_BYTES: Final = 1 << 20
"""About 1300 adverts: four minutes of a standing agent at five a second."""

PACKET_BYTES: Final = 2048
"""An advert of 255 IPv4 or 120 IPv6 addresses; a longer one is cut, and malformed."""

_ETH_P_ALL: Final = 3
"""The only choice that shows what leaves."""
_SOL_PACKET: Final = 263
_PACKET_ADD_MEMBERSHIP, _PACKET_STATISTICS, _PACKET_IGNORE_OUTGOING = 1, 6, 23
_MEMBERSHIP: Final = struct.Struct("@iHH8s")
_PACKET_MR_MULTICAST: Final = 0
_MACS: Final = (
    bytes.fromhex("01005e") + GROUP_4.packed[1:],
    bytes.fromhex("3333") + GROUP_6.packed[12:],
)
_SO_RCVBUFFORCE, _SO_TIMESTAMPNS = 33, 35
_TIMESTAMP: Final = struct.Struct("@ll")
_STATISTICS: Final = struct.Struct("@II")


class Frame(NamedTuple):
    """A packet, and what the kernel says of it."""

    packet: bytes
    ethertype: int
    mac: bytes
    """Of who put it on the wire."""
    at: float


class Ear:
    """One socket. OSError where there is none to be had, PermissionError without CAP_NET_RAW."""

    def __init__(self, device: str, *, outgoing: bool, vips: Iterable[IPAddress], clock: KernelClock) -> None:
        self.device = device
        self.outgoing = outgoing
        self._clock = clock
        self._sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0)
        try:
            self._open(vips)
        except BaseException:  # whatever ends this, the socket is not left open
            self._sock.close()
            raise
        self._empty_at = clock.now

    def _open(self, vips: Iterable[IPAddress]) -> None:
        self.hear_claims_of(vips)
        with suppress(OSError):  # before Linux 4.20: the filter rejects them
            self._sock.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, int(not self.outgoing))
        self._sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        try:
            self._sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
        except PermissionError:  # without CAP_NET_ADMIN net.core.rmem_max is the limit
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        # Last, with the filter in place, so that nothing unfiltered or unstamped is queued.
        self._sock.bind((self.device, _ETH_P_ALL))
        if not self.outgoing:
            self._join()

    def _join(self) -> None:
        """Have the hardware receive VRRP's groups: a keepalived that was killed takes its own membership with it."""
        index = socket.if_nametoindex(self.device)
        for mac in _MACS:
            membership = _MEMBERSHIP.pack(index, _PACKET_MR_MULTICAST, len(mac), mac)
            self._sock.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, membership)

    def fileno(self) -> int:
        """For the loop's ``add_reader``."""
        return self._sock.fileno()

    def hear_claims_of(self, vips: Iterable[IPAddress]) -> None:
        """Let claims of *vips* pass, and of no other address."""
        attach(self._sock, program(vips, outgoing=self.outgoing))

    def take(self, most: int) -> list[Frame]:
        """What is queued, at most *most* packets, dated. OSError where the device or the socket is lost."""
        taken = []
        empty = False
        for _ in range(most):
            try:
                taken.append(self._sock.recvmsg(PACKET_BYTES, 64))
            except BlockingIOError:
                empty = True
                break
            except OSError as error:
                if error.errno != errno.ENETDOWN:
                    raise
                # Said once when the device goes down; the socket works again when it is up.
        self._clock.look()
        frames = [
            Frame(packet, address[1], address[4], self._date(ancillary)) for packet, ancillary, _, address in taken
        ]
        if empty:
            self._empty_at = self._clock.now
        return frames

    def _date(self, ancillary: list[tuple[int, int, bytes]]) -> float:
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
                seconds, nanoseconds = _TIMESTAMP.unpack(data)
                return self._clock.date(seconds + nanoseconds / 1e9, empty_at=self._empty_at)
        return self._clock.now

    def dropped(self) -> int:
        """Packets that found the queue full since the last call."""
        return int(_STATISTICS.unpack(self._sock.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size))[1])

    def close(self) -> None:
        """Close the socket. The kernel waits for its readers meanwhile (milliseconds): not for the loop's thread."""
        self._sock.close()
