"""Many lanes at work: charon's log is not listened to then, as long as all goes well.

What it costs is paid twenty times a tunnel, by charon as well, when there is no time to lose; and of a hundred tunnels
that come up in a second nobody needs to be told twenty things. But who has heard nothing of a handshake for a while
needs it, and then all do until the throng is over: where one has failed, more of them will.
"""

import asyncio
from typing import Final

from swanherd.runtime.sources import CharonCalls

MANY: Final = 8
"""So many lanes at work are a throng: fewer are over before charon has been told."""
FEW: Final = 2
"""So few are none any more."""
CALM_S: Final = 0.2
"""After so long with few lanes at work. Two bursts in a row are one."""


class Throng:
    """Counts the lanes at work."""

    def __init__(self, charon: CharonCalls) -> None:
        self._charon = charon
        self._working = 0
        self._thronged = False
        self._calm: asyncio.TimerHandle | None = None

    def came(self) -> None:
        """A lane has begun to work."""
        self._working += 1
        if self._working > FEW and self._calm is not None:
            self._calm.cancel()
            self._calm = None
        if self._working >= MANY and not self._thronged:
            self._thronged = True
            self._charon.hear_log(wanted=False)

    def left(self) -> None:
        """One has ended its work."""
        self._working -= 1
        if self._thronged and self._working <= FEW and self._calm is None:
            self._calm = asyncio.get_running_loop().call_later(CALM_S, self._over)

    def needs_log(self) -> None:
        """Somebody has to be told what happens: all of this throng are."""
        self._charon.hear_log(wanted=True)

    def _over(self) -> None:
        self._calm = None
        self._thronged = False
        self._charon.hear_log(wanted=True)
