"""The adapter under test, running, with a record of what it told."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from swanherd.core.facts import CharonConnection, Known, Unknown
from swanherd.core.intent import Connection
from swanherd.world.charon import Charon
from tests.component.charon.sites import SECRET, Site

VERSION = "v1"
"""Of every secret that a test loads."""


class Agent:
    """A running :class:`Charon` and the changes that it reported."""

    def __init__(self, socket_path: str) -> None:
        self.charon = Charon(socket_path=socket_path, on_change=self._on_change)
        self.changes: list[frozenset[str] | None] = []
        self._changed = asyncio.Event()

    def _on_change(self, names: frozenset[str] | None) -> None:
        self.changes.append(names)
        self._changed.set()

    async def until(self, condition: Callable[[], object], what: str, *, within_s: float = 5.0) -> float:
        """Wait until *condition* holds, looking only when a change is reported; how long it took (s)."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(within_s):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"not within {within_s:g} s: {what}; {self.charon.state}") from None
        return loop.time() - began

    async def until_state(self, wanted: str, *, within_s: float = 5.0) -> float:
        """Wait for "known", or for the reason of an Unknown."""
        return await self.until(lambda: state(self.charon) == wanted, f"charon {wanted}", within_s=within_s)

    def here(self, name: str = "office") -> CharonConnection:
        """What charon has of *name*."""
        return self.charon.connection(name)

    def up(self, name: str = "office") -> bool:
        """Whether a child of *name* carries traffic."""
        return any(child.installed for sa in self.here(name).sas if sa.established for child in sa.children)

    async def load(self, connection: Connection, site: Site, secret: bytes = SECRET) -> None:
        """Secret and connection, from the site's address."""
        self.charon.watch({connection.name})
        await self.charon.load_secret(connection, secret, VERSION)
        await self.charon.load(connection, site.ip)


async def eventually(condition: Callable[[], object], what: str, *, within_s: float = 5.0) -> None:
    """Wait until *condition* holds, for what no change is reported of."""
    try:
        async with asyncio.timeout(within_s):
            while not condition():  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"not within {within_s:g} s: {what}") from None


def state(charon: Charon) -> str:
    """Either "known", or why not."""
    match charon.state:
        case Known():
            return "known"
        case Unknown(why=why):
            return why


@asynccontextmanager
async def running(socket_path: str, *, wait: bool = True) -> AsyncIterator[Agent]:
    """An :class:`Agent`; with *wait*, everything has been read once. A task of it that fails, fails the test."""
    agent = Agent(socket_path)
    task = asyncio.create_task(agent.charon.run())
    try:
        if wait:
            await agent.until_state("known")
        yield agent
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await agent.charon.close()
