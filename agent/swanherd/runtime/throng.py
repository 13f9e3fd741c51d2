"""Many lanes at work: charon's log is not listened to then, as long as all goes well.

What it costs is paid twenty times a tunnel, by charon as well, when there is no time to lose; and of a hundred tunnels
that come up in a second nobody needs to be told twenty things. But who has heard nothing of a handshake for a while
needs it. Where one has failed, more of them will: all listen until the throng is over. Where one is merely slow, as one
of a thousand always is, they do until it has ended, and a little longer.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from swanherd.runtime.sources import CharonCalls

MANY: Final = 8
"""So many lanes at work are a throng: fewer are over before charon has been told."""
FEW: Final = 2
"""So few are none any more."""
CALM_S: Final = 0.2
"""After so long with few lanes at work. Two bursts in a row are one."""

AGAIN_S: Final = 5.0
"""After the last slow handshake of a throng. Each time that the log is heard again all of charon is read."""


class Throng:
    """Counts the lanes at work."""

    def __init__(self, charon: CharonCalls) -> None:
        self._charon = charon
        self._working = 0
        self._thronged = False
        self._failed = False
        """One of this throng has."""
        self._slow = 0
        self._again: asyncio.TimerHandle | None = None
        self._calm: asyncio.TimerHandle | None = None
        self.over = 0
        """How many throngs have been, and are over."""

    def came(self) -> None:
        """A lane has begun to work."""
        self._working += 1
        if self._working > FEW and self._calm is not None:
            self._calm.cancel()
            self._calm = None
        if self._working >= MANY and not self._thronged:
            self._thronged = True
            self._tell()

    def left(self) -> None:
        """One has ended its work."""
        self._working -= 1
        if self._thronged and self._working <= FEW and self._calm is None:
            self._calm = asyncio.get_running_loop().call_later(CALM_S, self._over)

    def failed(self) -> None:
        """A handshake has, and nobody was told why: all of this throng are from now on."""
        self._failed = True
        self._tell()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Somebody waits for what only the log may tell."""
        self._slow += 1
        if self._again is not None:
            self._again.cancel()
            self._again = None
        self._tell()
        try:
            yield
        finally:
            self._slow -= 1
            if not self._slow:
                self._again = asyncio.get_running_loop().call_later(AGAIN_S, self._slow_no_more)

    def _slow_no_more(self) -> None:
        self._again = None
        self._tell()

    def _over(self) -> None:
        self._calm = None
        self._thronged = self._failed = False
        self.over += 1
        self._tell()

    def _tell(self) -> None:
        needed = self._failed or self._slow > 0 or self._again is not None
        self._charon.hear_log(wanted=not self._thronged or needed)
