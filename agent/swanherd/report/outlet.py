"""A stream that never blocks whoever writes to it: a thread writes, and what it cannot keep up with is dropped.

stderr is journald's socket or a terminal; both can stand still (a frozen journald, Ctrl-S), and the loop may not.
"""

import contextlib
import os
import threading
from collections import deque
from typing import Final, TextIO

PENDING_LINES: Final = 10_000
"""Lines that wait for the reader, some megabytes at worst; more are dropped and counted."""

GATHER_S: Final = 0.02
"""How long the thread waits for more lines once there is one. Woken for each line of a hundred takeovers it took the
interpreter from the loop a hundred times, for up to a millisecond (profiled)."""

FLUSH_DEADLINE_S: Final = 1.0
"""How long an exit waits for what is pending."""


class Outlet:
    """What the loggers write to; *stream* is written by one thread of its own, a daemon."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._pending: deque[str] = deque()
        self._dropped = 0
        self._closing = threading.Event()
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="log-outlet", daemon=True)
        self._thread.start()

    def write(self, text: str) -> int:
        """Take *text* at once, or drop it."""
        with self._wake:
            if len(self._pending) >= PENDING_LINES:
                self._dropped += 1
            else:
                self._pending.append(text)
                if len(self._pending) == 1:
                    self._wake.notify()
        return len(text)

    def flush(self) -> None:
        """Nothing to do: the thread flushes."""

    def close(self) -> None:
        """Give what is pending FLUSH_DEADLINE_S to get out, and end the thread; later writes are kept for nobody."""
        self._closing.set()
        with self._wake:
            self._wake.notify()
        self._thread.join(FLUSH_DEADLINE_S)

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._pending or self._dropped or self._closing.is_set())
            self._closing.wait(GATHER_S)
            with self._wake:
                if not self._pending and not self._dropped:
                    return
                texts = [*self._pending]
                dropped, self._dropped = self._dropped, 0
                self._pending.clear()
            if dropped:
                texts.append(f"swanherd: {dropped} log lines were dropped here: nobody read them in time\n")
            # Nobody to tell of a stream that is closed or broken; the agent goes on without logs.
            with contextlib.suppress(OSError, ValueError):
                self._emit("".join(texts))

    def _emit(self, text: str) -> None:
        try:
            descriptor = self._stream.fileno()
        except OSError:  # a stream in memory has none
            self._stream.write(text)
            return
        # Past the stream's own buffer, which would keep, and keep adding to, what a broken pipe does not take.
        rest = text.encode(errors="backslashreplace")
        while rest:
            rest = rest[os.write(descriptor, rest) :]
