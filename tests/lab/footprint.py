"""What an agent holds: descriptors, tasks, memory. What a fault leaves behind shows here, from outside where it can."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.lab.runner import Agent
from tests.lab.told import Told
from tests.lab.waiting import wait_until

GIVEN_BACK_S: Final = 15.0
"""A connection that is being closed, and a task that ends, are gone long before; the agent counts its tasks at its
passes, of which there is one in 10 s at least."""

SPARE: Final = 4
"""Connections to charon stay open once so many calls were under way at once. A fault that is made often, or lasts long,
leaves more than that behind, if it leaves anything."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """At one moment."""

    descriptors: tuple[str, ...]
    """What each open one is, without the numbers that differ from time to time."""
    tasks: int
    resident_kib: int

    @classmethod
    def of(cls, agent: Agent) -> "Footprint":
        """What *agent* holds now."""
        proc = Path(f"/proc/{agent.pid}")
        tasks = int(Told(agent).status()["loop"]["tasks"])
        status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
        return cls(tuple(sorted(_open(proc))), tasks, int(status["VmRSS"].split()[0]))

    def assert_given_back(self, agent: Agent) -> None:
        """Wait until *agent* has no more descriptors and tasks than in this footprint, but for `SPARE`."""

        def given_back() -> bool:
            now[:] = [Footprint.of(agent)]
            more = len(now[0].descriptors) - len(self.descriptors), now[0].tasks - self.tasks
            return max(more) <= SPARE

        now: list[Footprint] = []
        try:
            wait_until(given_back, "nothing is leaked", within_s=GIVEN_BACK_S, every_s=0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}: before {self}, after {now}") from None


def _open(proc: Path) -> list[str]:
    kinds = []
    for each in (proc / "fd").iterdir():
        try:
            kinds.append(str(each.readlink()).partition(":")[0])
        except FileNotFoundError:
            continue  # closed while we looked
    return kinds
