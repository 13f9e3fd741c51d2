"""How long the event loop computes in one piece: what the agent itself does to its latency, on however busy a machine.

Lateness of the loop is told by `stall`; it cannot tell a loop that is held from a machine whose processors are taken.
"""

import asyncio
import selectors
import time
from collections.abc import Callable

_Ready = list[tuple[selectors.SelectorKey, int]]


class TimedSelector(selectors.DefaultSelector):
    """A selector that tells *on_turn* the thread's processor time, in seconds, from each wake to the next wait."""

    def __init__(self) -> None:
        super().__init__()
        self.on_turn: Callable[[float], None] = _nobody
        self._woke_at: float | None = None

    def select(self, timeout: float | None = None) -> _Ready:
        """Wait, and note when the turn begins."""
        if self._woke_at is not None:
            self.on_turn(time.thread_time() - self._woke_at)
        ready = super().select(timeout)
        self._woke_at = time.thread_time()
        return ready


class TimedLoop(asyncio.SelectorEventLoop):
    """The agent's event loop."""

    def __init__(self) -> None:
        self.turns = TimedSelector()
        super().__init__(self.turns)


def _nobody(_seconds: float) -> None:
    """Nobody wants to know yet."""
