"""Reads what charon has into the mirror: by name where something happened, all of it after a connect and slowly.

Reads by name and full reads run side by side; the mirror's stamps keep an older one from overwriting a newer.
"""

import asyncio
from collections.abc import Callable, Iterator
from itertools import chain, cycle
from typing import Final

from swanherd.core.facts import LoadedConfig
from swanherd.core.rhythm import rest_s, until_tick_s
from swanherd.world.charon.errors import CharonSilent
from swanherd.world.charon.lanes import Lane
from swanherd.world.charon.messages import connection_of, is_ours
from swanherd.world.charon.mirror import Mirror
from swanherd.world.charon.reader import CROWD, DECODE_BATCH, EVERYTHING, Reader, section_of

ASK_S: Final = 1.0
"""Loaded names, secrets, keys and traps: somebody's ``swanctl --load-all`` changes them without an event. One question
is asked so often, and all four at once where an answer differs: names are two seconds old at most, since whoever takes
anything away takes a connection, and the others six. It shows as well that charon lives."""
REREAD_S: Final = 1.0
"""All four, while commands of our own change them."""
REREAD_YOUNG_S: Final = 0.25
YOUNG_S: Final = 5.0
"""After charon's start its service file loads swanctl.conf, which unloads ours: look often until that is over."""
CHASE_S: Final = (0.005, 0.03, 0.15, 0.6)
"""An event or a log line comes before charon has destroyed the SA that it is about: look again after these times."""
CHECK_UP_S: Final = 1.0
"""After a handshake was begun or ended well: whether that is all, where no child's event has told already. With a
thousand handshakes one takes half a second, and a listing for each would make all of them slower."""
CHECK_GONE_S: Final = 1.0
"""After an SA was ended by us, unless it is known by then to be gone."""
CHECK_ALL_GONE_S: Final = 3.0
"""The same after all of a name was ended. Its release has its own read-back, behind all of those that go with it: a
listing for each of a thousand meanwhile took charon as long as all the rest of them (profiled)."""
MANY: Final = 20
"""Of so many names one: where more than that are to be looked at, all are listed at once. A listing of one name costs
charon about a twentieth of one of all, since it goes through all of its SAs for either, and us nothing."""
UNREAD: Final = "?.?"
"""The digest of what is loaded under a name that is not ours to care for."""


class Looker:
    """Knows where to look next, and looks."""

    def __init__(self, lane: Lane, *, mirror: Mirror, on_change: Callable[[frozenset[str]], None]) -> None:
        self._lane = lane
        self._reader = Reader(lane)
        self._mirror = mirror
        self._on_change = on_change
        self._watched: frozenset[str] = frozenset()
        self._dirty: dict[str, bool] = {}
        """Names to look at, in order; whether at the configuration too."""
        self._checks: set[str] = set()
        self._gone_checks: set[str] = set()
        self._read: tuple[object, object, object, object] = (None, None, None, None)
        """What was read and put into the mirror last, when its stamp was ``_names_read``."""
        self._names_read = -1
        self._names_read_at = 0.0
        self._stirred = asyncio.Event()
        self._all_due = asyncio.Event()
        self.awake = asyncio.Event()
        """Cleared while charon is frozen: nothing is read then."""

    # --- where to look ------------------------------------------------------------------------------------------

    def watch(self, names: frozenset[str]) -> None:
        """Read the configurations of *names*, and of no others."""
        new = names - self._watched
        self._watched = names
        for name in new:
            if self._mirror.view(name).config is not None:
                self.look(name, config=True)

    def look(self, name: str, *, config: bool = False) -> None:
        """Something about *name* may have changed: read it."""
        self._dirty[name] = self._dirty.get(name, False) or config
        self._stirred.set()

    def look_later(self, name: str, delay_s: float) -> None:
        """Look at *name* and its configuration after *delay_s*."""
        asyncio.get_running_loop().call_later(delay_s, lambda: self.look(name, config=True))

    def check_later(self, name: str) -> None:
        """Look at *name* after ``CHECK_UP_S``, once however often this is asked meanwhile."""
        if name not in self._checks:
            self._checks.add(name)
            asyncio.get_running_loop().call_later(CHECK_UP_S, self._check, name)

    def check_gone_later(self, name: str, *, all_of_it: bool) -> None:
        """Look at *name*, of which some or *all_of_it* was ended, in a while, unless it is known by then to be gone."""
        if name not in self._gone_checks:
            self._gone_checks.add(name)
            delay_s = CHECK_ALL_GONE_S if all_of_it else CHECK_GONE_S
            asyncio.get_running_loop().call_later(delay_s, self._check_gone, name)

    def _check_gone(self, name: str) -> None:
        self._gone_checks.discard(name)
        if self._mirror.view(name).sas:
            self.look(name)

    def _check(self, name: str) -> None:
        self._checks.discard(name)
        view = self._mirror.view(name)
        if not any(sa.established and sa.children for sa in view.sas) or len(view.sas) > 1:
            self.look(name)

    def chase(self, name: str, *, config: bool = False) -> None:
        """As :meth:`look`, now and again: something about *name* is about to change."""
        self.look(name, config=config)
        for delay_s in CHASE_S:
            asyncio.get_running_loop().call_later(delay_s, self._look_if_going, name)

    def look_at_all(self) -> None:
        """Read everything as soon as possible."""
        self._all_due.set()

    def _look_if_going(self, name: str) -> None:
        if any(not sa.established for sa in self._mirror.view(name).sas):
            self.look(name)

    # --- looking: three tasks -----------------------------------------------------------------------------------

    async def look_around(self) -> None:
        """Read the names that something happened to, one after another."""
        while True:
            if not self._dirty:
                self._stirred.clear()
                await self._stirred.wait()
            await self.awake.wait()
            many = [name for name, config in self._dirty.items() if not config]
            if len(many) > max(CROWD, len(self._mirror.here) // MANY):
                await self._look_at_many(many)
                continue
            name = next(iter(self._dirty))
            config = self._dirty.pop(name)
            try:
                await self._look_at(name, config=config)
            except CharonSilent:
                # A listing waits for every SA that charon has in use, whatever it is asked for: one that resolves a
                # name stops them all. One listing that waits is enough; the others would take the lane's last slot.
                await self._lane.settled(name)
                self.look(name, config=config)

    async def check_names(self) -> None:
        """Read the names of what is loaded, often."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        reader = self._reader
        names, *others = enumerate((reader.names, reader.shared_ids, reader.key_ids, reader.traps))
        questions = chain.from_iterable((names, other) for other in cycle(others))
        while True:
            young = loop.time() < began + YOUNG_S
            await asyncio.sleep(REREAD_YOUNG_S if young else until_tick_s(loop.time(), ASK_S))
            await self.awake.wait()
            try:
                if young:
                    await self._read_names()
                elif self._mirror.now == self._names_read:
                    position, ask = next(questions)
                    if await ask() is not self._read[position]:
                        await self._read_names()
                elif loop.time() >= self._names_read_at + REREAD_S:
                    await self._read_names()
            except CharonSilent:
                self.look_at_all()

    async def check_all(self, on_read: Callable[[], None]) -> None:
        """Read everything now, slowly, and whenever asked; *on_read* is called each time that everything was read."""
        loop = asyncio.get_running_loop()
        while True:
            await self.awake.wait()
            self._all_due.clear()
            began = loop.time()
            try:
                await self._read_names()
                await self._read_all()
            except CharonSilent:
                self.look_at_all()
                await self._lane.settled(EVERYTHING)
                await asyncio.sleep(REREAD_YOUNG_S)
            else:
                on_read()
            try:
                async with asyncio.timeout(rest_s(loop.time() - began)):
                    await self._all_due.wait()
            except TimeoutError:
                pass  # it is time for the slow check

    # --- reading ------------------------------------------------------------------------------------------------

    async def _look_at_many(self, names: list[str]) -> None:
        """Look at the SAs of *names* by one listing of all."""
        for name in names:
            del self._dirty[name]
        since = self._mirror.now
        try:
            found = await self._reader.all_sas()
        except CharonSilent:
            await self._lane.settled(EVERYTHING)
            for name in names:
                self.look(name)
            return
        changed: set[str] = set()
        for position, name in enumerate(names, start=1):
            if position % DECODE_BATCH == 0:
                await asyncio.sleep(0)
            if not self._mirror.fresh(name, since):
                self.look(name)
                continue
            if self._mirror.put_sas(name, found.get(name, ())):
                changed.add(name)
            self._mirror.touch(name)  # a full read that began earlier knows less
        self._tell(changed)

    async def _look_at(self, name: str, *, config: bool) -> None:
        since = self._mirror.now
        sas = await self._reader.sas(name)
        section = await self._reader.section(name) if config else None
        if not self._mirror.fresh(name, since):
            self.look(name, config=config)
            return
        changed = self._mirror.put_sas(name, sas)
        if config:
            changed |= self._mirror.put_section(name, section)
        self._mirror.touch(name)  # a full read that began earlier knows less
        self._tell({name} if changed else set())

    async def _read_all(self) -> None:
        since = self._mirror.now
        changed: set[str] = set()
        for position, (name, item) in enumerate((await self._reader.configs()).items(), start=1):
            if position % DECODE_BATCH == 0:
                await asyncio.sleep(0)
            if self._mirror.fresh(name, since) and self._mirror.put_listed(name, item, section_of):
                changed.add(name)
        since = self._mirror.now
        sas = await self._reader.all_sas()
        for position, name in enumerate({*sas, *self._mirror.here}, start=1):
            if position % DECODE_BATCH == 0:
                await asyncio.sleep(0)
            if self._mirror.fresh(name, since) and self._mirror.put_sas(name, sas.get(name, ())):
                changed.add(name)
        self._names_read = -1  # what somebody has unloaded meanwhile may have been listed still
        self._tell(changed)

    async def _read_names(self) -> None:
        since = self._mirror.now
        reader = self._reader
        read = (await reader.names(), await reader.shared_ids(), await reader.key_ids(), await reader.traps())
        stamp = self._mirror.now
        self._names_read_at = asyncio.get_running_loop().time()
        if stamp == since == self._names_read and all(new is old for new, old in zip(read, self._read, strict=True)):
            return  # every second, and of a thousand connections
        self._read, self._names_read = read, since
        names, shared_ids, key_ids, traps = read
        changed = set(self._put_names(names, since))
        ours = frozenset(connection_of(key) for key in shared_ids if is_ours(key))
        changed |= self._mirror.put_all_secrets(ours, since)
        if self._mirror.put_all_keys(key_ids, since):
            changed |= self._watched  # whose it is, who loads it knows
        changed |= self._mirror.put_all_traps(traps, since)
        self._tell(changed)

    def _put_names(self, names: frozenset[str], since: int) -> Iterator[str]:
        """*names* are loaded, and no others."""
        for name in {*names, *self._mirror.here}:
            loaded = self._mirror.view(name).config is not None
            if loaded == (name in names) or not self._mirror.fresh(name, since):
                continue
            if not loaded and name in self._watched:
                self.look(name, config=True)
            elif self._mirror.put_config(name, LoadedConfig(name, UNREAD, None) if name in names else None):
                yield name

    def _tell(self, changed: set[str]) -> None:
        if changed:
            self._on_change(frozenset(changed))
