"""Keeps Python's collector of cycles from holding the loop: it goes over what is new, not over everything there is.

A full collection visits every object: 50 ms with a thousand connections, a third of a second with ten thousand, many
times in a takeover, and finds hardly anything, since almost all that is let go of has no cycle. So what has survived
one is set aside for good, and the next one visits only what was made since. What dies later is freed as ever, unless
it lies in a cycle: whoever drops a lot at once, as a reload does, has all of it visited once more (:func:`look_again`).
"""

import gc
from collections.abc import Mapping
from typing import Any, Final

FULL: Final = 2
"""The oldest generation: a collection of it is a full one."""


def keep_survivors() -> None:
    """From now on set aside what survives a full collection, beginning with what there is."""
    gc.freeze()
    if _keep not in gc.callbacks:
        gc.callbacks.append(_keep)


def look_again() -> None:
    """Have the next full collection visit everything."""
    gc.unfreeze()


def _keep(phase: str, info: Mapping[str, Any]) -> None:
    if phase == "stop" and info["generation"] == FULL:
        gc.freeze()
