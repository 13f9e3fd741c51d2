"""Which handshake begins next: the window of swanherd without its priorities, and what becomes of those that fail.

Pure: the caller says what happened and when, in seconds of a monotonic clock.
"""

from collections import deque
from collections.abc import Mapping
from typing import Final

from tests.lab.waiting import PATIENCE

LOOK_S: Final = 0.5 * PATIENCE
"""A handshake that charon has told nothing of for so long is looked at. With 16 in flight on two cores each takes a
tenth of a second; looked at sooner, those that only wait for the processor would be slowed down by the looks."""
SLOT_S: Final = 5.0 * PATIENCE
"""How long a handshake holds its slot, as with swanherd: one retransmission of charon's fits in."""


class Handshakes:
    """Those of all connections, by name; *endpoints* says where each leads, in the order in which they begin."""

    def __init__(self, endpoints: Mapping[str, str], *, per_endpoint: int, overall: int) -> None:
        self._endpoints = endpoints
        self._per_endpoint = per_endpoint
        self._overall = overall
        self._waiting: dict[str, deque[str]] = {}
        self._in_flight: dict[str, float] = {}
        """By name: since when."""
        self._busy: dict[str, int] = {}
        """How many are in flight to an endpoint."""
        self._looks: deque[tuple[float, str, float]] = deque()
        """When to look, at whom, and the beginning that is meant."""

    def begin(self) -> None:
        """All are to be begun, from the start."""
        self.forget()
        for name in self._endpoints:
            self._queue(name)

    def forget(self) -> None:
        """None is to be begun any more."""
        self._waiting.clear()
        self._in_flight.clear()
        self._busy.clear()
        self._looks.clear()

    def next(self, now: float) -> str | None:
        """Whose handshake begins at *now*, with a slot taken; None: nobody waits, or the window is full."""
        if len(self._in_flight) >= self._overall:
            return None
        for endpoint, names in self._waiting.items():
            if self._busy.get(endpoint, 0) < self._per_endpoint:
                name = names.popleft()
                if not names:
                    del self._waiting[endpoint]
                self._in_flight[name] = now
                self._busy[endpoint] = self._busy.get(endpoint, 0) + 1
                return name
        return None

    def sent(self, name: str, now: float) -> None:
        """Charon has taken the command: from here on a handshake that it does not know has failed."""
        if name in self._in_flight:
            self._looks.append((now + LOOK_S, name, self._in_flight[name]))

    def up(self, name: str) -> None:
        """It is up, whoever thought that it was not."""
        if name in self._in_flight:
            self._release(name)
            return
        endpoint = self._endpoints.get(name, "")
        names = self._waiting.get(endpoint)
        if names and name in names:  # given up, and up after all
            names.remove(name)
            if not names:
                del self._waiting[endpoint]

    def failed(self, name: str) -> None:
        """It has failed, or has had its time: it is begun anew after those that wait."""
        if name in self._in_flight:
            self._release(name)
            self._queue(name)

    def due(self, now: float) -> list[str]:
        """At whom to look at *now*."""
        found = []
        while self._looks and self._looks[0][0] <= now:
            _, name, began = self._looks.popleft()
            if self._in_flight.get(name) == began:
                found.append(name)
        return found

    def late(self, name: str, now: float) -> bool:
        """Whether it has had its time. If it has not, it is looked at again."""
        if now - self._in_flight[name] >= SLOT_S:
            return True
        self._looks.append((now + LOOK_S, name, self._in_flight[name]))
        return False

    def next_look(self) -> float | None:
        """When somebody is to be looked at; None: nobody."""
        return self._looks[0][0] if self._looks else None

    def _queue(self, name: str) -> None:
        self._waiting.setdefault(self._endpoints[name], deque()).append(name)

    def _release(self, name: str) -> None:
        del self._in_flight[name]
        self._busy[self._endpoints[name]] -= 1
