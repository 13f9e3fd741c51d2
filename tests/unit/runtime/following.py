"""A lane over a model of charon, the plans that it is given, and waiting for it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from swanherd.core.decision import Goal
from swanherd.core.intent import Connection
from swanherd.core.plan import (
    Initiate,
    Install,
    Load,
    LoadSecret,
    Plan,
    ReadBack,
    Step,
    Terminate,
    Uninstall,
    Unload,
)
from swanherd.runtime.lane import Lane
from swanherd.runtime.surroundings import Surroundings
from swanherd.runtime.window import Window
from tests.unit.core.charon import expected
from tests.unit.core.settings import ALPHA, VIP_WAN
from tests.unit.runtime.model import ModelCharon


@dataclass
class Around:
    """Lanes and their surroundings."""

    charon: ModelCharon = field(default_factory=ModelCharon)
    window: Window = field(default_factory=Window)
    parts: Window = field(default_factory=lambda: Window(per_endpoint=1))
    changed: list[str] = field(default_factory=list)
    bugs: list[str] = field(default_factory=list)

    _shared: Surroundings | None = None

    def lane(self, connection: Connection = ALPHA) -> Lane:
        """A lane of its own for *connection*; what they share they do share."""
        if self._shared is None:
            self._shared = Surroundings(
                charon=self.charon,
                window=self.window,
                parts=self.parts,
                secret_of=lambda _: b"0123",
                changed=self.changed.append,
                bug=lambda where, error: self.bugs.append(f"{where} {error}"),
                clock=asyncio.get_running_loop().time,
            )
        return Lane(connection.name, self._shared)


def takeover(connection: Connection = ALPHA, *, version: str = "s1", trap: bool = False) -> Plan:
    """Secret, load, initiate."""
    digest = expected(connection, VIP_WAN).digest
    steps: tuple[Step, ...] = (
        LoadSecret(connection, version, ()),
        Load(connection, VIP_WAN),
        *([Install(connection, connection.children[0])] if trap else []),
        Initiate(connection, VIP_WAN, connection.children, digest),
    )
    return Plan(connection.name, Goal.RUN, (Goal.RUN, VIP_WAN, digest, version), steps)


def release(connection: Connection = ALPHA) -> Plan:
    """Everything of it goes."""
    name = connection.name
    steps = (Uninstall(name, connection.children[0].name), Unload(name), Terminate(name), ReadBack(name))
    return Plan(name, Goal.RELEASE, (Goal.RELEASE,), steps)


def hold(connection: Connection = ALPHA) -> Plan:
    """Nothing."""
    return Plan(connection.name, Goal.HOLD, (Goal.HOLD,), ())


async def until(condition: Callable[[], bool], *, within_s: float = 2.0) -> None:
    """Give the loop turns until *condition* holds."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110  # facts change in many places; the clock is the test's own
            await asyncio.sleep(0.0005)


async def idle(lane: Lane, *, within_s: float = 2.0) -> None:
    """Wait until the lane has nothing to do."""
    await until(lambda: not lane.facts.busy, within_s=within_s)
