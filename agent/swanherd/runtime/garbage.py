"""Keeps Python's collector of cycles from holding the loop: it goes over what is new, not over everything there is.

A full collection visits every object: 50 ms with a thousand connections, a third of a second with ten thousand, many
times in a takeover, and finds hardly anything, since almost all that is let go of has no cycle. So what has survived
one is set aside, and the next one visits only what was made since.

What is set aside and dies in a cycle later (a task that was under way, say) would stay for ever. So everything is
visited once more when what is set aside has grown by a tenth since that was done last, and after a reload, which drops
a lot at once.

None comes of its own accord: the interpreter has one when much was made, and that is in a takeover (40 ms before the
first handshake of a hundred, measured). The loop has one when it has looked at everything, every few minutes, and when
a takeover of many is over.
"""

import ctypes
import gc
from collections.abc import Mapping
from typing import Any, Final

FULL: Final = 2
"""The oldest generation: a collection of it is a full one."""
GROWN: Final = 1.1
NEVER: Final = 2**31 - 1
"""More collections of the middle generation than there will be."""


class Survivors:
    """What is set aside."""

    def __init__(self) -> None:
        self._keeps = False
        self._visited = 0
        """How many there were when all were visited last."""
        self._count = 0
        """How many there are, at most: what has died since it was counted is still in it."""
        self._all = True
        """Whether the next full collection visits them all."""

    def keep(self) -> None:
        """From now on set aside what survives a full collection, beginning with one now; see :meth:`collect`."""
        self._keeps = True
        gc.set_threshold(*gc.get_threshold()[:FULL], NEVER)
        gc.collect()
        gc.freeze()
        self._visited = self._count = gc.get_freeze_count()
        self._all = False
        if self._collected not in gc.callbacks:
            gc.callbacks.append(self._collected)

    def collect(self) -> None:
        """A full collection, if :meth:`keep` has been called: nothing else brings one any more.

        Milliseconds; where everything is due to be visited, 50 with a thousand connections and 300 with ten thousand.
        """
        if self._keeps:
            gc.collect()
            if self._all:  # so much has come that some of it will have died
                gc.collect()

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
