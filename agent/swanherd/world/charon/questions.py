"""Which questions of charon's peers owe an answer to, told only of those that stay open.

A thousand tunnels whose peers are asked every ten seconds have a hundred questions a second, each answered within the
time of a packet there and back. Told of each of them, and of each answer, the agent decided two hundred times a second
that nothing is to be done: a tenth of a core (measured).
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from swanherd.world.charon.mirror import Mirror

OPEN_S: Final = 0.5
"""So long a question is open when it is told. The shortest timeout that can be set is a second."""
LOOK_S: Final = 0.1
"""Between two looks at what is open."""


class Questions:
    """*asked* tells which questions of a connection are open now, by the IKE_SA's unique id: since when."""

    def __init__(
        self,
        *,
        mirror: Mirror,
        asked: Callable[[str], Mapping[int, float]],
        on_change: Callable[[frozenset[str]], None],
    ) -> None:
        self._mirror = mirror
        self._asked = asked
        self._on_change = on_change
        self._untold: dict[str, float] = {}
        """Connections with questions that are open and not told: since when the oldest of these is."""
        self._timer: asyncio.TimerHandle | None = None

    def forget(self) -> None:
        """Another charon, or none: it has asked nothing yet."""
        self._untold.clear()

    def heard(self, name: str) -> bool:
        """A line about *name* was heard; whether it answers what was told to be open.

        A new question is told by *on_change*, if it is still open after ``OPEN_S``.
        """
        asked, told = self._asked(name), self._mirror.view(name).asked
        if not asked and not told:
            self._untold.pop(name, None)
            return False
        self._note(name, [since for unique_id, since in asked.items() if unique_id not in told])
        if self._untold and self._timer is None:
            self._look_later()
        left = {unique_id: since for unique_id, since in told.items() if asked.get(unique_id) == since}
        return self._mirror.put_asked(name, left)

    def _note(self, name: str, untold: list[float]) -> None:
        if untold:
            self._untold[name] = min(untold)
        else:
            self._untold.pop(name, None)

    def _look_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(max(min(self._untold.values()) + OPEN_S, loop.time() + LOOK_S), self._look)

    def _look(self) -> None:
        self._timer = None
        old = asyncio.get_running_loop().time() - OPEN_S
        changed: set[str] = set()
        for name in [name for name, since in self._untold.items() if since <= old]:
            asked, told = self._asked(name), self._mirror.view(name).asked
            open_long = {unique_id: since for unique_id, since in asked.items() if since <= old}
            self._note(name, [since for unique_id, since in asked.items() if unique_id not in {*told, *open_long}])
            if self._mirror.put_asked(name, {**told, **open_long}):
                changed.add(name)
        if self._untold:
            self._look_later()
        if changed:
            self._on_change(frozenset(changed))
