"""Whether charon still answers: doubted when it is silent for a while with a command under way.

A watch that runs only then: one that looked every second was a quarter of all that woke an idle gateway (measured).
"""

import asyncio
from typing import Final

SILENT_S: Final = 0.5
"""So long charon leaves every command without an answer, and is asked whether it lives. The looker asks something every
second, so that is 1.5 s after its last answer at the latest."""


class Pulse:
    """Charon's answers to the commands of all lanes."""

    def __init__(self) -> None:
        self.doubted = asyncio.Event()
        """Set after ``SILENT_S`` of silence, until anything is answered."""
        self._open = 0
        """Commands under way."""
        self._silence: asyncio.TimerHandle | None = None

    def asked(self) -> None:
        """A command was sent."""
        self._open += 1
        if self._silence is None:
            self._listen()

    def ended(self, *, answered: bool) -> None:
        """A command is not under way any more: *answered*, or its connection is gone."""
        self._open -= 1
        if answered or not self._open:
            self.beats()

    def beats(self) -> None:
        """Charon has answered something, or nothing is to be answered: its silence begins anew."""
        self.doubted.clear()
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None
        if self._open:
            self._listen()

    def _listen(self) -> None:
        self._silence = asyncio.get_running_loop().call_later(SILENT_S, self.doubted.set)
