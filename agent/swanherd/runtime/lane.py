"""One connection's lane: carries out its latest plan, drops what is stale, and reports outcomes as facts.

A release cancels whatever the lane awaits and starts in the same turn of the loop. A call that was cancelled or timed
out has an unknown outcome; the charon adapter keeps its connection until charon has answered it, and a read-back waits
for that.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, Final, assert_never

from swanherd.core.decide import Goal
from swanherd.core.facts import CharonConnection, CharonIdentity, Failure, Known
from swanherd.core.handshake import ended
from swanherd.core.intent import IPAddress
from swanherd.core.moves import on_way, up_on_way
from swanherd.core.plan import (
    Initiate,
    Install,
    Load,
    LoadSecret,
    Plan,
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
from swanherd.runtime.sources import CharonCalls
from swanherd.runtime.window import Window
from swanherd.world.charon import CharonError, CharonRefused, CharonSilent

PARTS: Final = 1_000_000
"""No limit: the other window has one."""

SLOT_S: Final = 5.0
"""How long a handshake holds its slot in the window: a silent peer must not stop the others; one retransmission."""

RELEASE_AGAIN_S: Final = 0.2
"""Pause before a release that found something left is planned again."""

SILENT_AGAIN_S: Final = 0.5
"""Pause after a call that charon did not answer in time."""


@dataclass(slots=True)
class Surroundings:
    """What all lanes share."""

    charon: CharonCalls
    window: Window
    """Of handshakes in flight."""
    secret_of: Callable[[str], bytes | None]
    """The secret of a connection, by name; None if the settings no longer have it."""
    announce: Callable[[IPAddress, str], bool]
    """Tells the neighbours that an address is at a device now."""
    changed: Callable[[str], None]
    """Called with the lane's name when its facts changed."""
    bug: Callable[[str, BaseException], None]
    """Tells of a fault of swanherd's own: where, and what."""
    clock: Callable[[], float]
    parts: Window = field(default_factory=lambda: Window(per_endpoint=1, overall=PARTS))
    """Of handshakes of split connections, by connection: only the first part may carry INITIAL_CONTACT, and one that is
    begun before another is up carries it too, which would end that one at the peer."""
    ahead: Window = field(default_factory=Window)
    """Of connections that are loaded, or being loaded, for a handshake that has no slot yet."""


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
class Lane:
    """The lane of one connection."""

    name: str
    around: Surroundings
    marks: Marks = field(default_factory=Marks)
    _plan: Plan | None = None
    _task: asyncio.Task[None] | None = None
    _facts: LaneFacts = field(default_factory=LaneFacts)
    _refused_by: tuple[object, ...] | None = None
    _charon: CharonIdentity | None = None
    _acquired: int = 0
    _open: bool = False
    """A call has no answer (it was left, or timed out): charon may still carry it out, after newer ones."""
    _stirred: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def facts(self) -> LaneFacts:
        """Outcomes, as facts for the next pass."""
        return replace(self._facts, busy=self._task is not None, open=self._open)

    def stir(self) -> None:
        """Something changed in charon for this name: whoever waits looks again."""
        self._stirred.set()

    def met(self, charon: CharonIdentity) -> bool:
        """Another charon than before has nothing of what was sent to the old one; whether it is another."""
        another = self._charon is not None and self._charon != charon
        self._charon = charon
        if another:
            # What the lane is just doing may have reached the new one already.
            busy = self._task is not None
            self._facts = LaneFacts(queued=self._facts.queued, touched=busy, secret_sent=busy)
            self._open = busy
            self._refused_by = None
        return another

    def follow(self, plan: Plan) -> None:
        """Adopt the latest plan; returns at once."""
        # The plan to hold still, which follows a refusal, is not yet another plan.
        if self._refused_by is not None and self._refused_by != plan.key and plan.goal is not Goal.HOLD:
            self._refused_by = None
            self._facts = replace(self._facts, refused=None)
        if self._task is not None and self._plan is not None:
            if plan.key == self._plan.key:
                return
            self._task.cancel()
            self._task = None
        self._plan = plan
        if plan.steps:
            self._task = asyncio.create_task(self._carry_out(plan), name=f"lane {self.name}")

    async def close(self) -> None:
        """Stop; what has been sent stays sent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _carry_out(self, plan: Plan) -> None:
        task = asyncio.current_task()
        try:
            await self._steps(plan)
        except CharonRefused as refusal:
            self._refuse(plan, str(refusal))
        except CharonSilent:
            await asyncio.sleep(SILENT_AGAIN_S)
        except (LeftOverError, UnloadedError):
            await asyncio.sleep(RELEASE_AGAIN_S)
        except CharonError:
            pass  # gone: the adapter says so, and the pass that follows sees it
        except Exception as error:  # noqa: BLE001  # a fault of ours in one lane must not stop the others
            self.around.bug("lane", error)
            self._refuse(plan, f"a fault of swanherd's own: {type(error).__name__}")
        finally:
            # A cancelled task was already replaced; it must not speak for its successor.
            if self._task is task:
                self._task = None
                self.around.changed(self.name)

    async def _steps(self, plan: Plan) -> None:
        """All steps in order. What leads to a handshake waits for its turn before it loads anything.

        Loading a thousand connections first would keep the first tunnel waiting for seconds. Loading only once the
        handshake's slot is free would keep that slot idle for a call or two of each: so a few load ahead of theirs.
        """
        initiate = next((step for step in plan.steps if isinstance(step, Initiate)), None)
        endpoint = initiate.connection.remote[0] if initiate is not None else ""
        part = initiate.connection.part if initiate is not None else None
        async with contextlib.AsyncExitStack() as slot, contextlib.AsyncExitStack() as ahead:
            if part is not None:
                await self._acquire(self.around.parts, slot, part.of, plan.priority)
            for step in plan.steps:
                if initiate is not None and isinstance(step, (Load, Install, Initiate)):
                    await self._acquire(self.around.ahead, ahead, endpoint, plan.priority)
                    initiate = None
                await self._settle(step)
                if isinstance(step, Initiate):
                    await self._acquire(self.around.window, slot, endpoint, plan.priority)
                    await ahead.aclose()
                before, self._open = self._open, True
                await self._do(step, plan)
                self._open = before and not isinstance(step, ReadBack)

    async def _settle(self, step: Step) -> None:
        """Before anything new is loaded, wait for what is open: an older load could come after it, unseen."""
        if self._open and isinstance(step, LoadSecret | Load):
            await self.around.charon.read(self.name)
            self._open = False

    async def _acquire(self, window: Window, slot: contextlib.AsyncExitStack, endpoint: str, priority: int) -> None:
        self._facts = replace(self._facts, queued=True)
        try:
            await window.acquire(endpoint, priority)
        finally:
            self._facts = replace(self._facts, queued=False)
        slot.callback(window.release, endpoint)

    def _refuse(self, plan: Plan, detail: str) -> None:
        """The same again would be refused again: only another plan, or time, makes another attempt."""
        self._refused_by = plan.key
        self._facts = replace(self._facts, refused=Failure(Reason.REJECTED, detail, self.around.clock()))

    async def _do(self, step: Step, plan: Plan) -> None:  # noqa: C901, PLR0912  # one arm a step
        charon, urgent = self.around.charon, plan.urgent
        match step:
            case LoadSecret():
                secret = self.around.secret_of(self.name)
                if secret is not None:
                    self._facts = replace(self._facts, secret_sent=True)
                    await charon.load_secret(step.connection, secret, step.version, sources=step.sources)
                    self._facts = replace(self._facts, secret_sent=False)
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
                self._facts = replace(self._facts, attempt=None)
                await charon.terminate(step.name, unique_ids=step.unique_ids, urgent=urgent)
                await self._see_gone(step)
            case TerminateChildren():
                await charon.terminate_children(step.name, step.unique_ids)
                await self._see_gone(step)
            case ReadBack():
                await self._read_back(step)
            case UnloadSecret():
                await charon.unload_secret(step.shared_id)
                self._facts = replace(self._facts, secret_sent=False)
            case UnloadKey():
                await charon.unload_key(step.name, step.key_id)
            case _:
                assert_never(step)

    def _touch(self) -> None:
        """Note, before it is sent, that something which could run the connection may be in charon."""
        self._acquired += 1
        self._facts = replace(self._facts, touched=True)

    async def _read_back(self, step: ReadBack) -> None:
        acquired = self._acquired
        found = await self.around.charon.read(step.name)
        if not found.empty:
            raise LeftOverError(step.name)
        if acquired == self._acquired:
            self._facts = replace(self._facts, touched=False, attempt=None)

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
        step = replace(step, children=tuple(child for child in step.children if child.name not in up))
        if not step.children:
            return
        self._touch()
        started = self.around.clock()
        self._facts = replace(self._facts, attempt=Attempt(started=started, digest=step.digest))
        for child in step.children:
            await self._of_loaded(self.around.charon.initiate(step.connection, child))
        self.marks.initiated = self.around.clock()
        await self._await_outcome(step, started)

    async def _await_outcome(self, step: Initiate, started: float) -> None:
        """Wait for the end of the handshake, or for the slot's deadline; then the attempt stays open."""
        seen = False
        try:
            async with asyncio.timeout(SLOT_S):
                while True:
                    self._stirred.clear()
                    here = self.around.charon.connection(self.name)
                    seen = seen or any(on_way(sa, step.connection, step.source) for sa in here.sas)
                    end = ended(step.children, here, step.connection, step.source, started=started, seen=seen)
                    if end is not None:
                        attempt = Attempt(started, step.digest, self.around.clock(), end.failure)
                        self._facts = replace(self._facts, attempt=attempt)
                        return
                    await self._stirred.wait()
        except TimeoutError:
            if isinstance(self.around.charon.state, Known):
                here = await self.around.charon.read(self.name)
                if step.connection.part is not None:
                    await self._give_up(step, started, here)

    async def _give_up(self, step: Initiate, started: float, here: CharonConnection) -> None:
        """End the unanswered handshake of a part, since the next one begins: if it came up late, it would end that."""
        late = [sa.unique_id for sa in here.sas if sa.connecting and sa.initiator]
        if late:
            await self.around.charon.terminate(self.name, unique_ids=late)
            failure = Failure(Reason.NO_ANSWER, f"the peer has not answered for {SLOT_S:g} s", self.around.clock())
            self._facts = replace(self._facts, attempt=Attempt(started, step.digest, self.around.clock(), failure))
