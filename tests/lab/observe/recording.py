"""What all ports saw, as one list in time order, decoded when somebody asks."""

import threading
from bisect import bisect_left
from collections.abc import Mapping

from tests.lab.observe.capture import PortCapture
from tests.lab.observe.packets import Packet


class Recording:
    """Of ports by their names, while they are read and after it; any thread may ask."""

    def __init__(self, captures: Mapping[str, PortCapture]) -> None:
        self._captures = captures
        self._packets: list[Packet] = []
        self._lock = threading.Lock()
        self._decoded = dict.fromkeys(captures, 0)

    def since(self, start: float) -> list[Packet]:
        """The packets from a time on."""
        packets = self.packets()
        return packets[bisect_left(packets, start, key=_at) :]

    def packets(self) -> list[Packet]:
        """All so far; the list itself, which grows with the next call."""
        with self._lock:
            fresh: list[Packet] = []
            for port, capture in self._captures.items():
                found = capture.packets(self._decoded[port])
                self._decoded[port] += len(found)
                fresh += found
            if fresh:
                # Only the tail is sorted: an observation of a minute has 200,000 packets, and waiting looks often.
                fresh.sort(key=_at)
                tail = bisect_left(self._packets, fresh[0].at, key=_at)
                self._packets[tail:] = sorted([*self._packets[tail:], *fresh], key=_at)
            return self._packets


def _at(packet: Packet) -> float:
    return packet.at
