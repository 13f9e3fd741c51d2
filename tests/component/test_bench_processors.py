"""A processor that stood still is noted: the machine's doing must not be taken for a contestant's."""

import multiprocessing
import os
import time
from typing import Final

from tests.bench.processors import PRIORITY, Processors

HELD_S: Final = 0.05


def _hold(processor: int) -> None:
    """Take *processor* away from everybody, as its lender would."""
    os.sched_setaffinity(0, {processor})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY + 1))
    until = time.monotonic() + HELD_S
    while time.monotonic() < until:
        pass


def test_a_processor_that_is_taken_away_is_noted() -> None:
    """Whichever one it is.

    Broken by: a ``_tick`` that is not bound.
    """
    for processor in sorted(os.sched_getaffinity(0)):
        with Processors(keep_awake=False) as processors:
            began = time.monotonic()
            holder = multiprocessing.Process(target=_hold, args=(processor,))
            holder.start()
            holder.join()
            ended = time.monotonic()
        assert processors.stood_still(began, ended) > HELD_S / 2
