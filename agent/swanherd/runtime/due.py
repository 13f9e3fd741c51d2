"""Which connections are due for a decision, and when the next pass is."""

import asyncio
from collections.abc import Iterable
from typing import Final

GATHER_S: Final = 0.02
"""How long after the last pass another one waits for what is in no hurry. In a takeover of a hundred tunnels charon and
the lanes tell something every millisecond, and no handshake waits for a pass: five passes a tunnel were a third of what
it cost the agent (profiled), and 20 ms instead of 5 save a sixth."""


class Due:
    """Names that are due, gathered until the loop takes them."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._woken = asyncio.Event()
        self._hurried = asyncio.Event()
        self._passed_at = float("-inf")

    def add(self, names: Iterable[str], *, hurry: bool = True) -> None:
        """Have *names* decided in the next pass. Without *hurry* not before ``GATHER_S`` after the last."""
        self._names.update(names)
        self._woken.set()
        if hurry:
            self._hurried.set()

    async def wait(self, until: float | None) -> None:
        """Wait until a pass is wanted, or the loop's clock shows *until*."""
        if await _is_set(self._woken, until):
            await _is_set(self._hurried, min(self._passed_at + GATHER_S, float("inf") if until is None else until))
        self._passed_at = asyncio.get_running_loop().time()

    def take(self) -> set[str]:
        """The names that are due; cleared before the facts are read, so that no change is lost."""
        self._woken.clear()
        self._hurried.clear()
        names, self._names = self._names, set()
        return names


async def _is_set(event: asyncio.Event, until: float | None) -> bool:
    """Wait for *event*, at most until the loop's clock shows *until* (None: for ever); whether it is set."""
    if until is None:
        return await event.wait()
    delay_s = until - asyncio.get_running_loop().time()
    if delay_s > 0:
        try:
            async with asyncio.timeout(delay_s):
                await event.wait()
        except TimeoutError:
            pass
    return event.is_set()
