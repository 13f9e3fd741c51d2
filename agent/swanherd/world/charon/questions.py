"""Which questions of charon's peers owe an answer to, told only of those that stay open.

A thousand tunnels whose peers are asked every ten seconds have a hundred questions a second, each answered within the
time of a packet there and back. Told of each of them, and of each answer, the agent decided two hundred times a second
that nothing is to be done: a tenth of a core (measured).
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from swanherd.world.charon.mirror import Mirror

OPEN_S: Final = 0.5
"""So long a question is open when it is told. The shortest timeout that can be set is a second."""
LOOK_S: Final = 0.1
"""Between two looks at what is open."""


@dataclass(frozen=True, slots=True)
class _Question:
    name: str
    unique_id: int
    since: float


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
        self._young: deque[_Question] = deque()
        """In the order in which they were asked."""
        self._timer: asyncio.TimerHandle | None = None

    def forget(self) -> None:
        """Another charon, or none: it has asked nothing yet."""
        self._young.clear()

    def heard(self, name: str) -> bool:
        """A line about *name* was heard; whether it answers what was told to be open.

        A new question is told by *on_change*, if it is still open after ``OPEN_S``.
        """
        asked, told = self._asked(name), self._mirror.view(name).asked
        for unique_id, since in asked.items():
            if unique_id not in told and not self._waits(name, unique_id, since):
                self._young.append(_Question(name, unique_id, since))
                self._look_later(since + OPEN_S)
        left = {unique_id: since for unique_id, since in told.items() if asked.get(unique_id) == since}
        return self._mirror.put_asked(name, left)

    def _waits(self, name: str, unique_id: int, since: float) -> bool:
        """Whether it is among the young ones: the latest lines are about the latest questions."""
        for young in reversed(self._young):
            if young.since < since:
                return False
            if (young.name, young.unique_id) == (name, unique_id):
                return True
        return False

    def _look_later(self, at: float) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(at, loop.time() + LOOK_S), self._look)

    def _look(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        changed: set[str] = set()
        while self._young and self._young[0].since + OPEN_S <= now:
            old = self._young.popleft()
            if self._asked(old.name).get(old.unique_id) == old.since:
                told = {**self._mirror.view(old.name).asked, old.unique_id: old.since}
                if self._mirror.put_asked(old.name, told):
                    changed.add(old.name)
        if self._young:
            self._look_later(self._young[0].since + OPEN_S)
        if changed:
            self._on_change(frozenset(changed))
