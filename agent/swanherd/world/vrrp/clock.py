"""The kernel's stamps of packets, which are wall clock time, in the loop's time."""

import time
from collections.abc import Callable
from typing import Final

STEP_S: Final = 0.01
"""A larger change between the two clocks from one look to the next is a step; a clock that is slewed changes by 0.5 ms
in a second. Also how much later than its stamp a packet may be queued."""

_BRACKETS: Final = 3
"""The tightest of so many readings counts: one that was interrupted would look like a step."""


class KernelClock:
    """Converts stamps of CLOCK_REALTIME to CLOCK_MONOTONIC, also over a step of the former.

    A stamp from before a step fits the old difference of the clocks, one from after it the new one. Which is told by
    what is known of the packet: it came between the last time that the socket was empty and now.
    """

    def __init__(
        self, *, monotonic: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._difference_s = self._measure()
        self._older_s = self._difference_s
        self.now = monotonic()
        """The loop's time at the last look."""

    def look(self) -> None:
        """Compare the clocks; to be called after packets were taken and before they are dated."""
        difference_s = self._measure()
        if abs(difference_s - self._difference_s) > STEP_S:
            self._older_s = self._difference_s
        self._difference_s = difference_s
        self.now = self._monotonic()

    def date(self, stamp_s: float, *, empty_at: float) -> float:
        """When a packet with *stamp_s* came, in the loop's time; never later than the last look.

        *empty_at* is when its socket was last seen empty. A stamp that fits neither difference is worth nothing: then
        it is the time of the look.
        """
        for difference_s in (self._difference_s, self._older_s):
            at = stamp_s - difference_s
            if empty_at - STEP_S <= at <= self.now + STEP_S:
                return min(at, self.now)
        return self.now

    def _measure(self) -> float:
        readings = []
        for _ in range(_BRACKETS):
            before, wall, after = self._monotonic(), self._wall(), self._monotonic()
            readings.append((after - before, wall - (before + after) / 2))
        return min(readings)[1]
