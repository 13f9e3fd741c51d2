"""One connection's lane: carries out its latest plan, drops what is stale, and reports outcomes as facts.

A release cancels whatever the lane awaits and starts in the same turn of the loop. A call that was cancelled or timed
out has an unknown outcome; the charon adapter keeps its connection until charon has answered it, and a read-back waits
for that.
"""

import asyncio
import contextlib
from dataclasses import dataclass, field, replace
from typing import Final

from swanherd.core.decision import Goal
from swanherd.core.facts import CharonIdentity, Failure
from swanherd.core.plan import Initiate, Install, Load, LoadSecret, Plan, ReadBack, Step
from swanherd.core.view import LaneFacts
from swanherd.core.words import Reason
from swanherd.runtime.steps import LeftOverError, Marks, Steps, UnloadedError
from swanherd.runtime.surroundings import Surroundings
from swanherd.runtime.window import Window
from swanherd.world.charon import CharonError, CharonRefused, CharonSilent

RELEASE_AGAIN_S: Final = 0.2
"""Pause before a release that found something left is planned again."""

SILENT_AGAIN_S: Final = 0.5
"""Pause after a call that charon did not answer in time."""


@dataclass(slots=True)
class Lane:
    """The lane of one connection."""

    name: str
    around: Surroundings
    _steps: Steps = field(init=False)
    _plan: Plan | None = None
    _task: asyncio.Task[None] | None = None
    _refused_by: tuple[object, ...] | None = None
    _charon: CharonIdentity | None = None
    _open: bool = False
    """A call has no answer (it was left, or timed out): charon may still carry it out, after newer ones."""

    def __post_init__(self) -> None:
        """Nothing was done yet."""
        self._steps = Steps(self.name, self.around)

    @property
    def marks(self) -> Marks:
        """When the steps of the latest takeover were done."""
        return self._steps.marks

    @property
    def facts(self) -> LaneFacts:
        """Outcomes, as facts for the next pass."""
        facts, busy = self._steps.facts, self._task is not None
        return facts if (facts.busy, facts.open) == (busy, self._open) else replace(facts, busy=busy, open=self._open)

    def stir(self) -> None:
        """Something changed in charon for this name: whoever waits looks again."""
        self._steps.stir()

    def met(self, charon: CharonIdentity) -> bool:
        """Another charon than before has nothing of what was sent to the old one; whether it is another."""
        another = self._charon is not None and self._charon != charon
        self._charon = charon
        if another:
            # What the lane is just doing may have reached the new one already.
            busy = self._task is not None
            self._steps.facts = LaneFacts(queued=self._steps.facts.queued, touched=busy, secret_sent=busy)
            self._open = busy
            self._refused_by = None
        return another

    def follow(self, plan: Plan) -> None:
        """Adopt the latest plan; returns at once."""
        # The plan to hold still, which follows a refusal, is not yet another plan.
        if self._refused_by is not None and self._refused_by != plan.key and plan.goal is not Goal.HOLD:
            self._refused_by = None
            self._steps.facts = replace(self._steps.facts, refused=None)
        if self._task is not None and self._plan is not None:
            if plan.key == self._plan.key:
                return
            self._task.cancel()
            self._task = None
        self._plan = plan
        if plan.steps:
            self._task = asyncio.create_task(self._carry_out(plan), name=f"lane {self.name}")
            self.around.throng.came()
            # However it ends; one that is cancelled before its first turn never gets to say so itself.
            self._task.add_done_callback(lambda _: self.around.throng.left())

    async def close(self) -> None:
        """Stop; what has been sent stays sent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _carry_out(self, plan: Plan) -> None:
        task = asyncio.current_task()
        try:
            await self._carry_out_steps(plan)
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

    async def _carry_out_steps(self, plan: Plan) -> None:
        """All steps in order. What leads to a handshake waits for its turn before it loads anything.

        Loading a thousand connections first, or their secrets, would keep the first tunnel waiting for seconds. Loading
        only once the handshake's slot is free would keep that slot idle for a call or two of each: so a few load ahead.
        """
        initiate = next((step for step in plan.steps if isinstance(step, Initiate)), None)
        endpoint = initiate.connection.remote[0] if initiate is not None else ""
        part = initiate.connection.part if initiate is not None else None
        async with contextlib.AsyncExitStack() as slot, contextlib.AsyncExitStack() as ahead:
            if part is not None:
                await self._acquire(self.around.parts, slot, part.of, plan.priority)
            for step in plan.steps:
                if initiate is not None and isinstance(step, (LoadSecret, Load, Install, Initiate)):
                    await self._acquire(self.around.ahead, ahead, endpoint, plan.priority)
                    initiate = None
                await self._settle(step)
                if isinstance(step, Initiate):
                    await self._acquire(self.around.window, slot, endpoint, plan.priority)
                    await ahead.aclose()
                before, self._open = self._open, True
                await self._steps.do(step, urgent=plan.urgent)
                self._open = before and not isinstance(step, ReadBack)

    async def _settle(self, step: Step) -> None:
        """Before anything new is loaded, wait for what is open: an older load could come after it, unseen."""
        if self._open and isinstance(step, LoadSecret | Load):
            await self.around.charon.read(self.name)
            self._open = False

    async def _acquire(self, window: Window, slot: contextlib.AsyncExitStack, endpoint: str, priority: int) -> None:
        if not window.take(endpoint):
            self._steps.facts = replace(self._steps.facts, queued=True)
            try:
                await window.acquire(endpoint, priority)
            finally:
                self._steps.facts = replace(self._steps.facts, queued=False)
        slot.callback(window.release, endpoint)

    def _refuse(self, plan: Plan, detail: str) -> None:
        """The same again would be refused again: only another plan, or time, makes another attempt."""
        self._refused_by = plan.key
        self._steps.facts = replace(self._steps.facts, refused=Failure(Reason.REJECTED, detail, self.around.clock()))
