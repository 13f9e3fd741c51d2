"""Keeps Python's collector of cycles from holding the loop: it goes over what is new, not over everything there is.

A full collection visits every object: 50 ms with a thousand connections, a third of a second with ten thousand, many
times in a takeover, and finds hardly anything, since almost all that is let go of has no cycle. So what has survived
one is set aside, and the next one visits only what was made since.

What is set aside and dies in a cycle later (a task that was under way, say) would stay for ever. So everything is
visited once more when what is set aside has grown by a tenth since that was done last, and after a reload, which drops
a lot at once.
"""

import ctypes
import gc
from collections.abc import Mapping
from typing import Any, Final

FULL: Final = 2
"""The oldest generation: a collection of it is a full one."""
GROWN: Final = 1.1


class Survivors:
    """What is set aside."""

    def __init__(self) -> None:
        self._visited = 0
        """How many there were when all were visited last."""
        self._count = 0
        """How many there are, at most: what has died since it was counted is still in it."""
        self._all = True
        """Whether the next full collection visits them all."""

    def keep(self) -> None:
        """From now on set aside what survives a full collection, beginning with one now."""
        gc.collect()
        gc.freeze()
        self._visited = self._count = gc.get_freeze_count()
        self._all = False
        if self._collected not in gc.callbacks:
            gc.callbacks.append(self._collected)

    def look_again(self) -> None:
        """Have the next full collection visit everything."""
        gc.unfreeze()
        self._all = True

    def _collected(self, phase: str, info: Mapping[str, Any]) -> None:
        if phase != "stop" or info["generation"] != FULL:
            return
        if self._all:
            gc.freeze()
            self._visited = self._count = gc.get_freeze_count()
            self._all = False
            return
        self._count += len(gc.get_objects(FULL))
        gc.freeze()
        if self._count > self._visited * GROWN:
            # To count them takes 20 ms with a thousand connections: only where there may be so many more.
            self._count = gc.get_freeze_count()
            if self._count > self._visited * GROWN:
                self.look_again()


def give_back() -> None:
    """Give the system what a takeover needed and nobody needs any more: half a millisecond, and 2 MB of a hundred.

    The C library keeps it otherwise (malloc_trim(3)); where it is another than glibc, nothing is done.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


SURVIVORS: Final = Survivors()
"""Of this process: there is one collector."""
