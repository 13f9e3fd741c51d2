"""A model of one connection's lane, one step at a time, so that a test can stop or disturb it between any two."""

from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from swanherd.core import plan as planning
from swanherd.core.decision import Goal
from swanherd.core.facts import Failure, Known, Unknown
from swanherd.core.moves import on_way, up_on_way
from swanherd.core.plan import Plan, Step
from swanherd.core.view import Attempt, LaneFacts
from swanherd.core.words import Reason
from tests.unit.core import must
from tests.unit.core.charon import CharonStep, Command, subject
from tests.unit.core.mirror import Mirror
from tests.unit.core.world import World

SLOT_S: Final = 5.0
CALL_DEADLINE_S: Final = 5.0
URGENT_DEADLINE_S: Final = 2.0
PAUSE_S: Final = 0.5
"""As the lane has them."""


class Surroundings(Protocol):
    """What a lane needs of the agent that it is part of."""

    world: World
    mirror: Mirror
    run: int

    def may_acquire(self, step: planning.Load | planning.Install | planning.Initiate) -> None:
        """AssertionError unless *step* may be sent now."""

    def may_load_secret(self, step: planning.LoadSecret) -> None:
        """AssertionError unless *step* may be sent now."""


@dataclass(slots=True)
class Lane:
    """One connection's lane, between two of its steps."""

    name: str
    around: Surroundings = field(repr=False)
    plan: Plan | None = None
    busy: bool = False
    position: int = 0
    command: Command | None = None
    """Sent, and not yet answered."""
    read_since: float | None = None
    """Since when a read-back waits for older commands."""
    awaited: float | None = None
    """When the handshake began whose end is awaited."""
    seen: bool = False
    pause_until: float | None = None
    facts: LaneFacts = field(default_factory=LaneFacts)
    refused_by: tuple[object, ...] | None = None
    charon: object = None
    slot: bool = False
    open: bool = False
    """A command has no answer: charon may still carry it out, after newer ones."""

    @property
    def step(self) -> Step | None:
        """The step to do next, or that is being done."""
        return self.plan.steps[self.position] if self.busy and self.plan is not None else None

    def begin(self, new: Plan) -> None:
        """Drop what is under way, and follow *new*."""
        self.open = self.open or self.command is not None
        self.plan = new
        self.position = 0
        self.slot = False
        self.busy = bool(new.steps)
        self._rest()

    def next(self) -> None:
        """The step is done."""
        self._rest()
        self.position += 1
        if self.plan is None or self.position == len(self.plan.steps):
            self.end()

    def end(self) -> None:
        """The plan is done, or given up."""
        self._rest()
        self.busy = False

    def meet(self) -> None:
        """A new charon has nothing of what the one before was sent."""
        state = self.around.mirror.state
        if isinstance(state, Known):
            if self.charon not in (None, state.value):
                self.facts = LaneFacts(queued=self.facts.queued, touched=self.busy, secret_sent=self.busy)
                self.open = self.busy
                self.refused_by = None
            self.charon = state.value

    def follow(self, new: Plan) -> None:
        """As the lane adopts a plan."""
        must.be_ordered(new)
        if self.refused_by is not None and self.refused_by != new.key and new.goal is not Goal.HOLD:
            self.refused_by = None
            self.facts = replace(self.facts, refused=None)
        if self.busy and self.plan is not None and self.plan.key == new.key:
            return
        self.begin(new)

    def advance(self) -> bool:  # noqa: C901, PLR0911  # a ladder
        """Do one thing; whether there was any."""
        step = self.step
        if step is None:
            return False
        if self.pause_until is not None:
            return self._paused()
        if self.command is not None:
            return self._answer(self.command)
        if self.awaited is not None and isinstance(step, planning.Initiate):
            return self._awaiting(step)
        if isinstance(step, planning.ReadBack):
            return self._read_back()
        if self.open and isinstance(step, planning.LoadSecret | planning.Load):
            return self._settle()
        if not self.slot and isinstance(step, planning.Load | planning.Install | planning.Initiate):
            return self._queue()
        if isinstance(step, planning.Initiate):
            here = self.around.mirror.view(self.name)
            if here.config is None or here.config.digest != step.digest:
                self.pause_until = self.around.world.now + PAUSE_S  # unloaded meanwhile
                return True
            up = up_on_way(here.sas, step.connection, step.source)
            step = replace(step, children=tuple(child for child in step.children if child.name not in up))
            if not step.children:
                self.next()
                return True
        self._send(step)
        return True

    def _queue(self) -> bool:
        """Two steps: wait for a slot in the window, and get it."""
        initiates = self.plan is not None and any(isinstance(step, planning.Initiate) for step in self.plan.steps)
        if initiates and not self.facts.queued:
            self.facts = replace(self.facts, queued=True)
        else:
            self.slot = True
            self.facts = replace(self.facts, queued=False)
        return True

    def _paused(self) -> bool:
        if self.pause_until is None or self.around.world.now < self.pause_until:
            return False
        self.end()
        return True

    def _send(self, step: CharonStep) -> None:
        urgent = self.plan is not None and self.plan.urgent
        state = self.around.mirror.state
        if isinstance(step, planning.Load | planning.Install | planning.Initiate):
            self.around.may_acquire(step)
            self.facts = replace(self.facts, touched=True)
        if isinstance(step, planning.Initiate):
            self.facts = replace(self.facts, attempt=Attempt(self.around.world.now, step.digest))
        if isinstance(step, planning.LoadSecret):
            self.around.may_load_secret(step)
            self.facts = replace(self.facts, secret_sent=True)
        if self.around.world.charon is None:
            self.end()
        elif not urgent and isinstance(state, Unknown) and state.why == "frozen":
            self.pause_until = self.around.world.now + PAUSE_S
        else:
            self.around.mirror.sending(step)
            self.command = self.around.world.send(step, self.around.run)

    def _answer(self, command: Command) -> bool:
        urgent = self.plan is not None and self.plan.urgent
        if command.done:
            missing_ok = isinstance(command.step, planning.Unload | planning.Uninstall | planning.Terminate)
            if isinstance(command.step, planning.LoadSecret):
                self.facts = replace(self.facts, secret_sent=False)
            if isinstance(command.step, planning.UnloadSecret):
                self.facts = replace(self.facts, secret_sent=False)
            if command.error and isinstance(command.step, planning.Install | planning.Initiate):
                assert self.around.mirror.read(self.name).config is None, "refused, and yet loaded"
                self.command, self.pause_until = None, self.around.world.now + PAUSE_S
                return True
            if command.error and not missing_ok:
                self._refused(command.error)
                return True
            self.around.mirror.answered(command.step)
            if isinstance(command.step, planning.Initiate):
                self.command, self.awaited = None, self.around.world.now
            else:
                self.next()
        elif self.around.world.charon is None or command not in self.around.world.charon.under_way:
            self.end()  # gone
        elif self.around.world.now - command.sent_at >= (URGENT_DEADLINE_S if urgent else CALL_DEADLINE_S):
            self.command, self.open = None, True
            self.pause_until = self.around.world.now + PAUSE_S
        else:
            return False
        return True

    def _refused(self, error: str) -> None:
        assert self.plan is not None
        self.refused_by = self.plan.key
        self.facts = replace(self.facts, refused=Failure(Reason.REJECTED, error, self.around.world.now))
        self.end()

    def _awaiting(self, step: planning.Initiate) -> bool:
        assert self.awaited is not None
        attempt = self.facts.attempt
        started = attempt.started if attempt is not None else self.awaited
        here = self.around.mirror.view(self.name)
        mine = [sa for sa in here.sas if on_way(sa, step.connection, step.source)]
        self.seen = self.seen or bool(mine)
        up = up_on_way(here.sas, step.connection, step.source)
        failure: Failure | None = None
        if not all(child.name in up for child in step.children):
            connecting = any(sa.connecting for sa in mine)
            if here.failure is not None and here.failure.at >= started and not connecting:
                failure = here.failure
            elif self.seen and not mine:
                failure = Failure(Reason.NO_ANSWER, "", started)
            elif self.around.world.now - self.awaited >= SLOT_S:
                self.next()
                return True
            else:
                return False
        self.facts = replace(self.facts, attempt=Attempt(started, step.digest, self.around.world.now, failure))
        self.next()
        return True

    def _settle(self) -> bool:
        """Wait until everything older is answered."""
        settled = self._settled()
        self.open = self.open and not settled
        return settled is not None

    def _settled(self) -> bool | None:
        """Whether all commands about *name* are answered; None while it is waited for. False: it was given up."""
        charon = self.around.world.charon
        if charon is None:
            self.end()
            return False
        if self.read_since is None:
            self.read_since = self.around.world.now
        mine = [
            command
            for command in charon.under_way
            if command.run == self.around.run and subject(command.step) == self.name
        ]
        if not (mine or charon.frozen):
            self.read_since = None
            return True
        if self.around.world.now - self.read_since < URGENT_DEADLINE_S:
            return None
        self.read_since = None
        self.pause_until = self.around.world.now + PAUSE_S
        return False

    def _read_back(self) -> bool:
        settled = self._settled()
        if settled and not self.around.mirror.read(self.name).empty:
            self.pause_until = self.around.world.now + PAUSE_S
        elif settled:
            self.open = False
            self.facts = replace(self.facts, touched=False, attempt=None)
            self.next()
        return settled is not None

    def _rest(self) -> None:
        self.command = self.read_since = self.awaited = self.pause_until = None
        self.seen = False
        self.facts = replace(self.facts, queued=False)
