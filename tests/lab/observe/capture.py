"""Frames at the ports of the lab's switch, with the kernel's own timestamps, and the proof that none was missed.

A packet socket on the switch's end of a gateway's link sees exactly what that gateway sends and is sent. Arrivals
(from the host behind the port) and departures (to it) are told apart by the kernel's packet type, since a ghost may
claim any address. The kernel stamps CLOCK_REALTIME; every stamp is converted to CLOCK_MONOTONIC, which is the clock of
asyncio's `loop.time()` and so of what the agents log. All network namespaces share both clocks.
"""

import errno
import socket
import struct
import time
from dataclasses import dataclass, field

from tests.lab.observe.filters import HEAD_BYTES, attach
from tests.lab.observe.packets import Packet, read_packet

_ETH_P_ALL = 3
_SO_RCVBUFFORCE, _SO_TIMESTAMPNS = 33, 35
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_TIMESTAMP = struct.Struct("@qq")
_STATISTICS = struct.Struct("@II")

BUFFER_BYTES = 32 * 1024 * 1024
"""Socket buffer of a port: about 40,000 frames, seconds of the busiest test, while the judge does not get the CPU."""
BATCH = 128
"""Frames read from a port before the other ports have their turn."""
CLOCK_STEP_S = 0.001
"""A larger change between the two clocks within an observation is a step, and its times cannot be trusted."""


class WallClock:
    """The difference between CLOCK_REALTIME and CLOCK_MONOTONIC, followed while an observation runs."""

    def __init__(self) -> None:
        self.offset_s = self._measure()
        self.stepped_s = 0.0
        """The largest change seen between two looks."""

    def look(self) -> None:
        """Measure again: slewing is followed, a step is remembered."""
        offset_s = self._measure()
        self.stepped_s = max(self.stepped_s, abs(offset_s - self.offset_s))
        self.offset_s = offset_s

    @staticmethod
    def _measure() -> float:
        # The tightest of a few bracketed reads: being scheduled away between two reads would look like a step.
        best = None
        for _ in range(5):
            before, wall, after = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
            if best is None or after - before < best[0]:
                best = (after - before, wall - (before + after) // 2)
        assert best is not None
        return best[1] / 1e9


@dataclass(frozen=True, slots=True)
class RawFrame:
    """A frame as it was read; decoding waits until somebody asks."""

    at: float
    leaving: bool
    head: bytes


@dataclass
class PortCapture:
    """One port; `sock` is an unbound packet socket of the switch's namespace, made with protocol 0.

    Reading belongs to one thread, `packets` to any other: appending to a list is atomic.
    """

    port: str
    sock: socket.socket
    program: bytes
    clock: WallClock
    buffer_bytes: int = BUFFER_BYTES
    seen: int = 0
    dropped: int = 0
    _raw: list[RawFrame] = field(default_factory=list)

    def open(self) -> None:
        """Filter, size, stamp, then bind: the order that lets no unfiltered or unstamped frame in."""
        attach(self.sock, self.program)
        self.sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, self.buffer_bytes)
        self.sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self.sock.setblocking(False)
        self.sock.bind((self.port, _ETH_P_ALL))

    def read(self) -> bool:
        """Take what is queued, one batch at most; False: that was all.

        A port that goes down says so once; it works again when it is up.
        """
        for _ in range(BATCH):
            try:
                head, ancillary, _, address = self.sock.recvmsg(HEAD_BYTES, 64)
            except BlockingIOError:
                return False
            except OSError as error:
                if error.errno in {errno.ENETDOWN, errno.ENODEV, errno.ENXIO}:
                    continue
                raise
            if not ancillary:  # queued between bind and the first stamp: the reading time is the best there is
                at = time.monotonic()
            else:
                seconds, nanoseconds = _TIMESTAMP.unpack(ancillary[0][2])
                at = seconds - self.clock.offset_s + nanoseconds / 1e9
            self._raw.append(RawFrame(at, address[2] != socket.PACKET_OUTGOING, head))
        return True

    def count(self) -> None:
        """Add up the kernel's counters; reading them sets them back to zero."""
        raw = self.sock.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size)
        seen, dropped = _STATISTICS.unpack(raw)
        self.seen, self.dropped = self.seen + seen, self.dropped + dropped

    def packets(self, start: int) -> list[Packet]:
        """Decode the frames from number `start` on."""
        return [
            read_packet(frame.head, at=frame.at, port=self.port, leaving=frame.leaving)
            for frame in self._raw[start : len(self._raw)]
        ]

    def close(self) -> None:
        """Count for the last time and let go."""
        self.count()
        self.sock.close()
