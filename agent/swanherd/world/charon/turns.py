"""Who waits for a connection to charon, in order of asking, and until when it makes sense to wait."""

import asyncio
from collections import deque
from dataclasses import dataclass


@dataclass(slots=True)
class _Waiting:
    turn: asyncio.Future[None]
    since: float


class Turns:
    """A number of turns, given in order. Who waits gives up when nobody has been answered for *patience_s*.

    A thousand who ask at once get their turns, however long that takes. One timer watches over all of them: had each a
    timeout of its own, ten thousand would wake in vain every few seconds.
    """

    def __init__(self, number: int, *, patience_s: float) -> None:
        self._free = number
        self._patience_s = patience_s
        self._waiting: deque[_Waiting] = deque()
        self._answered_at = float("-inf")
        self._timer: asyncio.TimerHandle | None = None

    async def take(self, *, first: bool = False) -> None:
        """Return with a turn, which is given back with :meth:`give_back`; TimeoutError if it makes no sense to wait.

        *first*: before all who wait already.
        """
        if self._free:
            self._free -= 1
            return
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        waiting = _Waiting(turn, loop.time())
        (self._waiting.appendleft if first else self._waiting.append)(waiting)
        if self._timer is None:
            self._look_later()
        try:
            await turn
        except asyncio.CancelledError:
            # It may have come together with the cancellation: it must not be lost with that.
            if not turn.cancelled() and turn.exception() is None:
                self.give_back(answered=False)
            raise

    def give_back(self, *, answered: bool) -> None:
        """The turn is free again; *answered*: because charon has, so that it makes sense to wait on."""
        if answered:
            self._answered_at = asyncio.get_running_loop().time()
        while self._waiting:
            turn = self._waiting.popleft().turn
            if not turn.done():  # who has left meanwhile is
                turn.set_result(None)
                return
        self._free += 1

    def _look(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        while self._waiting and self._vain_at() <= now:
            turn = self._waiting.popleft().turn
            if not turn.done():
                turn.set_exception(TimeoutError())
        if self._waiting:
            self._look_later()

    def _look_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_at(self._vain_at(), self._look)

    def _vain_at(self) -> float:
        """When the first one gives up, if nobody is answered before."""
        return max(self._waiting[0].since, self._answered_at) + self._patience_s
