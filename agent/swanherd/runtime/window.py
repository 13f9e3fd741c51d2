"""The window of handshakes in flight: who may begin one now.

All at once is far worse for the first tunnel (5 s instead of 0.1 s for 1000) and brings retransmissions; a responder at
its defaults allows five half-open handshakes per source address, and more than two in flight to one endpoint already
ran into that limit when measured.
"""

import asyncio
import heapq
from itertools import count
from typing import Final

PER_ENDPOINT: Final = 2
"""Handshakes in flight to one endpoint address; 3 already cost seconds against a responder at its default limit."""

OVERALL: Final = 16
"""Handshakes in flight in all: charon's default number of threads."""


class Window:
    """Grants slots by priority (highest first, then first come), within a limit per endpoint and one overall."""

    def __init__(self, *, per_endpoint: int = PER_ENDPOINT, overall: int = OVERALL) -> None:
        self.per_endpoint = per_endpoint
        self.overall = overall
        self._in_flight: dict[str, int] = {}
        self._total = 0
        self._order = count()
        self._waiting: dict[str, list[tuple[int, int, asyncio.Future[None]]]] = {}

    @property
    def in_flight(self) -> int:
        """Handshakes that hold a slot now."""
        return self._total

    def take(self, endpoint: str) -> bool:
        """Whether a slot towards *endpoint* is free, and nobody waits for it; it is taken then."""
        free = not self._waiting.get(endpoint) and self._free(endpoint)
        if free:
            self._take(endpoint)
        return free

    async def acquire(self, endpoint: str, priority: int) -> None:
        """Wait for a slot towards *endpoint*; a cancelled wait holds nothing afterwards."""
        if self.take(endpoint):
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting.setdefault(endpoint, []), (-priority, next(self._order), granted))
        try:
            await granted
        except asyncio.CancelledError:
            # Granted and cancelled in the same turn: the slot is ours and must go on to the next.
            if granted.done() and not granted.cancelled():
                self.release(endpoint)
            raise

    def release(self, endpoint: str) -> None:
        """Give a slot back."""
        left = self._in_flight[endpoint] - 1
        if left:
            self._in_flight[endpoint] = left
        else:
            del self._in_flight[endpoint]
        self._total -= 1
        self._grant()

    def _free(self, endpoint: str) -> bool:
        return self._total < self.overall and self._in_flight.get(endpoint, 0) < self.per_endpoint

    def _take(self, endpoint: str) -> None:
        self._in_flight[endpoint] = self._in_flight.get(endpoint, 0) + 1
        self._total += 1

    def _grant(self) -> None:
        while self._total < self.overall:
            best: str | None = None
            for endpoint, heap in list(self._waiting.items()):
                while heap and heap[0][2].done():  # cancelled while waiting
                    heapq.heappop(heap)
                if not heap:
                    del self._waiting[endpoint]
                elif self._free(endpoint) and (best is None or heap[0][:2] < self._waiting[best][0][:2]):
                    best = endpoint
            if best is None:
                return
            _, _, granted = heapq.heappop(self._waiting[best])
            self._take(best)
            granted.set_result(None)
