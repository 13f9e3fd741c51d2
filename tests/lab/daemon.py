"""A daemon on a host of the lab: started, stopped, killed, frozen and thawed as faults need it."""

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.lab.hosts import Host
from tests.lab.waiting import PATIENCE, wait_until

if TYPE_CHECKING:
    import subprocess

STOP_TIMEOUT_S: Final = 20.0 * PATIENCE
"""A daemon that has not ended so long after SIGTERM has hung."""


class Daemon:
    """One program in the foreground, with what it has started itself."""

    def __init__(self, host: Host, *argv: str, log: str) -> None:
        self.host = host
        self.log = log
        """Name of the file in the host's ``/var/log`` that gets its standard outputs."""
        self._argv = argv
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        state = self.pid if self.running else "down"
        return f"<{type(self).__name__} on {self.host.name}: {state}>"

    @property
    def running(self) -> bool:
        """Whether its first process is there (a frozen one is)."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Pid of its first process as the lab sees it."""
        if self._process is None or not self.running:
            raise ProcessLookupError(f"{self!r} does not run")
        return self._process.pid

    def start(self) -> None:
        """Start it; subclasses wait until it answers."""
        if self.running:
            raise RuntimeError(f"{self!r} runs already")
        self._process = self.host.spawn(*self._argv, log=self.log)

    def stop(self) -> int:
        """Ask it to end, wait for that, and answer its exit status. A frozen one must be thawed first."""
        self.ask_to_stop()
        return self._ended()

    def wait_ended(self) -> None:
        """Wait until it has ended, for whatever reason, with all that it started."""
        self._ended()

    def ask_to_stop(self) -> None:
        """Send SIGTERM and go on: what follows from the stop begins long before the process is gone."""
        os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End it and all that it started with -9, at one moment as far as anybody can tell."""
        # Frozen first: a child that sees its parent die would still say goodbye.
        pids = self._signal(signal.SIGSTOP)
        _send(pids, signal.SIGKILL)
        self._ended()
        wait_until(lambda: not any(is_alive(pid) for pid in pids), f"{self!r} and its children gone")

    def freeze(self) -> None:
        """Stop it and all that it started (SIGSTOP)."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def reload(self) -> None:
        """Make it read its configuration again (SIGHUP)."""
        os.kill(self.pid, signal.SIGHUP)

    def pids(self) -> list[int]:
        """Its processes, parents first."""
        found = [self.pid]
        for pid in found:  # grows while we walk it
            found += _children(pid)
        return found

    def said(self) -> str:
        """What it has printed so far, over all its runs."""
        path = self.host.log(self.log)
        return path.read_text(errors="replace") if path.exists() else ""

    def _signal(self, number: signal.Signals) -> list[int]:
        pids = self.pids()
        _send(pids, number)
        return pids

    def _ended(self) -> int:
        if self._process is None:
            raise ProcessLookupError(f"{self!r} was never started")
        return self._process.wait(STOP_TIMEOUT_S)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):  # a process may end while we look at it
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def _send(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def is_alive(pid: int) -> bool:
    """Whether the process is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
