"""Whether keepalived's processes are alive: its parent, and the child that does VRRP, each by a pidfd.

The kernel makes a pidfd readable the moment its process ends, so a death is known within a millisecond. Who they are is
in keepalived's pid files, which a killed one leaves behind: a pid that is another program's by now is not keepalived.
"""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from swanherd.core.facts import Absent, Known, Unknown
from swanherd.world.keepalived.counters import Counters

FIND_S: Final = 0.1
"""How often processes are looked for while one is missing: a restarted VRRP child takes 0.1 s. It costs 0.1 ms."""

VRRP_PID_FILE: Final = "vrrp.pid"
"""The VRRP child's pid file, beside the parent's (keepalived's defaults; ``--vrrp_pid`` sets another)."""

PROGRAM: Final = "keepalived"


class ProcessWatch:
    """The liveness of keepalived as a whole; the same for every interface that asks."""

    def __init__(self, *, on_change: Callable[[], None], counters: Counters) -> None:
        self._on_change = on_change
        self._counters = counters
        self._loop = asyncio.get_running_loop()
        self._pid_file: Path | None = None
        self._fds: dict[int, int] = {}
        """Pidfd by pid, of all that must be alive."""
        self._wake = asyncio.Event()
        self.state: Known[bool] | Unknown[bool] | Absent = Absent()
        """Unknown: there is no pid file, and none was seen to be there (``no-pid-file``)."""

    def watch(self, pid_file: Path | None) -> None:
        """Watch the keepalived of this pid file from now on; None: none."""
        if pid_file == self._pid_file:
            return
        self._close()
        self._pid_file = pid_file
        self.state = Unknown(since=self._loop.time(), why="not-read") if pid_file else Absent()
        self._wake.set()

    def look(self) -> None:
        """Look for missing processes now."""
        self._wake.set()

    async def run(self) -> None:
        """Look for the processes while one is missing; never returns."""
        try:
            while True:
                self._wake.clear()
                complete = self._find() if self._pid_file else True
                try:
                    async with asyncio.timeout(None if complete else FIND_S):
                        await self._wake.wait()
                except TimeoutError:
                    continue
        finally:
            self._close()

    def _find(self) -> bool:
        """Open what the pid files name; whether both processes are watched now."""
        if len(self._fds) > 1:
            return True
        pid_file = self._pid_file
        if pid_file is None:
            return True
        parent = _pid_in(pid_file)
        if parent is None:
            self._not_there()
            return False
        children = _vrrp_children(pid_file, parent)
        wanted = {parent, *children}
        for pid in wanted - self._fds.keys():
            fd = _open(pid)
            if fd is None:
                self._close()
                self._say(alive=False)
                return False
            self._fds[pid] = fd
            self._loop.add_reader(fd, self._died)
        # Until the child is there nobody has moved an address: the parent alone is not a VRRP daemon's death.
        self._say(alive=True)
        return len(self._fds) > 1

    def _died(self) -> None:
        """One of them ended. The other is of no use without it: both are looked for again."""
        self._counters.deaths += 1
        self._close()
        self._say(alive=False)
        self._wake.set()

    def _not_there(self) -> None:
        """No pid file. That is the end of one that we knew, and says nothing if we never knew one."""
        if isinstance(self.state, Known):
            self._say(alive=False)
        elif isinstance(self.state, Unknown) and self.state.why == "not-read":
            self.state = Unknown(since=self.state.since, why="no-pid-file")
            self._on_change()

    def _say(self, *, alive: bool) -> None:
        if not isinstance(self.state, Known) or self.state.value is not alive:
            self.state = Known(alive, since=self._loop.time())
            self._on_change()

    def _close(self) -> None:
        for fd in self._fds.values():
            self._loop.remove_reader(fd)
            os.close(fd)
        self._fds.clear()


def _pid_in(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() and int(text) > 0 else None


def _vrrp_children(pid_file: Path, parent: int) -> set[int]:
    """The VRRP child; where its pid file is elsewhere, every child of *parent* that can be seen."""
    child = _pid_in(pid_file.with_name(VRRP_PID_FILE))
    if child is not None:
        return {child}
    try:
        text = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii")
    except OSError:
        return set()
    return {int(pid) for pid in text.split()}


def _open(pid: int) -> int | None:
    """A pidfd of *pid*; None if it is no keepalived that lives."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return None
    try:
        # After the open, so that it is the same process. Not its name, which the settings of keepalived may change.
        program = Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0].decode(errors="replace")
    except OSError:
        return fd  # not for us to see; the pid file is all there is to go by
    if not Path(program).name.startswith(PROGRAM):  # a zombie has none either
        os.close(fd)
        return None
    return fd
