"""Compares what was loaded with what charon lists then, behind the takeover's back, once for each configuration."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from swanherd.core.facts import LoadedConfig
from swanherd.core.intent import Connection, IPAddress
from swanherd.world.charon import canonical
from swanherd.world.charon.errors import CharonError
from swanherd.world.charon.lanes import Lane
from swanherd.world.charon.listener import Listener
from swanherd.world.charon.looker import Looker
from swanherd.world.charon.mirror import Mirror
from swanherd.world.charon.reader import Reader

REST_S: Final = 0.3
"""So long after the last command of a takeover what was loaded is compared: a listing each, in the midst of a hundred
takeovers, cost each of them a twentieth."""
REST_AT_MOST_S: Final = 5.0
"""Some connection or other of a thousand may always be trying."""
LOG_LAG_S: Final = 0.2
"""By how much a line of the log may come later than the listing that shows what it is about."""


class Verifier:
    """What charon lists otherwise than expected could not be told from somebody else's: it is taken away, and refused.

    *lane* is that of the takeovers; *take_away* unloads what bears a name, and ends its SAs.
    """

    def __init__(
        self,
        lane: Lane,
        *,
        mirror: Mirror,
        looker: Looker,
        listener: Listener,
        take_away: Callable[[str], Awaitable[None]],
    ) -> None:
        self._lane = lane
        self._reader = Reader(lane)
        self._mirror = mirror
        self._looker = looker
        self._listener = listener
        self._take_away = take_away
        self._proven: set[str] = set()
        self._proofs: set[asyncio.Task[None]] = set()
        self._proving = asyncio.Lock()
        self._unproven: set[str] = set()
        """Digests of what waits to be compared: loaded again meanwhile, it is compared once."""
        self._commanded_at = float("-inf")
        self._odd: dict[str, str] = {}
        """Why a configuration is refused, by its digest."""

    def forget(self) -> None:
        """Another charon: what one lists says nothing about the next."""
        self._proven.clear()
        self._unproven.clear()
        self._odd.clear()

    def close(self) -> None:
        """Compare nothing any more."""
        for proof in self._proofs:
            proof.cancel()

    def refusal(self, digest: str) -> str:
        """Why the configuration *digest* is not to be loaded again, in words; "": it may be."""
        return self._odd.get(digest, "")

    def commanded(self) -> None:
        """A command of a takeover is being sent: this is no time to compare."""
        self._commanded_at = asyncio.get_running_loop().time()

    def loaded(self, connection: Connection, source: IPAddress, wanted: LoadedConfig) -> None:
        """*connection* was loaded from *source*: have it compared with *wanted* when takeovers rest."""
        if wanted.digest not in self._proven and wanted.digest not in self._unproven:
            self._unproven.add(wanted.digest)
            proof = asyncio.create_task(self._prove(connection, source, wanted))
            self._proofs.add(proof)
            proof.add_done_callback(self._proofs.discard)

    async def _prove(self, connection: Connection, source: IPAddress, wanted: LoadedConfig) -> None:
        name = connection.name
        with contextlib.suppress(CharonError):  # not proven, then; the next load tries again
            async with self._proving:  # one at a time: of a thousand that wait, each would wake at every pause
                await self._rested()
                self._unproven.discard(wanted.digest)
                if self._mirror.is_listed(name, wanted):
                    self._proven.add(wanted.digest)
                    return
                section = await self._reader.section(name)
            if section is None or self._mirror.sent.get(name) != wanted.digest:
                return  # taken away, or another one loaded meanwhile
            if canonical.shown(name, section, wanted.digest) == wanted:
                self._proven.add(wanted.digest)
                return
            await asyncio.sleep(LOG_LAG_S)
            if self._listener.loads_heard(name) > 1 or self._mirror.sent.get(name) != wanted.digest:
                # Somebody else's came right after ours (theirs is not ours to take away), or another one of ours.
                self._looker.look(name, config=True)
                return
            wrong = canonical.difference(connection, source, section)
            self._odd[wanted.digest] = f"{name}: charon lists it differently: {wrong}"
            await self._take_away(name)

    async def _rested(self) -> None:
        """Return in a pause of all takeovers, not merely between two of their commands; there may never be one."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + REST_AT_MOST_S
        while (until := min(self._commanded_at + REST_S, ends)) > loop.time():  # noqa: ASYNC110 - a pause is no event
            await asyncio.sleep(until - loop.time())
        await self._lane.quiet()
