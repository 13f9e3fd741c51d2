"""The tables ``inet swanherd`` and ``arp swanherd``: kept as they should be, and known as they are.

They are one thing: built, changed, read and removed together, and told of as one table.
"""

import asyncio
import errno
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from swanherd.core.facts import Known, Pair, Unknown, Wire
from swanherd.core.intent import IPAddress
from swanherd.core.rhythm import until_tick_s
from swanherd.world.firewall import elements, layout, requests
from swanherd.world.firewall.changes import Changes, Generation
from swanherd.world.firewall.codec import Message, Request
from swanherd.world.firewall.elements import Contents
from swanherd.world.firewall.errors import FirewallError, RefusedError
from swanherd.world.firewall.kernel import DATAGRAM_BYTES, Kernel, subscribe
from swanherd.world.firewall.snapshot import Snapshot, holds, read, stopped

GENERATION_CHECK_S: Final = 2.0
"""How often the generation is asked for, should a notification be lost: one message of 20 us."""
FULL_CHECK_S: Final = 600.0
"""How often the table is read whole though its generation is the same, which it cannot be after a change."""
RETRY_S: Final = 1.0
"""Until the next attempt to subscribe and read where that was not possible."""
COMMIT_ATTEMPTS: Final = 20
"""A transaction that met somebody else's change is made anew from a new read; more often is a storm."""
_OVERTAKEN: Final = frozenset({errno.ENOENT, errno.EEXIST})
"""What the kernel says to a change of a table or element that is no longer what it was when it was read."""


class Firewall:
    """The tables of ours; nothing else is read or changed.

    To be made inside a running loop, in the network namespace that it guards. Every call to the kernel is synchronous:
    a change that is asked for later never overtakes one that was asked for earlier, so a fence is never undone by an
    ``apply`` that was on its way. *on_change* is called after every change of ``state``, *on_generation* after every
    committed change of anybody's in any table.
    """

    def __init__(self, *, on_change: Callable[[], None], on_generation: Callable[[], None] = lambda: None) -> None:
        self._loop = asyncio.get_running_loop()
        self._kernel = Kernel()
        self._on_change = on_change
        self._on_generation = on_generation
        self._snapshot: Snapshot | None = None
        self._asked: tuple[Wire, Contents] | None = None
        self._read_at = 0.0
        self._state: Known[Wire | None] | Unknown[Wire | None] = Unknown(self._loop.time(), "not read yet")

    @property
    def state(self) -> Known[Wire | None] | Unknown[Wire | None]:
        """What is really there; ``Known(None)``: a table is missing or not as we build it.

        A wire is told as it was asked for where the sets say the same (a remote inside another one needs no element).
        """
        return self._state

    @property
    def remains(self) -> Wire | None:
        """What the sets of our tables said at the last read, even if somebody has changed rules; None: no table.

        An address that was fenced before is still fenced, whoever broke the rule that stops it.
        """
        return self._snapshot.wire if self._snapshot is not None else None

    async def run(self) -> None:
        """Hear of changes and read the table again, for ever; what cannot be read is Unknown until it can."""
        try:
            while True:
                try:
                    await self._follow()
                except FirewallError as error:
                    self._lost(error)
                    await asyncio.sleep(RETRY_S)
        finally:
            self._kernel.close()

    async def apply(self, wire: Wire) -> None:
        """Bring the table to *wire* in one transaction, and read it back; FirewallError says why it is not so.

        Both are built whole, in one replacement without a gap, where one is missing or not as we build it; otherwise
        only elements that differ are changed, so that counters stay. *wire* must contain what was fenced before the
        call.
        """
        wanted = elements.contents(wire)
        with self._watched():
            for _ in range(COMMIT_ATTEMPTS):
                now = self._current()
                batch = requests.change(now.contents, wanted) if now.intact else requests.build(wanted)
                if now.intact and not batch:
                    self._asked = (wire, wanted)
                    self._seen(now)
                    return
                self._commit(batch)
            raise RefusedError(errno.ERESTART)

    def fence(self, *, addresses: Iterable[IPAddress] = (), pairs: Iterable[Pair] = ()) -> None:
        """Add to what is fenced, in one transaction, and read it back: the urgent path, without any wait.

        FirewallError if the kernel refuses, as it does where the table is missing: then ``apply`` puts all of it there.
        """
        more = Wire(fenced=frozenset(addresses), fenced_pairs=frozenset(pairs))
        new = elements.fenced(addresses=more.fenced, pairs=more.fenced_pairs)
        if not any(new.values()):
            return
        with self._watched():
            if any(new[name] for name in layout.FENCED_PAIRS.networks.values()):
                self._fence_around(new)
            else:
                self._kernel.commit(requests.change({}, new))
                self._fenced(new, more)

    async def teardown(self) -> None:
        """Delete our tables, and nothing else; that one or both are missing is success."""
        with self._watched():
            if self._current().present:
                self._kernel.commit(requests.remove())
            self._asked = None
            self._seen(read(self._kernel))

    def stopped(self) -> Mapping[str, int]:
        """Packets stopped since the tables were built: ``guard``, ``fence``, ``fence_pairs``, ``stale_vip``."""
        return stopped(self._kernel)

    def _fence_around(self, new: Contents) -> None:
        """Fence networks: one that lies around what is fenced already takes its place, in the same transaction.

        An element that overlaps another must never get in, since the kernel could later delete the wrong one of them.
        """
        new = {name: items for name, items in new.items() if items}
        for _ in range(COMMIT_ATTEMPTS):
            now = self._current()
            if not now.intact:
                raise RefusedError(errno.ENOENT)
            wanted = {name: now.contents[name] | items for name, items in new.items()}
            for name in wanted.keys() & set(layout.FENCED_PAIRS.networks.values()):
                wanted[name] = frozenset(elements.outermost(wanted[name]))
            batch = requests.change({name: now.contents[name] for name in new}, wanted)
            if not batch:
                return
            self._commit(batch)
        raise RefusedError(errno.ERESTART)

    def _fenced(self, new: Contents, more: Wire) -> None:
        """Read back that *new* (which is *more*) is there, with the rules that stop what matches it."""
        before, generation = self._snapshot, self._kernel.generation()
        if (
            before is not None
            and before.intact
            and before.wire is not None
            # Nobody but us has changed anything since it was read; nor have we, if all was there already.
            and generation - before.generation in {0, 1}
            and holds(self._kernel, _asking(new))
        ):
            contents = dict(before.contents) | {name: before.contents[name] | items for name, items in new.items()}
            wire = replace(
                before.wire,
                fenced=before.wire.fenced | more.fenced,
                fenced_pairs=before.wire.fenced_pairs | more.fenced_pairs,
            )
            self._seen(replace(before, generation=generation, contents=contents, wire=wire))
            return
        now = read(self._kernel)
        self._seen(now)
        if not now.intact or any(items - now.contents[name] for name, items in new.items()):
            raise FirewallError("our tables are not as they were built: they must be built anew")

    def _commit(self, batch: Sequence[Request]) -> None:
        """Commit, unless somebody else's change made it void: then the caller reads and thinks again."""
        try:
            self._kernel.commit(batch)
        except RefusedError as error:
            if error.code not in _OVERTAKEN:
                raise

    def _current(self) -> Snapshot:
        """The table as it is at this moment."""
        now = self._snapshot
        if now is None or now.generation != self._kernel.generation():
            now = read(self._kernel)
            self._seen(now)
        return now

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Whatever fails, ``state`` says what is there now."""
        try:
            yield
        except FirewallError:
            try:
                self._seen(read(self._kernel))
            except FirewallError as error:
                self._lost(error)
            raise

    async def _follow(self) -> None:
        sock = subscribe()
        try:
            changes = Changes()  # heard from now on: what the read below does not see is told afterwards
            self._seen(read(self._kernel))
            while True:
                try:
                    async with asyncio.timeout(until_tick_s(self._loop.time(), GENERATION_CHECK_S)):
                        datagram = await self._loop.sock_recv(sock, DATAGRAM_BYTES)
                    for generation in changes.feed(datagram):
                        self._heard(generation)
                        self._on_generation()
                    await asyncio.sleep(0)  # a flood of notifications must not hold up the loop
                except TimeoutError:
                    self._checked()
                except OSError as error:  # ENOBUFS: some were lost
                    if error.errno != errno.ENOBUFS:
                        raise RefusedError(error.errno or errno.EIO) from error
                    self._seen(read(self._kernel))
                    self._on_generation()
                if self._loop.time() - self._read_at >= FULL_CHECK_S:
                    self._seen(read(self._kernel))
        finally:
            sock.close()

    def _checked(self) -> None:
        """See whether a notification was lost."""
        known = self._snapshot
        if self._current() is not known:
            self._on_generation()

    def _heard(self, generation: Generation) -> None:
        """Read again, unless what we know is of that generation or a later one, or the next and not about our table."""
        known = self._snapshot
        ahead = (generation.number - known.generation) % 2**32 if known is not None else None
        if ahead == 0 or (ahead is not None and ahead >= 2**31):
            return
        if known is not None and ahead == 1 and not generation.touched:
            self._snapshot = replace(known, generation=generation.number)
        else:
            self._seen(read(self._kernel))

    def _seen(self, now: Snapshot) -> None:
        if now.intact and self._asked is not None and now.contents == self._asked[1]:
            # The very objects that were asked for: comparing them again, at every fence, costs nothing.
            now = replace(now, wire=self._asked[0], contents=self._asked[1])
        self._snapshot = now
        self._read_at = self._loop.time()
        wire = now.wire if now.intact else None
        if not isinstance(self._state, Known) or self._state.value != wire:
            self._state = Known(wire, self._loop.time())
            self._on_change()

    def _lost(self, error: FirewallError) -> None:
        self._snapshot = None
        if not isinstance(self._state, Unknown) or self._state.why != str(error):
            last = self._state.value if isinstance(self._state, Known) else self._state.last
            since = self._state.since if isinstance(self._state, Unknown) else self._loop.time()
            self._state = Unknown(since, str(error), last)
            self._on_change()


def _asking(new: Contents) -> Iterator[Request]:
    for name, items in new.items():
        yield from requests.of_elements(Message.GETSETELEM, name, items)
