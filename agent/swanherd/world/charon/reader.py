"""Reading charon's lists over a lane."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from swanherd.core.facts import IkeSa
from swanherd.world.charon.codec import Outgoing, Section, decode, first_name, inner, sections, texts
from swanherd.world.charon.lanes import Lane
from swanherd.world.charon.listing import ike_sas, trapped

T = TypeVar("T")

DECODE_BATCH: Final = 50
"""Items decoded before others on the loop have a turn: 2 ms at 40 us each."""
FULL_LIST_DEADLINE_S: Final = 15.0
"""For a listing of everything: 0.1 s for 1000 SAs on an idle charon, much more while it is busy with handshakes."""
CROWD: Final = 4
"""So many who ask for the SAs of their names at a time are served by one listing of all: charon goes through all of its
SAs for each listing, whatever it is asked for, and a thousand releases would have it do so a thousand times."""
EVERYTHING: Final = "*"
"""Stands for a name in the ledger of reads, for those of everything."""


class Batched(Generic[T]):
    """A read that serves all who asked before it began: many who ask at once cost two reads, not one each."""

    def __init__(self, read: Callable[[], Awaitable[T]]) -> None:
        self._read = read
        self._running: asyncio.Task[T] | None = None
        self._next: asyncio.Task[T] | None = None

    async def fresh(self) -> T:
        """The result of a read that began after this call."""
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._running))
            self._next.add_done_callback(_retrieve)
        mine = self._next
        # Not awaited itself: one who leaves must not take the read from the others.
        await asyncio.wait((mine,))
        return mine.result()

    async def _after(self, earlier: asyncio.Task[T] | None) -> T:
        if earlier is not None and not earlier.done():
            await asyncio.wait((earlier,))
        self._running, self._next = self._next, None
        return await self._read()


def _retrieve(task: asyncio.Task[T]) -> None:
    if not task.cancelled():
        task.exception()


@dataclass(frozen=True, slots=True)
class Found:
    """What charon has of one name; ``section`` is None where nothing is loaded."""

    section: Section | None
    traps: frozenset[str]
    sas: tuple[IkeSa, ...]


class Reader:
    """What charon lists, in the core's types. Every call raises as its lane does."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._names = Batched(self.names)
        self._traps = Batched(self.traps)
        self._all_sas = Batched(self.all_sas)
        self._names_of: dict[str, tuple[bytes, frozenset[str]]] = {}
        self._trapped: tuple[list[bytes], dict[str, frozenset[str]]] = [], {}
        """What the last answers were, and what they say: the same again is the same object, and not decoded."""
        self._asking = 0

    async def names(self) -> frozenset[str]:
        """The names of all loaded connections; the same object while nothing changes."""
        return await self._listed("get-conns", "conns")

    async def shared_ids(self) -> frozenset[str]:
        """The ids of all loaded shared secrets that have one; the same object while nothing changes."""
        return await self._listed("get-shared", "keys")

    async def key_ids(self) -> frozenset[str]:
        """The ids of all loaded private keys; the same object while nothing changes."""
        return await self._listed("get-keys", "keys")

    async def traps(self) -> dict[str, frozenset[str]]:
        """The trapped children of every connection; the same object while nothing changes."""
        reply = await self._lane.call("list-policies", {"trap": True}, stream="list-policy")
        if reply.items != self._trapped[0]:
            self._trapped = reply.items, trapped([item async for item in _decoded(reply.items)])
        return self._trapped[1]

    async def configs(self) -> dict[str, bytes]:
        """All loaded connections, as charon shows them: each to be read by :func:`section_of`."""
        reply = await self._lane.call(
            "list-conns", stream="list-conn", name=EVERYTHING, deadline_s=FULL_LIST_DEADLINE_S
        )
        return {first_name(item): item for item in reply.items}

    async def section(self, name: str) -> Section | None:
        """What is loaded as *name*, as charon shows it."""
        for item in await self._list("list-conns", {"ike": name}, "list-conn", name=name):
            for shown, section in sections(item):
                if shown == name:
                    return section
        return None

    async def sas(self, name: str) -> tuple[IkeSa, ...]:
        """The IKE_SAs of *name*."""
        items = await self._list("list-sas", {"ike": name}, "list-sa", name=name)
        return tuple(sa for sa in _sas(items) if sa.name == name)

    async def all_sas(self) -> dict[str, tuple[IkeSa, ...]]:
        """All IKE_SAs, by name."""
        found: dict[str, tuple[IkeSa, ...]] = {}
        items = await self._list("list-sas", {}, "list-sa", name=EVERYTHING, deadline_s=FULL_LIST_DEADLINE_S)
        for sa in _sas(items):
            found[sa.name] = (*found.get(sa.name, ()), sa)
        return found

    async def found(self, name: str) -> Found:
        """What of *name* could run: its configuration, traps and SAs, in this order, all read after this call.

        The configuration is read first: while it is loaded, an SA can still come.
        """
        loaded = name in await self._names.fresh()
        section = await self.section(name) if loaded else None
        traps = (await self._traps.fresh()).get(name, frozenset())
        self._asking += 1
        try:
            crowd = self._asking > CROWD
            sas = (await self._all_sas.fresh()).get(name, ()) if crowd else await self.sas(name)
        finally:
            self._asking -= 1
        return Found(section, traps, sas)

    async def _listed(self, command: str, key: str) -> frozenset[str]:
        body = (await self._lane.call(command)).body
        known = self._names_of.get(command)
        if known is None or known[0] != body:
            known = self._names_of[command] = body, frozenset(texts(decode(body), key))
        return known[1]

    async def _list(
        self, command: str, message: Outgoing, stream: str, *, name: str = "", deadline_s: float = 0
    ) -> list[Section]:
        reply = await self._lane.call(command, message, stream=stream, name=name, deadline_s=deadline_s)
        return [item async for item in _decoded(reply.items)]


def section_of(name: str, item: bytes) -> Section:
    """What is loaded as *name*, in an item of :meth:`Reader.configs`."""
    return inner(decode(item), name)


async def _decoded(items: list[bytes]) -> AsyncIterator[Section]:
    for position, item in enumerate(items, start=1):
        if position % DECODE_BATCH == 0:
            await asyncio.sleep(0)
        yield decode(item)


def _sas(items: Iterable[Section]) -> Iterator[IkeSa]:
    now = asyncio.get_running_loop().time()
    for item in items:
        yield from ike_sas(item, now)
