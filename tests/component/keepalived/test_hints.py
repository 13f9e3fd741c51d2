"""``swanherd notify``, as keepalived's scripts call it, and the socket that hears it."""

import asyncio
import os
import resource
import socket
import sys
from pathlib import Path

from swanherd.cli.exits import Exit
from swanherd.core.facts import Known
from swanherd.core.intent import EvidenceSource
from swanherd.world.keepalived.hints import PAUSE_S

from .stage import INTERFACE, Bus, Daemon, following, listens

START_S = 0.06
"""How long the command may take: 30 ms on a machine that has nothing else to do, 9 of them the bare interpreter."""


async def notify(path: Path, *, user: int = 0) -> tuple[int, float]:
    """Run the command as *user*; its exit code, and the seconds of processor time that it took."""
    before = _spent_s()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "swanherd", "notify", "--socket", str(path), "INSTANCE", "VI_WAN", "MASTER", "150"),
        user=user,
    )
    return await process.wait(), _spent_s() - before


def _spent_s() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


async def test_a_hint_has_everything_read(daemon: Daemon, bus: Bus) -> None:
    """Any user's hint has keepalived read anew, and whoever decides told."""
    async with following(daemon, bus) as followed:
        daemon.start()
        followed.declare(EvidenceSource.DBUS)
        await followed.until(lambda: followed.said == "master")
        followed.hint_socket.parent.chmod(0o755)
        for parent in (p for p in followed.hint_socket.parents if p.is_relative_to("/tmp/pytest-of-root")):
            parent.chmod(0o755)
        sent_at = asyncio.get_running_loop().time()
        told = len(followed.told)
        code, _ = await notify(followed.hint_socket, user=65534)
        assert code == Exit.WELL
        await followed.until(lambda: followed.adapter.counters.hints == 1)
        await followed.until(lambda: len(followed.told) >= told + 2)  # the hint itself, and the reading that it caused
        state = followed.adapter.state(INTERFACE)
        assert isinstance(state, Known)
        assert state.since > sent_at


async def test_without_an_agent(tmp_path: Path) -> None:
    """Nobody there, a dead socket, a full one: well, at once, and without a word."""
    stale, full = tmp_path / "stale", tmp_path / "full"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as gone:
        gone.bind(str(stale))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as frozen:
        frozen.bind(str(full))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            try:
                while True:
                    sender.sendto(b"x", str(full))
            except BlockingIOError:
                pass
        for path in (tmp_path / "nowhere", stale, full):
            assert (await notify(path))[0] == Exit.WELL


async def test_quick(tmp_path: Path) -> None:
    """The command takes less than 60 ms; of the processor, as others may be busy beside the test."""
    assert min([(await notify(tmp_path / "nowhere"))[1] for _ in range(5)]) < START_S


async def test_a_flood_of_hints_is_few_looks(daemon: Daemon, bus: Bus) -> None:
    """Whoever floods the socket has keepalived read 20 times a second, no more, and changes nothing."""
    async with following(daemon, bus) as followed:
        daemon.start()
        followed.declare(EvidenceSource.DBUS)
        await followed.until(lambda: followed.said == "master")
        loop = asyncio.get_running_loop()
        began, reads = loop.time(), followed.adapter.counters.reads
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            while loop.time() < began + PAUSE_S * 6:
                try:
                    sender.sendto(b"x" * 900, os.fspath(followed.hint_socket))
                except BlockingIOError:
                    await asyncio.sleep(0)
        assert followed.adapter.counters.hints > 100
        assert followed.adapter.counters.reads - reads <= 2 * 6 + 6
        assert followed.said == "master"


async def test_left_behind(daemon: Daemon, bus: Bus) -> None:
    """The socket of an agent that was killed is taken over; a file that is no socket is left alone, and said."""
    path = daemon.pid_file.with_name("hint.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as gone:
        gone.bind(str(path))
    async with following(daemon, bus) as followed:
        assert listens(path)
        assert followed.adapter.failures == ()
    path.write_text("keep")
    async with following(daemon, bus) as followed:
        assert followed.adapter.failures == (f"{path}: there is a file of that name, and it is not a socket",)
    assert path.read_text() == "keep"
