"""For how long the agents were ready to run and got no processor: the kernel counts it for each process.

A bar of 50 ms says something about the agent only on a machine that lets it run. Beside two gateways, a peer, a judge
and whatever else runs there, two cores do not always.
"""

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.lab.runner import Agent

SAMPLE_S: Final = 0.02
"""Less than half of the shortest bar."""


class Processor:
    """Looks from ``__init__`` to :meth:`close`, in a thread."""

    def __init__(self, agents: Mapping[str, Agent]) -> None:
        self._agents = agents
        self._waits: dict[str, list[tuple[float, float]]] = {name: [] for name in agents}
        """When it was seen, and how long the wait had been by then since the last look."""
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="processor", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._end.set()
        self._thread.join()

    def waited_s(self, gateway: str, since: float, until: float) -> float:
        """How long the gateway's agent waited between two times, or a sample more."""
        # A wait is counted when it is over.
        return sum(wait for at, wait in reversed(self._waits[gateway]) if since <= at <= until + 2 * SAMPLE_S)

    def _look_on(self) -> None:
        last: dict[int, float] = {}
        while not self._end.wait(SAMPLE_S):
            for name, agent in self._agents.items():
                with suppress(OSError):  # it may end while we look
                    pid = agent.pid
                    total = _waited_s(pid)
                    wait = total - last.get(pid, total)
                    last[pid] = total
                    if wait > 0.0:
                        self._waits[name].append((time.monotonic(), wait))


def _waited_s(pid: int) -> float:
    """Of the process's first thread, in which its loop runs (the second number of ``schedstat``, in ns)."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
