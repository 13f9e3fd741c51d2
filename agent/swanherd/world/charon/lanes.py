"""A lane: a bounded set of vici connections for one kind of call, so that no kind ever queues behind another.

Once a command is sent, charon runs it, whether we wait or not, and a frozen charon runs it when it wakes. So a slot is
taken until the *answer* (or the end of the connection) has come, not until the caller has left, and the ledger tells
which connections still have commands under way.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Final

from swanherd.world.charon.codec import Outgoing, Section, decode, encode, text
from swanherd.world.charon.errors import CharonRefused, CharonSilent
from swanherd.world.charon.transport import Reply, ViciConnection
from swanherd.world.charon.turns import Turns

TAKEOVER_LIMIT: Final = 3
RELEASE_LIMIT: Final = 4
READ_LIMIT: Final = 3
"""Commands under way at once, by lane. Charon has 16 threads, of which 4 are reserved: 12 blocked commands stop it for
good (measured), so all lanes together stay below that. More connections do not make it faster (measured)."""

CALL_DEADLINE_S: Final = 5.0
"""For takeovers: charon answers in a millisecond; with a thousand handshakes under way, in tens of them."""
RELEASE_DEADLINE_S: Final = 2.0
"""For fences: after this long the release is reported as pending, and tried again."""

NOTHING: Final[Outgoing] = MappingProxyType({})
"""The message of a command that needs none."""


@dataclass(slots=True)
class CharonStats:
    """Counters since the start of the agent."""

    calls: int = 0
    refused: int = 0
    timeouts: int = 0
    reconnects: int = 0
    unsettled: int = 0
    """Commands that have no answer yet although nobody waits for it."""
    log_left: int = 0
    """How often charon confirmed that it tells nothing of its log any more."""
    answered_at: float = float("-inf")
    """When charon answered last, whatever it was asked (the loop's clock)."""


class Ledger:
    """Which commands of a connection charon has been sent and has not answered."""

    def __init__(self) -> None:
        self._open: dict[str, set[asyncio.Future[Reply]]] = {}

    def sent(self, name: str, answer: asyncio.Future[Reply]) -> None:
        """*answer* will be that of a command about *name*."""
        self._open.setdefault(name, set()).add(answer)
        answer.add_done_callback(partial(self._answered, name))

    def pending(self, name: str) -> frozenset[asyncio.Future[Reply]]:
        """The answers about *name* that have not come."""
        return frozenset(self._open.get(name, ()))

    async def settled(self, name: str) -> None:
        """Return when every command about *name* that has been sent before now is answered, or its charon gone."""
        if pending := self.pending(name):
            await asyncio.wait(pending)

    def _answered(self, name: str, answer: asyncio.Future[Reply]) -> None:
        left = self._open.get(name, set())
        left.discard(answer)
        if not left:
            self._open.pop(name, None)


class Lane:
    """Calls of one kind. Every call that is sent ends by its deadline; its connection is then never used again.

    One that waits for a connection ends when none of the others was answered for as long (:class:`Turns`). Had the wait
    counted, most of a thousand releases would have given up unsent, to begin anew.
    """

    def __init__(
        self,
        path: str,
        *,
        limit: int,
        deadline_s: float,
        ledger: Ledger,
        stats: CharonStats,
        on_late: Callable[[str], None],
    ) -> None:
        """*on_late* is called with the name that a command was about if its answer comes after its caller has left."""
        self._path = path
        self._deadline_s = deadline_s
        self._ledger = ledger
        self._stats = stats
        self._on_late = on_late
        self._limit = limit
        self._busy = 0
        self._idle = asyncio.Event()
        self._turns = Turns(limit, patience_s=deadline_s)
        self._free: list[ViciConnection] = []
        self._left: set[asyncio.Future[Reply]] = set()
        self._open: set[ViciConnection] = set()

    async def prepare(self) -> None:
        """Have all connections ready, so that a call only has to be written.

        A frozen charon accepts none: its listen queue of a few takes the first, and then no more.
        """
        self._free = [connection for connection in self._free if connection.usable]
        while len(self._free) < self._limit - self._busy:
            self._free.append(await self._connect())

    async def call(
        self,
        command: str,
        message: Outgoing = NOTHING,
        *,
        stream: str = "",
        name: str = "",
        deadline_s: float = 0,
        first: bool = False,
    ) -> Reply:
        """Charon's answer to *command*, which is about the connection *name* (if any); *first*: before all who wait.

        CharonGone, or CharonSilent after the deadline. Leaving a call by cancellation is like a deadline: the command
        goes on in charon.
        """
        answer: asyncio.Future[Reply] | None = None
        deadline_s = deadline_s or self._deadline_s
        try:
            await self._turns.take(first=first)
            async with asyncio.timeout(deadline_s):
                answer = await self._send(command, message, stream=stream, name=name)
                await asyncio.wait((answer,))
        except TimeoutError:
            self._stats.timeouts += 1
            sent = "no answer" if answer else "not sent, all connections are waiting"
            raise CharonSilent(f"{command}: {sent} within {deadline_s:g} s") from None
        finally:
            if answer is not None and not answer.done():
                self._left.add(answer)
                self._stats.unsettled += 1
        return answer.result()

    async def ask(self, command: str, message: Outgoing = NOTHING, *, name: str = "", first: bool = False) -> Section:
        """As :meth:`call`, for a command that charon answers with success or an error: CharonRefused has its text."""
        answer = decode((await self.call(command, message, name=name, first=first)).body)
        if text(answer, "success") == "no":
            self._stats.refused += 1
            raise CharonRefused(text(answer, "errmsg") or f"{command} failed")
        return answer

    async def settled(self, name: str) -> None:
        """Return when every call about *name* that was sent before now is answered, or its charon gone."""
        await self._ledger.settled(name)

    async def quiet(self) -> None:
        """Return when no call is under way: what can wait does not go between the commands of a takeover."""
        while self._busy:
            await self._idle.wait()

    def close(self) -> None:
        """End all connections; calls that are under way fail with CharonGone."""
        for connection in tuple(self._open):
            connection.close()
        self._free.clear()

    # --- inside -------------------------------------------------------------------------------------------------

    async def _send(self, command: str, message: Outgoing, *, stream: str, name: str) -> asyncio.Future[Reply]:
        """Send by a connection of its own, for which the caller has a slot."""
        try:
            # Encoded only now: a thousand calls at once would hold the loop for 0.1 s.
            packet = encode(message)
            connection = await self._usable()
            answer = connection.send(command, packet, stream=stream)
        except BaseException:  # a cancellation too: the slot must not be lost with it
            self._turns.give_back(answered=False)
            raise
        self._busy += 1
        self._idle.clear()
        self._stats.calls += 1
        answer.add_done_callback(partial(self._answered, connection, name))
        if name:
            self._ledger.sent(name, answer)
        return answer

    async def _usable(self) -> ViciConnection:
        while self._free:
            connection = self._free.pop()
            if connection.usable:
                return connection
        return await self._connect()

    async def _connect(self) -> ViciConnection:
        connection = await ViciConnection.open(self._path)
        self._open.add(connection)
        connection.ended.add_done_callback(lambda _: self._open.discard(connection))
        return connection

    def _answered(self, connection: ViciConnection, name: str, answer: asyncio.Future[Reply]) -> None:
        """The answer, or the end, has come; perhaps long after the caller left."""
        self._busy -= 1
        if not self._busy:
            self._idle.set()
        self._turns.give_back(answered=True)
        failed = answer.cancelled() or answer.exception() is not None
        if not failed:
            self._stats.answered_at = asyncio.get_running_loop().time()
        if answer in self._left:
            self._left.discard(answer)
            self._stats.unsettled -= 1
            connection.close()
            if name:
                self._on_late(name)
        elif not failed and connection.usable:
            self._free.append(connection)


class Lanes:
    """All lanes to one charon."""

    def __init__(self, path: str, *, on_late: Callable[[str], None]) -> None:
        """*on_late* is called with the name that a command was about if its answer comes after its caller has left."""
        self.stats = CharonStats()
        commands = Ledger()
        self.takeovers = self._lane(path, TAKEOVER_LIMIT, CALL_DEADLINE_S, commands, on_late)
        self.releases = self._lane(path, RELEASE_LIMIT, RELEASE_DEADLINE_S, commands, on_late)
        # A ledger of its own: a late answer to a listing proves nothing, and no fence waits for it.
        self.reads = self._lane(path, READ_LIMIT, RELEASE_DEADLINE_S, Ledger(), lambda _: None)
        self._all = (self.takeovers, self.releases, self.reads)

    async def prepare(self) -> None:
        """Have all connections ready, those of takeovers first."""
        for lane in self._all:
            await lane.prepare()

    def close(self) -> None:
        """End all connections; calls that are under way fail with CharonGone."""
        for lane in self._all:
            lane.close()

    def _lane(self, path: str, limit: int, deadline_s: float, ledger: Ledger, on_late: Callable[[str], None]) -> Lane:
        return Lane(path, limit=limit, deadline_s=deadline_s, ledger=ledger, stats=self.stats, on_late=on_late)
