"""Keeps this machine's processors awake while something is measured, and notes when one of them stood still.

    python -m tests.bench.processors [--keep-awake]        # ends with standard input; prints JSON lines

A virtual machine's idle processor is lent to others, and comes back late: on one machine with two of them, the second
one stood still for 20 to 50 ms in nearly every takeover, which is many times what is measured. (A trace of the
scheduler showed charon woken by a command, and run 16 ms later, while the other processor was idle.) A busy loop of the
lowest class (SCHED_IDLE, which gives way to everybody at once) on each makes that rarer. A bound thread of the highest
class that wakes every two milliseconds notes the rest, so that a figure can tell which runs were disturbed.

Not where there is always work: a processor that is never idle fetches none that waits for another one. A thousand
handshakes took the limit 29 s with busy loops and 17 without; a hundred took swanherd, which has more processes at work
than the limit, a tenth longer with them, and the limit a tenth less (measured).
"""

import json
import multiprocessing
import os
import subprocess
import sys
import time
from functools import partial
from multiprocessing.synchronize import Event, Semaphore
from types import TracebackType
from typing import Final, Self

from tests.lab.waiting import PATIENCE

TICK_S: Final = 0.002
LATE_S: Final = 0.002
"""Woken later than this, a thread that comes before all others has found no processor."""
SLACK_S: Final = 0.005
"""What stood still so shortly before may have made the first stamp late, too."""
KEEP_AWAKE: Final = "--keep-awake"
PRIORITY: Final = 20
"""Above the one that stamps addresses."""

Gap = tuple[float, float]
"""From when to when a processor stood still (CLOCK_MONOTONIC seconds)."""


class Processors:
    """From ``__enter__`` to ``__exit__``; then ask :meth:`stood_still`. An emulated machine is left alone."""

    def __init__(self, *, keep_awake: bool) -> None:
        self._keep_awake = keep_awake
        self._gaps: list[Gap] = []
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        if PATIENCE == 1:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.bench.processors", *([KEEP_AWAKE] if self._keep_awake else [])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            assert self._process.stdout is not None
            self._process.stdout.readline()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Watch no longer."""
        if self._process is not None:
            said, _ = self._process.communicate()
            self._gaps = [tuple(json.loads(line)) for line in said.splitlines()]
            self._process = None

    def stood_still(self, begin: float, end: float) -> float:
        """How many seconds between *begin* and *end* (or just before) any processor stood still, in sum.

        A stamp that was late can have turned the two round.
        """
        first, last = min(begin, end) - SLACK_S, max(begin, end)
        return sum(max(0.0, min(last, until) - max(first, since)) for since, until in self._gaps)


def _spin(processor: int) -> None:
    os.sched_setaffinity(0, {processor})
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    while True:
        pass


def _tick(processor: int, watched: Semaphore, stop: Event, gaps: "multiprocessing.Queue[list[Gap]]") -> None:
    os.sched_setaffinity(0, {processor})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    found: list[Gap] = []
    watched.release()
    last = time.monotonic()
    while not stop.is_set():
        time.sleep(TICK_S)
        now = time.monotonic()
        if now - last > TICK_S + LATE_S:
            found.append((last + TICK_S, now))
        last = now
    gaps.put(found)


def main() -> None:
    """The process, with one child for each processor, or two."""
    watched, stop = multiprocessing.Semaphore(0), multiprocessing.Event()
    gaps: multiprocessing.Queue[list[Gap]] = multiprocessing.Queue()
    processors = os.sched_getaffinity(0)
    process = partial(multiprocessing.Process, daemon=True)
    children = [process(target=_spin, args=(each,)) for each in processors if KEEP_AWAKE in sys.argv]
    children += [process(target=_tick, args=(each, watched, stop, gaps)) for each in processors]
    for child in children:
        child.start()
    for _ in processors:
        watched.acquire()
    print("ready", flush=True)
    sys.stdin.read()
    stop.set()
    for gap in sorted(gap for _ in processors for gap in gaps.get()):
        print(json.dumps(gap))
    for child in children:
        child.kill()


if __name__ == "__main__":
    main()
