"""What this charon can do, and what a connection asks for beyond it: loaded all the same, it would fail later."""

import asyncio
import contextlib
from typing import Final

from swanherd.core.intent import Connection
from swanherd.world.charon import algorithms
from swanherd.world.charon.codec import decode, texts
from swanherd.world.charon.errors import CharonError
from swanherd.world.charon.lanes import Lane

USERLAND: Final = "kernel-libipsec"
"""The plugin of charon that encrypts in its own process, for kernels that cannot."""


class Abilities:
    """What the charon behind *lane* has told of itself."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._learning: set[asyncio.Task[None]] = set()
        self.algorithms: frozenset[str] | None = None
        """Names of what this charon can do; None: not read yet, and then nothing is refused for it."""
        self._userland = False

    def learn(self) -> None:
        """Another charon, or the same one again: ask it, behind everybody's back."""
        self.algorithms, self._userland = None, False
        task = asyncio.create_task(self._learn())
        self._learning.add(task)
        task.add_done_callback(self._learning.discard)

    def close(self) -> None:
        """Ask nothing any more."""
        for task in self._learning:
            task.cancel()

    def lacking(self, connection: Connection) -> str:
        """What *connection* asks for and this charon cannot do, in words; "": nothing, as far as is known."""
        if self.algorithms is not None and (lacks := algorithms.unusable(connection.proposals, self.algorithms)):
            return lacks
        if self._userland and (beyond := beyond_userland(connection)):
            return f"this charon encrypts by {USERLAND}, which cannot do {beyond}"
        return ""

    async def _learn(self) -> None:
        with contextlib.suppress(CharonError):
            self._userland = await is_userland(self._lane)
            self.algorithms = await algorithms.read(self._lane)


async def is_userland(lane: Lane) -> bool:
    """Whether the charon behind *lane* encrypts by itself (kernel-libipsec); raises as the lane does."""
    return USERLAND in texts(decode((await lane.call("stats")).body), "plugins")


def beyond_userland(connection: Connection) -> str:
    """What *connection* asks for and userland ESP cannot do; "": nothing."""
    if any(child.ah_proposals for child in connection.children):
        return "AH"
    if any(child.mode == "transport" for child in connection.children):
        return "transport mode"
    if connection.if_id:
        return "XFRM interfaces"
    return ""
