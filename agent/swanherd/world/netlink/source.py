"""The kernel's network as a fact: subscribe, then read, then follow.

An event is on its way to `NetworkSource.state` in one hop of the loop: a reader callback on a subscribed socket decodes
and applies what is there, in slices, so that a flood never holds the loop. What waits is bounded by the kernel's own
buffer, and the kernel says when it had to drop something; there is no queue of ours that grows.
"""

import asyncio
import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Final

from swanherd.core.facts import Known, Network, NetworkChange, Unknown
from swanherd.world.netlink.messages import RTM_GETADDR, RTM_GETLINK, RTM_GETROUTE, Message, decode, parts
from swanherd.world.netlink.sockets import DATAGRAM_BYTES, Reading, dump, open_events
from swanherd.world.netlink.table import RowKey, Table

RECEIVE_BUFFER_BYTES: Final = 8 << 20
"""What the kernel may queue while the loop is busy: over 15 000 address events. A limit, nothing is set aside."""

SLICE_DATAGRAMS: Final = 100
"""Events handled before other work of the loop gets its turn: about 1 ms."""

SLICE_ROWS: Final = 250
"""Rows of a reading taken in one piece: up to 5 ms on a slow processor (500 took 10)."""

CHECK_S: Final = 60.0
"""How often everything is read again although no event asked for it: the net under a fault of ours or the kernel's."""

UNCLEAN_CHECK_S: Final = 1.0
"""The same after an unclean reading, in which something can be missing."""

CONFIRM_S: Final = 0.1
"""A difference must still be there this much later: an event may follow the change that a reading already shows."""

INTERRUPTED_PAUSE_S: Final = 0.002
"""Before a reading that a change interrupted is begun again; a change is over within this."""

UNCLEAN_READINGS: Final = 4
"""So many unclean readings are taken together instead of a clean one: where addresses never rest there is none, and
the source would be Unknown for ever. A row must have been skipped in each of them to be missing."""

RETRY_S: Final = 0.2
"""Before a socket that could not be had is tried again."""


@dataclass(slots=True)
class Counters:
    """What went wrong since the start, for metrics."""

    overflows: int = 0
    """The kernel dropped events, since the loop did not read them in time."""
    resyncs: int = 0
    """Full readings that made the source known again (the first one at start is not counted)."""
    interrupted: int = 0
    """Readings begun again, since the table changed meanwhile."""
    missed: int = 0
    """Differences that the slow check found and no event had told: each is a defect here or in the kernel."""


class NetworkSource:
    """Addresses, links and default routes of the network namespace in which `run` opens its sockets.

    Made inside a running loop. *on_change* is called on the loop after `state` was updated, at most once for a slice of
    events, never for what changes nothing; it must be quick. A change names an address that came, went or became
    usable, a device whose link changed, not the device of an address.
    """

    def __init__(
        self,
        *,
        on_change: Callable[[NetworkChange], None],
        receive_buffer_bytes: int = RECEIVE_BUFFER_BYTES,
        check_s: float = CHECK_S,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_change = on_change
        self._receive_buffer_bytes = receive_buffer_bytes
        self._check_s = check_s
        self._table = Table()
        self._unknown: Unknown[Network] | None = Unknown(since=self._loop.time(), why="not-read")
        self._known: Known[Network] | None = None
        self._changed_at = 0.0
        self._events: socket.socket | None = None
        self._failure: OSError | None = None
        self._clean = True
        self._wake = asyncio.Event()
        self.counters = Counters()

    @property
    def state(self) -> Known[Network] | Unknown[Network]:
        """The network now; the same object until it changes. The `Network` in it never changes, so it may be kept.

        Unknown: ``not-read`` before the first reading, ``overflow`` or ``lost`` (with the last known value) until
        everything was read again; its ``since`` is when it was first lost.
        """
        if self._unknown is not None:
            return self._unknown
        if self._known is None:
            self._known = Known(self._table.snapshot(), self._changed_at)
        return self._known

    async def run(self) -> None:
        """Follows the kernel until it is cancelled. No error leaves it: what breaks is opened anew."""
        while True:
            try:
                await self._follow_one_socket()
            except (OSError, ValueError) as error:  # TimeoutError is an OSError
                self._lose(error)
                if not _is_overflow(error):
                    await asyncio.sleep(RETRY_S)

    async def _follow_one_socket(self) -> None:
        self._failure = None
        with open_events(self._receive_buffer_bytes) as self._events:
            events = self._events
            self._loop.add_reader(events, self._hear, events)
            try:
                await self._read_everything()
                await self._follow()
            finally:
                self._table.end_reading()
                self._loop.remove_reader(events)

    async def _follow(self) -> None:
        next_check = self._next_check()
        while True:
            try:
                async with asyncio.timeout_at(next_check):
                    await self._wake.wait()
            except TimeoutError:
                await self._check()
                next_check = self._next_check()
            self._wake.clear()
            self._raise_failure()
            if self._table.routes_stale:
                await self._read_routes()
                self._tell()

    def _next_check(self) -> float:
        return self._loop.time() + (self._check_s if self._clean else min(self._check_s, UNCLEAN_CHECK_S))

    # --- events -----

    def _hear(self, events: socket.socket) -> None:
        """The reader callback: one slice of what waits; the loop calls again for the rest."""
        now = self._loop.time()
        try:
            for _ in range(SLICE_DATAGRAMS):
                datagram = events.recv(DATAGRAM_BYTES)
                for part in parts(datagram):
                    if message := decode(part, datagram):
                        self._table.apply(message, now)
        except BlockingIOError:
            pass
        except (OSError, ValueError) as error:
            self._loop.remove_reader(events)
            self.counters.overflows += _is_overflow(error)
            self._failure = error if isinstance(error, OSError) else OSError(errno.EBADMSG, str(error))
            self._lose(self._failure)
            self._wake.set()
            return
        if self._table.routes_stale:
            self._wake.set()
        self._tell()

    def _tell(self) -> None:
        if self._unknown is None and (change := self._table.take_change()):
            self._known = None
            self._changed_at = self._loop.time()
            self._on_change(change)

    def _lose(self, error: Exception) -> None:
        """The state becomes Unknown at once: whoever looks before the next reading must not trust it."""
        why = "overflow" if _is_overflow(error) else "lost"
        if self._unknown is not None:
            # Lost again before it was read: the deadline of those who hold on runs from the first loss.
            if self._unknown.why != "not-read":
                self._unknown = Unknown(since=self._unknown.since, why=why, last=self._unknown.last)
        else:
            state = self.state
            last = state.value if isinstance(state, Known) else None
            self._unknown = Unknown(since=self._loop.time(), why=why, last=last)
            self._on_change(NetworkChange(everything=True))

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    # --- readings -----

    async def _read_everything(self) -> None:
        """After the subscription: everything, once, and what events say meanwhile wins."""
        self._table.begin_reading()
        rows, self._clean = await self._read_rows()
        await self._correct(self._table.differences(rows))
        self._table.end_reading()
        await self._read_routes()
        self._raise_failure()
        self._table.take_change()
        self._table.watched = True
        first = self._unknown is not None and self._unknown.why == "not-read"
        self.counters.resyncs += not first
        self._unknown = self._known = None
        self._changed_at = self._loop.time()
        self._on_change(NetworkChange(everything=True))

    async def _read_routes(self) -> bool:
        """Whether the default routes are others now."""
        # Cleared before the reading: what becomes stale during it is read once more.
        self._table.routes_stale = False
        # Of an unclean reading the last try will do: default routes are listed first, so they are not skipped.
        readings, _clean = await self._dump(RTM_GETROUTE)
        return self._table.replace_routes(readings[-1].rows)

    async def _check(self) -> None:
        """The slow check. Only what two readings find, some time apart, counts and is corrected."""
        try:
            before, routes = await self._differences(), await self._read_routes()
            if not before and not routes:
                return
            await asyncio.sleep(CONFIRM_S)
            still = await self._differences()
            self._raise_failure()
            missed = {key: message for key, message in still.items() if key in before}
            self.counters.missed += len(missed) + (routes and not self._table.routes_stale)
            await self._correct(missed)
        finally:
            self._table.end_reading()
        self._tell()

    async def _differences(self) -> dict[RowKey, Message]:
        self._table.begin_reading()
        rows, self._clean = await self._read_rows()
        found = self._table.differences(rows)
        # What an unclean reading has is right; what it has not may be there all the same.
        return {key: message for key, message in found.items() if self._clean or not message.gone}

    async def _correct(self, differences: dict[RowKey, Message]) -> None:
        now = self._loop.time()
        items = iter(differences.items())
        while some := list(islice(items, SLICE_ROWS)):
            self._table.correct(some, now)
            await asyncio.sleep(0)

    async def _read_rows(self) -> tuple[list[Message], bool]:
        """All links and addresses, and whether none can be missing."""
        rows: list[Message] = []
        all_clean = True
        for kind in (RTM_GETLINK, RTM_GETADDR):
            readings, clean = await self._dump(kind)
            rows += [row for reading in readings for row in reading.rows]
            all_clean &= clean
        return rows, all_clean

    async def _dump(self, kind: int) -> tuple[list[Reading], bool]:
        """One clean reading, or some unclean ones, which together have what stayed; what left meanwhile was told."""
        unclean: list[Reading] = []
        while len(unclean) < UNCLEAN_READINGS:
            reading = await dump(kind)
            if reading.clean:
                return [reading], True
            self.counters.interrupted += 1
            unclean.append(reading)
            await asyncio.sleep(INTERRUPTED_PAUSE_S)
        return unclean, False


def _is_overflow(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno == errno.ENOBUFS
