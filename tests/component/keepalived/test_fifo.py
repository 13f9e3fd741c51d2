"""keepalived's notify FIFO: whatever is in it, and whatever happens to it, only hints are lost."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from swanherd.core.facts import Known
from swanherd.core.intent import EvidenceSource

from .stage import INTERFACE, Bus, Daemon, Followed, following

BOTH = (EvidenceSource.FIFO, EvidenceSource.DBUS)


@pytest.fixture
def fifo(tmp_path: Path, daemon: Daemon) -> Path:
    """Where the FIFO is; keepalived is configured for it."""
    path = tmp_path / "notify"
    daemon.configure(extra=f"enable_dbus\n    vrrp_notify_fifo {path}")
    return path


def say(path: Path, text: str) -> None:
    """Write to the FIFO, which must have a reader."""
    fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    os.write(fd, text.encode())
    os.close(fd)


def fill(fd: int) -> None:
    """Write lines until the pipe takes no more."""
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(fd, b'INSTANCE "VI_WAN" MASTER 150\n')


def replace(path: Path, *, text: str = "", link_to: Path | None = None) -> None:
    """Put a file with *text*, a link, or nothing, where *path* is."""
    path.unlink(missing_ok=True)
    if link_to is not None:
        path.symlink_to(link_to)
    elif text:
        path.write_text(text)


def read(path: Path) -> str:
    """What is in a file."""
    return path.read_text()


async def looked(followed: Followed, act: Callable[[], object]) -> None:
    """Every instance is read again because of *act*: sooner than by time, and told of."""
    told = len(followed.told)
    act()
    await followed.until(lambda: len(followed.told) > told, within_s=0.1)


async def test_lines_of_keepalived(daemon: Daemon, bus: Bus, fifo: Path) -> None:
    """The FIFO is made where it is missing; keepalived writes to it, and each change has us look."""
    async with following(daemon, bus) as followed:
        followed.declare(*BOTH, fifo=fifo)
        await followed.until(fifo.is_fifo)
        daemon.start()
        await followed.until(lambda: followed.said == "master")
        await followed.until(lambda: followed.adapter.counters.fifo_lines >= 1)
        assert followed.adapter.failures == ()


async def test_a_line_is_never_believed(daemon: Daemon, bus: Bus, fifo: Path) -> None:
    """A line that says FAULT, stale or forged, changes nothing but the date of what keepalived says itself."""
    os.mkfifo(fifo)
    keeper = os.open(fifo, os.O_RDWR)  # holds what is in it until the agent comes
    os.write(keeper, b'INSTANCE "VI_WAN" FAULT 150\n' * 3)
    async with following(daemon, bus) as followed:
        daemon.start()
        followed.declare(*BOTH, fifo=fifo)
        await followed.until(lambda: followed.said == "master")
        assert followed.adapter.counters.fifo_lines >= 3
        await looked(followed, lambda: say(fifo, 'INSTANCE "VI_WAN" BACKUP 150\n'))
        assert isinstance(followed.adapter.state(INTERFACE), Known)
        assert {str(getattr(state, "value", "")) for _, state, _ in followed.told} <= {"", "backup", "master"}
        assert followed.said == "master"
    os.close(keeper)


async def test_full(daemon: Daemon, bus: Bus, fifo: Path) -> None:
    """A pipe that was full when the agent came is emptied, and works again."""
    os.mkfifo(fifo)
    keeper = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    fill(keeper)
    async with following(daemon, bus) as followed:
        daemon.start()
        followed.declare(*BOTH, fifo=fifo)
        await followed.until(lambda: followed.said == "master")
        assert followed.adapter.counters.fifo_lines > 1000
        await looked(followed, lambda: say(fifo, "x\n"))
    os.close(keeper)


async def test_unlinked_and_made_anew(daemon: Daemon, bus: Bus, fifo: Path) -> None:
    """A FIFO that is unlinked is made anew, and one that somebody else made there is the one that is read."""
    async with following(daemon, bus) as followed:
        daemon.start()
        followed.declare(*BOTH, fifo=fifo)
        await followed.until(lambda: followed.said == "master")
        replace(fifo)
        await followed.until(fifo.is_fifo)
        await looked(followed, lambda: say(fifo, "x\n"))
        reopens = followed.adapter.counters.fifo_reopens
        other = fifo.with_name("other")
        os.mkfifo(other)
        other.rename(fifo)
        await followed.until(lambda: followed.adapter.counters.fifo_reopens > reopens)
        await looked(followed, lambda: say(fifo, "x\n"))


async def test_something_else_is_there(daemon: Daemon, bus: Bus, fifo: Path) -> None:
    """What is no FIFO is left alone, and said; a link to one is not followed; when it is gone, the FIFO is made."""
    other = fifo.with_name("other")
    os.mkfifo(other)
    replace(fifo, link_to=other)
    async with following(daemon, bus) as followed:
        followed.declare(*BOTH, fifo=fifo)
        await followed.until(lambda: followed.adapter.failures)
        assert followed.adapter.counters.fifo_lines == 0
        replace(fifo, text="keep")
        await followed.until(lambda: followed.adapter.failures == (f"{fifo}: is no FIFO",))
        assert read(fifo) == "keep"
        replace(fifo)
        await followed.until(fifo.is_fifo)
        assert followed.adapter.failures == ()
