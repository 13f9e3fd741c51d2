"""Charon's comings and goings: connects, notices when it is gone, frozen or another one, and has everything read."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from swanherd.core.facts import CharonIdentity, Known, Unknown
from swanherd.core.rhythm import until_tick_s
from swanherd.world.charon.errors import CharonError, CharonGone
from swanherd.world.charon.hearing import LOG, Hearing
from swanherd.world.charon.lanes import CharonStats
from swanherd.world.charon.listener import EVENTS, Listener
from swanherd.world.charon.looker import ASK_S, Looker
from swanherd.world.charon.mirror import Mirror
from swanherd.world.charon.transport import Reply, ViciConnection

RECONNECT_S: Final = 0.05
"""Between two tries to connect. A refused connect costs 20 us; what is waited here is outage."""
LOOK_AFTER_S: Final = ASK_S / 2
"""So long after each of the looker's questions is seen whether charon has answered anything lately."""
QUIET_S: Final = 0.75
"""So long after its last answer charon is asked whether it lives."""
PROBE_DEADLINE_S: Final = 0.5
"""charon answers ``version`` in 0.3 ms, and in 0.1 s with a thousand handshakes under way. When it is called frozen it
has left two questions without an answer, one of them for a second; two seconds after its last answer at the latest."""


class Watcher:
    """Which charon there is, and whether it answers."""

    def __init__(
        self,
        path: str,
        *,
        mirror: Mirror,
        looker: Looker,
        listener: Listener,
        hearing: Hearing,
        stats: CharonStats,
        on_change: Callable[[], None],
        on_connect: Callable[[], Awaitable[None]],
    ) -> None:
        self._path = path
        self._mirror = mirror
        self._looker = looker
        self._listener = listener
        self._hearing = hearing
        self._stats = stats
        self._on_change = on_change
        self._on_connect = on_connect
        self._identity: CharonIdentity | None = None
        self._connection: ViciConnection | None = None
        self.state: Known[CharonIdentity] | Unknown[CharonIdentity] = Unknown(since=0.0, why="not-read")

    def close(self) -> None:
        """End the connection of :meth:`run`."""
        if self._connection is not None:
            self._connection.close()

    async def run(self) -> None:
        """Stay connected to whatever charon there is; never returns."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                self._connection = await ViciConnection.open(self._path)
            except CharonGone:
                self._lost()
            else:
                self._stats.reconnects += 1
                # However it ends, the next round sees whether charon did, or only the connection.
                with contextlib.suppress(CharonError):
                    await self._session(self._connection)
                self._connection.close()
            if loop.time() - began < RECONNECT_S:
                await asyncio.sleep(RECONNECT_S)

    async def _session(self, connection: ViciConnection) -> None:
        """One connection's time: subscribe first, then read, then keep reading."""
        self._meet(connection.identity)
        connection.on_event, self._listener.connection = self._listener.take, connection
        await self._answered(connection.subscribe((*EVENTS, LOG)))
        self._hearing.begin()
        await self._on_connect()
        looker = self._looker
        eternal = (
            self._listener.pump(),
            self._hearing.keep(connection, self._answered),
            looker.look_around(),
            looker.check_all(self._read),
            looker.check_names(),
            self._probe(),
        )
        tasks = [asyncio.create_task(coroutine) for coroutine in eternal]
        try:
            await asyncio.wait((*tasks, connection.ended), return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _probe(self) -> None:
        loop = asyncio.get_running_loop()
        connection = await ViciConnection.open(self._path)
        try:
            while True:
                await asyncio.sleep(until_tick_s(loop.time() - LOOK_AFTER_S, ASK_S))
                if loop.time() - self._stats.answered_at < QUIET_S:
                    continue
                await self._answered(connection.send("version"))
                self._stats.answered_at = loop.time()
        finally:
            connection.close()

    async def _answered(self, answer: asyncio.Future[Reply]) -> None:
        """Wait for *answer* as long as it takes; charon is frozen while it does not come."""
        done, _ = await asyncio.wait((answer,), timeout=PROBE_DEADLINE_S)
        if not done:
            self._froze()
            await asyncio.wait((answer,))
        answer.result()
        self._thawed()

    # --- states -------------------------------------------------------------------------------------------------

    def _meet(self, identity: CharonIdentity) -> None:
        if identity != self._identity:
            self._forget()
        self._identity = identity
        self._looker.awake.set()
        # The same charon, too: events were missed.
        self._unknown("not-read")

    def _lost(self) -> None:
        if isinstance(self.state, Known) or self.state.why != "gone":
            self._forget()
            self._unknown("gone")

    def _froze(self) -> None:
        self._looker.awake.clear()
        self._unknown("frozen")

    def _thawed(self) -> None:
        if not self._looker.awake.is_set():
            self._looker.awake.set()
            # It has run what was queued for it: it stays unknown until everything is read. To call it not read in
            # between would have everything decided twice.
            self._looker.look_at_all()

    def _read(self) -> None:
        if self._identity is not None and not isinstance(self.state, Known):
            self.state = Known(self._identity, since=asyncio.get_running_loop().time())
            self._on_change()

    def _unknown(self, why: str) -> None:
        self.state = Unknown(since=asyncio.get_running_loop().time(), why=why, last=self._identity)
        self._on_change()

    def _forget(self) -> None:
        """What was known is not true of another charon."""
        self._mirror.forget()
        self._listener.forget()
