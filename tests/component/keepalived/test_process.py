"""Whether keepalived's processes live, by their pid files and the kernel's word."""

import asyncio
import os
import signal

import pytest

from swanherd.core.facts import Absent, Known
from swanherd.core.intent import EvidenceSource
from swanherd.world.keepalived.process import FIND_S

from .stage import INTERFACE, Bus, Daemon, Followed, following, open_descriptors

PROCESS = EvidenceSource.PROCESS
KNOWN_S = 0.1
"""A death is known within milliseconds of this process's own time, and within a slice or two that others have of the
machine's. Nothing but the pidfd tells of it: nobody looks while both processes are watched."""


async def alive(daemon: Daemon, followed: Followed) -> None:
    """Start keepalived; wait until both its processes are watched."""
    before = open_descriptors()
    followed.declare(PROCESS)
    daemon.start()
    await followed.until(lambda: followed.alive is True)
    await followed.until(lambda: daemon.vrrp_pid_file.exists() and open_descriptors() == before + 2)


async def test_before_it_was_ever_started(daemon: Daemon, bus: Bus) -> None:
    """No pid file, and none seen before, is no death: Unknown."""
    async with following(daemon, bus) as followed:
        followed.declare(PROCESS)
        await followed.until(lambda: followed.alive == "no-pid-file")


@pytest.mark.parametrize("which", ["both", "parent", "child"])
async def test_killed(daemon: Daemon, bus: Bus, which: str) -> None:
    """The death of either process is known within milliseconds; a child that its parent restarts is found again."""
    async with following(daemon, bus) as followed:
        await alive(daemon, followed)
        parent, child = daemon.pids
        loop = asyncio.get_running_loop()
        killed_at = loop.time()
        for pid in {"both": (parent, child), "parent": (parent,), "child": (child,)}[which]:
            os.kill(pid, signal.SIGKILL)
        await followed.until(lambda: followed.alive is False)
        fact = followed.adapter.process(INTERFACE)
        assert isinstance(fact, Known)
        assert killed_at <= fact.since < killed_at + KNOWN_S
        if which == "child":
            await followed.until(lambda: followed.alive is True)
            assert daemon.pids[1] != child


async def test_stopped_and_started(daemon: Daemon, bus: Bus) -> None:
    """A stop takes the pid files away: that is an end too, and the next start is found."""
    async with following(daemon, bus) as followed:
        await alive(daemon, followed)
        await asyncio.to_thread(daemon.stop)
        await followed.until(lambda: followed.alive is False)
        daemon.start()
        await followed.until(lambda: followed.alive is True)


async def test_reload_changes_nothing(daemon: Daemon, bus: Bus) -> None:
    """A reload keeps the processes, and tells nothing."""
    async with following(daemon, bus) as followed:
        await alive(daemon, followed)
        pids, told = daemon.pids, len(followed.told)
        daemon.reload()
        await asyncio.sleep(0.5)
        assert daemon.pids == pids
        assert (followed.alive, len(followed.told)) == (True, told)


async def test_left_behind(daemon: Daemon, bus: Bus) -> None:
    """Pid files of one that was killed before we came name nobody: dead. And not somebody else who got the pid."""
    daemon.start()
    async with following(daemon, bus) as followed:
        await followed.until(daemon.vrrp_pid_file.exists)
    daemon.send(signal.SIGKILL)
    daemon.reap()
    async with following(daemon, bus) as followed:
        followed.declare(PROCESS)
        await followed.until(lambda: followed.alive is False)
        daemon.claim(os.getpid())
        await asyncio.sleep(FIND_S * 3)
        assert followed.alive is False
        daemon.claim(None)


async def test_not_declared(daemon: Daemon, bus: Bus) -> None:
    """What is not declared is Absent, and no process is watched."""
    async with following(daemon, bus) as followed:
        before = open_descriptors()
        await alive(daemon, followed)
        followed.declare()
        assert followed.adapter.process(INTERFACE) == Absent()
        assert open_descriptors() == before
