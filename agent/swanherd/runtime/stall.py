"""Notices that the agent's own loop stood still: frozen, suspended, or starved.

While it did, the other gateway may have taken over and been displaced again without a sign here, so SAs of before are
not trusted. Also measures the loop's latency.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from swanherd.core.rhythm import until_tick_s

BEAT_S: Final = 0.1
LONGEST_BEAT_S: Final = 0.5
"""How often the loop shows that it lives at most and at least; the resolution with which a stall is measured."""
BEATS: Final = 6
"""In the time after which a stall matters to somebody."""

NOTED_S: Final = 0.3
"""Stalls shorter than three of the shortest advert intervals that VRRP allows in practice (0.1 s) matter to nobody."""


class StallWatch:
    """The stalls of this process's loop.

    *on_stall* is called with the length of one that has ended (seconds), *on_beat* with each beat's lateness.

    ``check`` may be called at any time, and is the first thing in every pass: none runs before a stall is known.
    """

    def __init__(
        self,
        *,
        now: float,
        on_stall: Callable[[float], None],
        on_beat: Callable[[float], None] = lambda _late_s: None,
        suspended_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._suspended_s = suspended_s
        self._slept_s = suspended_s()
        self._on_stall = on_stall
        self._on_beat = on_beat
        self._last = now
        self._next_s = self.beat_s = BEAT_S
        self._stalls: deque[tuple[float, float]] = deque(maxlen=32)
        self.latency_s = 0.0
        self.worst_latency_s = 0.0

    def begin(self, now: float) -> None:
        """The loop begins *now*. Before there was no agent, which is no standstill: SAs that it finds are trusted."""
        self._last, self._slept_s = now, self._suspended_s()

    def expect(self, patience_s: float) -> None:
        """A stall matters if it lasts *patience_s*: the loop wakes no more often than that takes to be seen."""
        self.beat_s = min(max(patience_s / BEATS, BEAT_S), LONGEST_BEAT_S)

    def check(self, now: float) -> None:
        """Note a stall that ended at *now*, if there was one."""
        # The loop's clock stands still while the machine is suspended; the peer's and the other gateway's do not.
        slept_s = self._suspended_s()
        late = now - self._last - self._next_s + slept_s - self._slept_s
        self._slept_s = slept_s
        if late < NOTED_S:
            return
        self._stalls.append((now, late))
        self._last = now
        self._on_stall(late)

    def until(self, longer_than_s: float) -> float | None:
        """When the latest stall of at least *longer_than_s* ended; None if there was none."""
        return next((ended for ended, length in reversed(self._stalls) if length >= longer_than_s), None)

    def beat(self, now: float) -> None:
        """A sign of life, expected every ``beat_s``."""
        self.latency_s = max(0.0, now - self._last - self._next_s)
        self.worst_latency_s = max(self.worst_latency_s, self.latency_s)
        self._on_beat(self.latency_s)
        self.check(now)
        self._last, self._next_s = now, until_tick_s(now, self.beat_s)

    def take_worst(self) -> float:
        """The worst latency since the last call, in seconds."""
        worst, self.worst_latency_s = self.worst_latency_s, 0.0
        return worst

    async def run(self) -> None:
        """Beat for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._next_s)
            self.beat(loop.time())


def suspended_s() -> float:
    """For how many seconds this machine has been suspended since it booted."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
