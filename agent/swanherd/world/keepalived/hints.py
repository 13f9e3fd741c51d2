"""The socket for ``swanherd notify``: a datagram of anybody's means that there is something to look at, no more.

keepalived runs notify scripts as whichever user its configuration names, so everybody may send. What is said is not
read, and however much is said, a look costs little and is not taken more often than `PAUSE_S`.
"""

import asyncio
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from swanherd.world.keepalived.counters import Counters

PAUSE_S: Final = 0.05
"""Between two looks that hints ask for; the first is at once, and what comes meanwhile is one look at its end."""

READ_BYTES: Final = 1024


class HintSocket:
    """Listens on *path*; None: nowhere."""

    def __init__(self, path: Path | None, *, on_hint: Callable[[], None], counters: Counters) -> None:
        self._path = path
        self._on_hint = on_hint
        self._counters = counters
        self._heard = asyncio.Event()
        self.failure = ""
        """Why it does not listen; empty: it does, or need not. A hint less is no reason not to run tunnels."""

    async def run(self) -> None:
        """Listen until cancelled."""
        if self._path is None:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            try:
                _bind(listener, self._path)
            except OSError as error:
                self.failure = f"{self._path}: {error.strerror or error}"
                return
            loop = asyncio.get_running_loop()
            loop.add_reader(listener, self._hear, listener)
            try:
                while True:
                    await self._heard.wait()
                    self._heard.clear()
                    self._on_hint()
                    await asyncio.sleep(PAUSE_S)
            finally:
                loop.remove_reader(listener)
                self._path.unlink(missing_ok=True)

    def _hear(self, listener: socket.socket) -> None:
        try:
            listener.recv(READ_BYTES, socket.MSG_DONTWAIT)
        except OSError:
            return
        self._counters.hints += 1
        self._heard.set()


def _bind(listener: socket.socket, path: Path) -> None:
    """Take the path over from an agent that was killed; the lock of the control socket keeps a second agent away."""
    if os.path.lexists(path):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(17, "there is a file of that name, and it is not a socket")
        path.unlink()
    listener.setblocking(False)
    listener.bind(str(path))
    path.chmod(0o666)
