"""Waiting for something to become true, with a deadline; tests never sleep for a fixed time."""

import os
import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

LOOK_AGAIN_S: Final = 0.005
"""Short against what is measured in the lab (tens of milliseconds), long against the cost of a look."""
SHARE: Final = 3
"""A look that took long is followed by so many times its own time of rest: who waits must not take the processor from
what is waited for (a look over a storm of 10,000 packets takes 30 ms)."""
PATIENCE: Final = float(os.environ.get("SWANHERD_LAB_PATIENCE", "1"))
"""How many times slower this machine is than a real one: an emulated one (``tests.lab.guest``) says so. Deadlines are
as many times longer, and looks as many times rarer, since each costs the processor that much more."""


class NotInTimeError(AssertionError):
    """What was waited for did not happen."""


def wait_until(condition: Callable[[], T], what: str, *, within_s: float = 10.0, every_s: float = LOOK_AGAIN_S) -> T:
    """Call *condition* until its answer is true, and return that; NotInTimeError names *what* and the last answer."""
    within_s *= PATIENCE
    deadline = time.monotonic() + within_s
    while True:
        began = time.monotonic()
        answer = condition()
        if answer:
            return answer
        now = time.monotonic()
        if now > deadline:
            raise NotInTimeError(f"not within {within_s:g} s: {what} (last seen: {answer!r})")
        time.sleep(max(every_s * PATIENCE, SHARE * (now - began)))
