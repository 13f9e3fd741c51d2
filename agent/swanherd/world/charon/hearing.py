"""Whether charon's log is listened to: not while many connections change hands, as long as that goes well.

A line of the log is a job of charon's and several switches of its threads until it is here, and a tunnel that comes up
has twenty of them: a third of charon's own time in the takeover of a hundred tunnels, and a quarter of the agent's
(measured). All that they tell where nothing fails, events tell too. What only the log tells is not lost but late:

- that a handshake failed: whoever began it looks when nothing was heard of it for a while, and makes it again, heard;
- that somebody loaded something: all of charon is read once the log is heard again. Of a name of ours what charon
  lists is compared; what it does not list of a connection (its proposals) goes unseen if nothing else differs;
- that a peer owes an answer: no question is open any more when listening ends, and the first retransmission that is
  heard again tells of the next.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from swanherd.world.charon.transport import Reply, ViciConnection

LOG: Final = "log"


class Hearing:
    """Keeps the subscription of the log as it is wanted."""

    def __init__(self, *, on_deaf: Callable[[], None], on_heard: Callable[[], None]) -> None:
        """*on_deaf* is called when the last line has come, *on_heard* when the next one may come."""
        self._on_deaf = on_deaf
        self._on_heard = on_heard
        self._wanted = True
        self._turned = asyncio.Event()
        self._subscribed = False
        self._since: float | None = None

    def want(self, *, wanted: bool) -> None:
        """Listen from now on, or do not."""
        if wanted != self._wanted:
            self._wanted = wanted
            self._since = None
            self._turned.set()

    def whole_since(self, at: float) -> bool:
        """Whether every line since *at* (the loop's clock) has been told, or will be."""
        return self._since is not None and self._since <= at

    def begin(self) -> None:
        """A new connection has subscribed to the log."""
        self._subscribed = True
        self._since = None
        self._listens()

    async def keep(
        self, connection: ViciConnection, answered: Callable[[asyncio.Future[Reply]], Awaitable[None]]
    ) -> None:
        """Keep *connection*'s subscription; *answered* waits for charon. Never returns."""
        while True:
            while self._wanted != self._subscribed:
                wanted = self._wanted
                connection.wake()
                await answered(connection.subscribe((LOG,)) if wanted else connection.unsubscribe((LOG,)))
                self._subscribed = wanted
                (self._on_heard if wanted else self._on_deaf)()
            self._listens()
            self._turned.clear()
            await self._turned.wait()

    def _listens(self) -> None:
        if self._wanted and self._since is None:
            self._since = asyncio.get_running_loop().time()
