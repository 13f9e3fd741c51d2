"""The steps of plans, carried out at charon one by one; what came of them is kept as facts for the next pass."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, Final, assert_never

from swanherd.core.facts import CharonConnection, Failure, IkeSa, Known
from swanherd.core.handshake import ended
from swanherd.core.moves import on_way, up_on_way
from swanherd.core.plan import (
    Initiate,
    Install,
    Load,
    LoadSecret,
    ReadBack,
    Step,
    Terminate,
    TerminateChildren,
    Uninstall,
    Unload,
    UnloadKey,
    UnloadSecret,
)
from swanherd.core.view import Attempt, LaneFacts
from swanherd.core.words import Reason
from swanherd.runtime.surroundings import Surroundings
from swanherd.world.charon import CharonRefused

SLOT_S: Final = 5.0
"""How long a handshake holds its slot in the window: a silent peer must not stop the others; one retransmission."""

UNHEARD_S: Final = (0.5, 1.0, 2.0)
"""A handshake of which nothing was heard for so long is looked at, unless charon's log would have told of its failure.
It takes 5 ms; with a thousand to make, 50, and now and then half a second. After the last look the log is listened to
until it ends: it tells what becomes of charon's retransmission, after four seconds."""


@dataclass(slots=True)
class Marks:
    """When the steps of the latest takeover were done (monotonic seconds), for the log."""

    loaded: float | None = None
    initiated: float | None = None


class LeftOverError(Exception):
    """A read-back found something that the release should have removed."""


class UnloadedError(Exception):
    """Somebody else unloaded the connection while it was being brought up."""


@dataclass(slots=True)
class Steps:
    """Those of one connection; one at a time."""

    name: str
    around: Surroundings
    marks: Marks = field(default_factory=Marks)
    facts: LaneFacts = field(default_factory=LaneFacts)
    """Outcomes; whether the lane is busy, or a call open, is the lane's to say."""
    _acquired: int = 0
    _seen: bool = False
    """Whether an SA of the handshake that is awaited was listed, or told of."""
    _stirred: asyncio.Event = field(default_factory=asyncio.Event)

    def stir(self) -> None:
        """Something changed in charon for this name: whoever waits looks again."""
        self._stirred.set()

    async def do(self, step: Step, *, urgent: bool) -> None:  # noqa: C901, PLR0912  # one arm a step
        """Carry *step* out; raises what charon says against it, LeftOverError or UnloadedError."""
        charon = self.around.charon
        match step:
            case LoadSecret():
                secret = self.around.secret_of(self.name)
                if secret is not None:
                    self.facts = replace(self.facts, secret_sent=True)
                    await charon.load_secret(step.connection, secret, step.version, sources=step.sources)
                    self.facts = replace(self.facts, secret_sent=False)
            case Load():
                self._touch()
                await charon.load(step.connection, step.source)
                self.marks.loaded = self.around.clock()
            case Install():
                self._touch()
                await self._of_loaded(charon.install(step.connection, step.child))
            case Initiate():
                await self._initiate(step)
            case Uninstall():
                await charon.uninstall(step.name, step.child, urgent=urgent)
            case Unload():
                await charon.unload(step.name, urgent=urgent)
            case Terminate():
                # What we end ourselves is nothing that the peer closed: it must not cost a pause.
                self.facts = replace(self.facts, attempt=None)
                await charon.terminate(step.name, unique_ids=step.unique_ids, urgent=urgent)
                await self._see_gone(step)
            case TerminateChildren():
                await charon.terminate_children(step.name, step.unique_ids)
                await self._see_gone(step)
            case ReadBack():
                await self._read_back(step)
            case UnloadSecret():
                await charon.unload_secret(step.shared_id)
                self.facts = replace(self.facts, secret_sent=False)
            case UnloadKey():
                await charon.unload_key(step.name, step.key_id)
            case _:
                assert_never(step)

    def _touch(self) -> None:
        """Note, before it is sent, that something which could run the connection may be in charon."""
        self._acquired += 1
        if not self.facts.touched:
            self.facts = replace(self.facts, touched=True)

    async def _read_back(self, step: ReadBack) -> None:
        acquired = self._acquired
        found = await self.around.charon.read(step.name)
        if not found.empty:
            raise LeftOverError(step.name)
        if acquired == self._acquired:
            self.facts = replace(self.facts, touched=False, attempt=None)

    async def _see_gone(self, step: Terminate | TerminateChildren) -> None:
        """Look before the next step: on what was known before, that one would find nothing to make anew.

        The same plan would come again then, and again, each command making a reading that is on its way worthless.
        What ends all of a name has its read-back as a step of its own.
        """
        if step.unique_ids is not None:
            await self.around.charon.read(step.name)

    async def _of_loaded(self, call: Coroutine[Any, Any, None]) -> None:
        """Await *call*; a refusal because somebody else has just unloaded the connection is no refusal of it."""
        try:
            await call
        except CharonRefused:
            if (await self.around.charon.read(self.name)).config is None:
                raise UnloadedError(self.name) from None
            raise

    async def _initiate(self, step: Initiate) -> None:
        # The plan may have waited for its slot for seconds, in which others acted too.
        here = self.around.charon.connection(self.name)
        if here.config is None or here.config.digest != step.digest:
            raise UnloadedError(self.name)
        up = up_on_way(here.sas, step.connection, step.source)
        if up:
            step = replace(step, children=tuple(child for child in step.children if child.name not in up))
        if not step.children:
            return
        self._touch()
        started = self.around.clock()
        self.facts = replace(self.facts, attempt=Attempt(started=started, digest=step.digest))
        for child in step.children:
            await self._of_loaded(self.around.charon.initiate(step.connection, child))
        self.marks.initiated = self.around.clock()
        await self._await_outcome(step, started)

    async def _await_outcome(self, step: Initiate, started: float) -> None:
        """Wait for the end of the handshake, or for the slot's deadline; then the attempt stays open."""
        charon = self.around.charon
        self._seen = False
        for look_at in UNHEARD_S:
            if await self._ends(step, started, until=started + look_at):
                return
            if charon.heard_since(started):
                break
            if isinstance(charon.state, Known) and not self._on_way(step, await charon.read(self.name)):
                self._make_again()
                return
        with self.around.throng.waiting():
            if await self._ends(step, started, until=started + SLOT_S) or not isinstance(charon.state, Known):
                return
        here = await charon.read(self.name)
        if step.connection.part is not None:
            await self._give_up(step, started, here)
        elif not charon.heard_since(started) and not any(sa.connecting for sa in self._on_way(step, here)):
            self._make_again()

    async def _ends(self, step: Initiate, started: float, *, until: float) -> bool:
        """Wait for the end of the handshake, and note it; False: it has none until then."""
        try:
            async with asyncio.timeout(until - self.around.clock()):
                while True:
                    self._stirred.clear()
                    here = self.around.charon.connection(self.name)
                    self._seen = self._seen or bool(self._on_way(step, here))
                    end = ended(step.children, here, step.connection, step.source, started=started, seen=self._seen)
                    if end is not None:
                        self._note(Attempt(started, step.digest, self.around.clock(), end.failure), told=here.failure)
                        return True
                    await self._stirred.wait()
        except TimeoutError:
            return False

    def _note(self, attempt: Attempt, *, told: Failure | None) -> None:
        """*attempt* is over. One that has vanished without a word, *told*, is no failure where nobody listened."""
        if attempt.failure not in (None, told) and not self.around.charon.heard_since(attempt.started):
            self._make_again()
        else:
            self.facts = replace(self.facts, attempt=attempt)

    @staticmethod
    def _on_way(step: Initiate, here: CharonConnection) -> tuple[IkeSa, ...]:
        return tuple(sa for sa in here.sas if on_way(sa, step.connection, step.source))

    def _make_again(self) -> None:
        """It has failed, and nobody has heard why: it counts for nothing, and the next one is heard."""
        self.around.throng.failed()
        self.facts = replace(self.facts, attempt=None)

    async def _give_up(self, step: Initiate, started: float, here: CharonConnection) -> None:
        """End the unanswered handshake of a part, since the next one begins: if it came up late, it would end that."""
        late = [sa.unique_id for sa in here.sas if sa.connecting and sa.initiator]
        if late:
            await self.around.charon.terminate(self.name, unique_ids=late)
            failure = Failure(Reason.NO_ANSWER, f"the peer has not answered for {SLOT_S:g} s", self.around.clock())
            self.facts = replace(self.facts, attempt=Attempt(started, step.digest, self.around.clock(), failure))
