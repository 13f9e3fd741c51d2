"""keepalived's notify FIFO. A line only means "look": a full pipe drops lines, and old ones wait from before our start.

keepalived 2.2.7 unlinks a FIFO that it has made itself when it stops, and when it reloads (and then makes none again):
so the FIFO is made before keepalived starts, by tmpfiles.d or by us, and a slow look notices that it is another one.
"""

import asyncio
import contextlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from swanherd.core.rhythm import until_tick_s
from swanherd.world.keepalived.counters import Counters

CHECK_S: Final = 1.0
"""How often the path is compared with what is open: a FIFO made anew is silent for so long, and D-Bus, adverts and
the address are not."""

READ_BYTES: Final = 65536
"""A whole pipe."""


class Fifo:
    """Reads the FIFO at a path, if any."""

    def __init__(self, *, on_line: Callable[[], None], counters: Counters) -> None:
        self._on_line = on_line
        self._counters = counters
        self._loop = asyncio.get_running_loop()
        self._path: Path | None = None
        self._fd: int | None = None
        self._wake = asyncio.Event()
        self.failure = ""
        """Why the FIFO cannot be read; empty: it is read, or none is wanted."""

    def watch(self, path: Path | None) -> None:
        """Read the FIFO at *path* from now on; None: none."""
        if path != self._path:
            self._close()
            self._path = path
            self._wake.set()

    async def run(self) -> None:
        """Keep the right FIFO open; never returns."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                self._wake.clear()
                self._check()
                try:
                    async with asyncio.timeout(until_tick_s(loop.time(), CHECK_S) if self._path else None):
                        await self._wake.wait()
                except TimeoutError:
                    continue
        finally:
            self._close()

    def _check(self) -> None:
        path = self._path
        if path is None or (self._fd is not None and _is_at(self._fd, path)):
            return
        if self._fd is not None:
            self._counters.fifo_reopens += 1
        self._close()
        self.failure = ""
        try:
            self._open(path)
        except OSError as error:
            self.failure = f"{path}: {error.strerror}"

    def _open(self, path: Path) -> None:
        with contextlib.suppress(FileExistsError):
            os.mkfifo(path, 0o600)
        # Read and write: with a writer of its own a pipe never ends, and opening it waits for nobody.
        fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        if not stat.S_ISFIFO(os.fstat(fd).st_mode):
            os.close(fd)
            self.failure = f"{path}: is no FIFO"
            return
        self._fd = fd
        self._loop.add_reader(fd, self._hear)  # called at once for what waits in it
        # What was said while another FIFO, or none, was open is lost.
        self._on_line()

    def _hear(self) -> None:
        if self._drain():
            self._on_line()

    def _drain(self) -> bool:
        """Empty the pipe; whether there was anything."""
        heard = False
        while self._fd is not None:
            try:
                data = os.read(self._fd, READ_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                self.failure = f"{self._path}: {error.strerror}"
                self._close()
                break
            self._counters.fifo_lines += data.count(b"\n")
            heard = True
            if len(data) < READ_BYTES:
                break
        return heard

    def _close(self) -> None:
        if self._fd is not None:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = None


def _is_at(fd: int, path: Path) -> bool:
    """Whether *fd* is what is at *path* now; both are still there."""
    try:
        there, ours = path.stat(follow_symlinks=False), os.fstat(fd)
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)
