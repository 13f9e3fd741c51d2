"""What keepalived says of its VRRP instances, by D-Bus: read again after each signal, and by time.

keepalived tells no change of its state reliably: there is no signal for the first BACKUP, and none when it is frozen or
goes on. So a signal only means "read", and without one an instance is read every half advert interval, which is also
how a frozen keepalived is noticed. At most one call waits for an answer, however long keepalived is frozen.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from swanherd.core.evidence import VrrpState
from swanherd.core.facts import Absent, Known, Unknown
from swanherd.world.keepalived.bus import (
    Bus,
    BusGoneError,
    NoObjectError,
    OwnerGoneError,
    Place,
    RefusedError,
    device_in_path,
)
from swanherd.world.keepalived.counters import Counters

ANSWER_S: Final = 0.25
"""keepalived answers in 0.3 ms, in 20 ms on a busy machine. Later than this it is silent, counted from the question."""

READ_MIN_S: Final = 0.05
READ_MAX_S: Final = 0.5
"""Bounds of half an advert interval: a read costs 0.4 ms of the loop, and a frozen keepalived should not go unseen."""

SEARCH_S: Final = 1.0
"""How often an instance that was not found is looked for."""

RECONNECT_S: Final = 0.5
"""Between two tries to reach a bus; a refused one costs 0.2 ms. Without it the address decides: nothing is urgent."""

NEW_BUS: Final = "not-on-new-bus"
"""The bus was restarted, and keepalived has not come to the new one (2.2.7 never does by itself). It may well live:
that it left a bus which is there says that it is gone, that it is missing on one that it never was on says nothing."""

T = TypeVar("T")
State = Known[VrrpState] | Unknown[VrrpState] | Absent


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An instance to be read: by its name, or else by where it is."""

    instance: str | None
    device: str
    vrid: int | None
    family: Literal[4, 6] | None
    read_every_s: float

    def is_it(self, place: Place, name: str) -> bool:
        """Whether the instance *name* at *place* is meant."""
        if self.instance is not None:
            return name == self.instance
        fits = place.device == device_in_path(self.device) and place.vrid == self.vrid
        return fits and self.family in {None, place.family}


class LateError(Exception):
    """The answer came after keepalived was silent: it may be from before that, so it is asked again."""


class InstanceReader:
    """The states of the wanted instances, by the name of the interface that wants each."""

    def __init__(self, *, address: str | None, on_change: Callable[[frozenset[str]], None], counters: Counters) -> None:
        self._address = address
        self._on_change = on_change
        self._counters = counters
        self._loop = asyncio.get_running_loop()
        self._wanted: Mapping[str, Wanted] = {}
        self._states: dict[str, Known[VrrpState] | Unknown[VrrpState]] = {}
        self._paths: dict[str, str] = {}
        self._search_at = 0.0
        self._asked = False
        self._generation = 0
        """Counts the comings and goings of keepalived: an answer from before one says nothing after it."""
        self._was_on_a_bus = False
        self._missing = "gone"
        """What it means that keepalived is not on the bus that we are on."""
        self._wake = asyncio.Event()

    def watch(self, wanted: Mapping[str, Wanted]) -> None:
        """Read these from now on, and no others."""
        for name, each in wanted.items():
            if self._wanted.get(name) != each:
                self._states[name] = Unknown(since=self._loop.time(), why="not-read")
                self._paths.pop(name, None)
        for name in self._states.keys() - wanted.keys():
            del self._states[name]
            self._paths.pop(name, None)
        self._wanted = dict(wanted)
        self.look()

    def state(self, name: str) -> State:
        """What is known of the instance that *name* wants; ``since`` of a Known is when the question was sent."""
        return self._states.get(name, Absent())

    def look(self) -> None:
        """Read everything now, and tell even what is the same: it is newer."""
        self._asked = True
        self._search_at = 0.0
        self._wake.set()

    async def run(self) -> None:
        """Stay on the bus while an instance is wanted; never returns."""
        while True:
            await self._until_wanted()
            try:
                bus = await Bus.open(self._address, on_signal=self.look, on_owner=self._owner_changed)
            except BusGoneError:
                self._all_unknown("no-bus")
            else:
                await self._use(bus)
            await asyncio.sleep(RECONNECT_S if self._wanted else 0)

    async def _until_wanted(self) -> None:
        while not self._wanted:
            await self._wake.wait()
            self._wake.clear()

    async def _use(self, bus: Bus) -> None:
        self._missing = NEW_BUS if self._was_on_a_bus else "gone"
        self._owner_changed(bus.owner)
        bus.when_lost(self._wake.set)
        try:
            while self._wanted:
                self._wake.clear()
                await self._read(bus)
                await self._pause()
        except BusGoneError:
            self._counters.bus_losses += 1
            self._all_unknown("no-bus")
        finally:
            bus.close()

    async def _pause(self) -> None:
        every_s = min((each.read_every_s for each in self._wanted.values()), default=READ_MAX_S)
        try:
            async with asyncio.timeout(every_s):
                await self._wake.wait()
        except TimeoutError:
            return

    # --- reading ------------------------------------------------------------------------------------------------

    async def _read(self, bus: Bus) -> None:
        """One round over all wanted instances."""
        asked, self._asked = self._asked, False
        if bus.lost:
            raise BusGoneError("connection lost")
        if not bus.owner:
            self._all_unknown(self._missing)
            return
        try:
            await self._search(bus)
            read = [name for name, path in list(self._paths.items()) if await self._read_one(bus, name, path)]
        except OwnerGoneError:
            # Another keepalived may be there already: the news of that comes, or has come, by itself.
            if not bus.owner:
                self._all_unknown(self._missing)
            return
        except LateError:
            self.look()
            return
        if asked:
            self._on_change(frozenset(read))

    async def _search(self, bus: Bus) -> None:
        """Find the objects of those instances that have none yet."""
        missing = self._wanted.keys() - self._paths.keys()
        if not missing or self._loop.time() < self._search_at:
            return
        self._search_at = self._loop.time() + SEARCH_S
        try:
            for place in await self._answered(bus, bus.places()):
                reading = await self._answered(bus, bus.read(place.path))
                for name in missing:
                    if name in self._wanted and self._wanted[name].is_it(place, reading.name):
                        self._paths[name] = place.path
        except NoObjectError:
            pass  # it vanished while we looked: found missing below
        except RefusedError:
            self._unknown(missing, "refused")
            return
        self._unknown(missing - self._paths.keys(), "no-instance")

    async def _read_one(self, bus: Bus, name: str, path: str) -> bool:
        wanted, generation, asked_at = self._wanted.get(name), self._generation, self._loop.time()
        if wanted is None:
            return False
        try:
            reading = await self._answered(bus, bus.read(path))
        except NoObjectError:
            self._vanished(name)
            return False
        except RefusedError:
            self._unknown([name], "refused")
            return False
        if generation != self._generation or self._wanted.get(name) is not wanted:
            return False  # an answer to a question of another time
        if wanted.instance is not None and reading.name != wanted.instance:
            self._vanished(name)
            return False
        self._counters.reads += 1
        before = self._states.get(name)
        self._states[name] = Known(reading.state, since=asked_at)
        if not isinstance(before, Known) or before.value is not reading.state:
            self._on_change(frozenset({name}))
        return True

    def _vanished(self, name: str) -> None:
        self._paths.pop(name, None)
        self._search_at = 0.0
        self._unknown([name], "no-instance")
        self._wake.set()

    async def _answered(self, bus: Bus, question: Awaitable[T]) -> T:
        """The answer. Until a late one comes, which raises LateError, all instances are silent, or the bus is gone."""
        asked_at = self._loop.time()
        call = asyncio.ensure_future(question)
        try:
            done, _ = await asyncio.wait({call}, timeout=ANSWER_S)
            if not done:
                await self._blame(bus, asked_at)
                await asyncio.wait({call})
                call.result()
                raise LateError
            return call.result()
        finally:
            call.cancel()

    async def _blame(self, bus: Bus, since: float) -> None:
        """Who does not answer? A frozen bus says nothing about keepalived."""
        try:
            async with asyncio.timeout(ANSWER_S):
                await bus.ping()
        except (TimeoutError, OwnerGoneError, NoObjectError, RefusedError) as error:
            raise BusGoneError("the bus does not answer") from error
        if bus.owner:
            self._counters.silences += 1
            self._all_unknown("silent", since=since)

    # --- states -------------------------------------------------------------------------------------------------

    def _owner_changed(self, owner: str) -> None:
        """It came or left: what it said before is void, and each has its own paths."""
        self._generation += 1
        self._paths.clear()
        if owner:
            self._was_on_a_bus = True
            self._missing = "gone"
            self._all_unknown("not-read")
        else:
            self._all_unknown(self._missing)
        self.look()

    def _all_unknown(self, why: str, *, since: float | None = None) -> None:
        self._unknown(self._wanted, why, since=since)

    def _unknown(self, names: Iterable[str], why: str, *, since: float | None = None) -> None:
        changed = set()
        for name in names:
            before = self._states.get(name)
            if isinstance(before, Unknown) and before.why == why:
                continue
            last = before.value if isinstance(before, Known) else (before.last if before else None)
            self._states[name] = Unknown(since=self._loop.time() if since is None else since, why=why, last=last)
            changed.add(name)
        if changed:
            self._on_change(frozenset(changed))
