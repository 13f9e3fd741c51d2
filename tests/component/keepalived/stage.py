"""A real keepalived on a real private bus, in a network namespace of its own, and what a test does to them."""

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from swanherd.core.intent import EvidenceSource, VrrpDeclaration
from swanherd.world.keepalived import Keepalived
from tests.lab.bus import EVERYBODY

DEADLINE_S: Final = 8.0
ADVERT_S: Final = 0.2
INTERFACE: Final = "wan"
"""The name in the settings; the device is ``wan1.7``, so that its path on the bus differs from its name."""
DEVICE: Final = "wan1.7"

DAEMON_CONF: Final = """\
global_defs {{
    vrrp_version 3
    script_user root
    enable_script_security
    {extra}
}}
vrrp_instance {name} {{
    state BACKUP
    interface {device}
    virtual_router_id 51
    priority 150
    advert_int {advert_s}
    virtual_ipaddress {{
        203.0.113.10/24
    }}
}}
"""


class Bus:
    """A dbus-daemon of type system on a socket in *directory*."""

    def __init__(self, directory: Path) -> None:
        self.socket = directory / "bus.sock"
        self.address = f"unix:path={self.socket}"
        self._conf = directory / "bus.conf"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it listens when this returns."""
        self.socket.unlink(missing_ok=True)
        self._conf.write_text(EVERYBODY.format(socket=self.socket))
        self._process = subprocess.Popen(
            ["dbus-daemon", f"--config-file={self._conf}", "--nofork", "--nopidfile", "--print-address"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None


class Daemon:
    """keepalived, with its files in *directory*."""

    def __init__(self, directory: Path, bus: Bus) -> None:
        self.pid_file = directory / "keepalived.pid"
        self.vrrp_pid_file = directory / "vrrp.pid"
        self._bus = bus
        self._conf = directory / "keepalived.conf"
        self._log = directory / "keepalived.log"
        self._process: subprocess.Popen[bytes] | None = None

    def configure(self, *, name: str = "VI_WAN", extra: str = "enable_dbus") -> None:
        """Write its configuration; a running one reads it at the next HUP."""
        self._conf.write_text(DAEMON_CONF.format(name=name, extra=extra, advert_s=ADVERT_S, device=DEVICE))

    def start(self) -> None:
        """Start it. It has no other router, so it is MASTER after three adverts' silence."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *("keepalived", "--dont-fork", "--log-console", "--vrrp", "--use-file", self._conf),
                    *("--pid", self.pid_file, "--vrrp_pid", self.vrrp_pid_file),
                ],
                stdout=log,
                stderr=log,
                env={**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": self._bus.address},
            )

    @property
    def pids(self) -> tuple[int, int]:
        """Its parent process and its VRRP child."""
        return int(self.pid_file.read_text()), int(self.vrrp_pid_file.read_text())

    def send(self, number: signal.Signals) -> None:
        """Send both processes a signal."""
        for pid in self.pids:
            os.kill(pid, number)

    def reload(self) -> None:
        """Have it read its configuration."""
        os.kill(self.pids[0], signal.SIGHUP)

    def stop(self) -> None:
        """Stop it as systemd does, and wait for its end."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(DEADLINE_S)
            self._process = None

    def reap(self) -> None:
        """Wait for one that was killed."""
        if self._process is not None:
            self._process.wait(DEADLINE_S)
            self._process = None

    def claim(self, pid: int | None) -> None:
        """Have its pid files name *pid*; None: nobody, they are gone."""
        for path in (self.pid_file, self.vrrp_pid_file):
            path.unlink(missing_ok=True)
            if pid is not None:
                path.write_text(f"{pid}\n")

    def end(self) -> None:
        """Leave nothing of it, whatever state it is in."""
        for path in (self.pid_file, self.vrrp_pid_file):
            if path.exists():
                try:
                    os.kill(int(path.read_text()), signal.SIGKILL)
                except (ProcessLookupError, ValueError):
                    continue
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class MuteBus:
    """Listens on a bus's socket, accepts, and never says anything."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self.met: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._listener.setblocking(False)
        asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        self.met.append(self._listener.accept()[0])

    def close(self) -> None:
        """End it and its connections."""
        asyncio.get_running_loop().remove_reader(self._listener)
        for each in (*self.met, self._listener):
            each.close()


class Followed:
    """A running adapter, and the names that it told of."""

    def __init__(self, daemon: Daemon, bus: Bus) -> None:
        self.daemon = daemon
        self.told: list[tuple[float, object, object]] = []
        """Time, state and process at each change."""
        self.hint_socket = daemon.pid_file.with_name("hint.sock")
        self.adapter = Keepalived(on_change=self._note, bus_address=bus.address, hint_socket=self.hint_socket)

    def declare(
        self,
        *evidence: EvidenceSource,
        instance: str | None = "VI_WAN",
        fifo: Path | None = None,
        advert_s: float = ADVERT_S,
    ) -> None:
        """Watch one interface with this evidence; none: watch nothing."""
        declared = VrrpDeclaration(instance=instance, vrid=51, evidence=frozenset(evidence), advert_interval_s=advert_s)
        self.adapter.watch(
            {INTERFACE: declared} if evidence else {},
            {INTERFACE: DEVICE},
            fifo=fifo,
            pid_file=self.daemon.pid_file,
        )

    def _note(self, names: frozenset[str]) -> None:
        assert names <= {INTERFACE}
        now = asyncio.get_running_loop().time()
        self.told.append((now, self.adapter.state(INTERFACE), self.adapter.process(INTERFACE)))

    @property
    def said(self) -> str:
        """The state in one word: keepalived's own, or why it is not known."""
        state = self.adapter.state(INTERFACE)
        return str(getattr(state, "value", getattr(state, "why", "absent")))

    @property
    def alive(self) -> object:
        """The process fact in one word."""
        process = self.adapter.process(INTERFACE)
        return getattr(process, "value", getattr(process, "why", "absent"))

    async def until(self, condition: Callable[[], object], *, within_s: float = DEADLINE_S) -> None:
        """Wait until *condition* holds."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_s
        while not condition():
            assert loop.time() < deadline, (self.said, self.alive, self.told[-3:])
            await asyncio.sleep(0.002)


@asynccontextmanager
async def following(daemon: Daemon, bus: Bus) -> AsyncIterator[Followed]:
    """An adapter that runs; nothing of it is left afterwards: no task, no file descriptor."""
    descriptors, tasks = open_descriptors(), asyncio.all_tasks()
    followed = Followed(daemon, bus)
    running = asyncio.create_task(followed.adapter.run())
    try:
        await followed.until(lambda: listens(followed.hint_socket) or followed.adapter.failures)
        yield followed
        assert not running.done(), running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    await followed.until(lambda: asyncio.all_tasks() <= tasks)
    await followed.until(lambda: open_descriptors() <= descriptors)


def listens(path: Path) -> bool:
    """Whether somebody listens on *path*."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        return sender.connect_ex(str(path)) == 0


def open_descriptors() -> int:
    """How many file descriptors this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
