"""Between an agent and its charon: it passes every vici packet on, keeps the commands in order, and kills when told.

So an agent can be killed between any two steps of a plan, exactly there and without its help: the proxy counts the
commands that change something in charon and ends the process that sent one (SIGKILL), before or after charon gets it.

To the agent the proxy is a charon of its own identity that lives as long as the proxy does.
"""

import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Final, Self

from tests.lab.charon import VICI
from tests.lab.hosts import Host

PROXY: Final = "/run/proxy.vici"
"""What the settings name as ``vici_socket``."""
CHANGING: Final = frozenset(
    {
        "load-conn",
        "load-shared",
        "unload-conn",
        "unload-shared",
        "initiate",
        "terminate",
        "install",
        "uninstall",
        "rekey",
    }
)
"""Commands that change something; all others look, and come whenever the agent likes."""

_LENGTH: Final = struct.Struct("!I")
_CREDENTIALS: Final = struct.Struct("3i")
_COMMAND: Final = 0
"""CMD_REQUEST; vici's README, "Packet format"."""


class When(Enum):
    """On which side of a command the agent is killed."""

    BEFORE = "before"
    """Charon never gets it."""
    AFTER = "after"
    """Charon has it whole; its answer finds nobody."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command that the agent sent; ``at`` is CLOCK_MONOTONIC."""

    name: str
    at: float

    @property
    def changes(self) -> bool:
        """Whether it changes something in charon."""
        return self.name in CHANGING


class ViciProxy:
    """Listens at ``PROXY`` on *host* from ``__enter__`` to ``__exit__``; the host's charon need not run yet."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._lock = threading.Lock()
        self._commands: list[Command] = []
        self._countdown: int | None = None
        self._when = When.BEFORE
        self._sockets: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def __enter__(self) -> Self:
        self._listener.bind(str(self._host.path(PROXY)))
        self._listener.listen(64)
        threading.Thread(target=self._accept, name="vici proxy", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            for sock in (self._listener, *self._sockets):
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
                sock.close()

    # --- what tests ask ---------------------------------------------------------------------------------------------

    def kill_at(self, number: int, when: When) -> None:
        """Kill whoever sends the changing command *number* from now on (the next one is 1)."""
        with self._lock:
            self._countdown, self._when = number, when

    def disarm(self) -> bool:
        """Kill nobody any more; whether nobody had been killed yet."""
        with self._lock:
            armed = self._countdown is not None
            self._countdown = None
            return armed

    def commands(self, *, since: float = 0.0) -> list[Command]:
        """What was sent, in order."""
        with self._lock:
            return [command for command in self._commands if command.at >= since]

    # --- passing on -------------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        while True:
            try:
                agent, _ = self._listener.accept()
            except OSError:
                return
            charon = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                charon.connect(str(self._host.path(VICI)))
            except OSError:
                agent.close()
                continue
            with self._lock:
                self._sockets += [agent, charon]
            threading.Thread(target=self._to_charon, args=(agent, charon), daemon=True).start()
            threading.Thread(target=self._to_agent, args=(charon, agent), daemon=True).start()

    def _to_charon(self, agent: socket.socket, charon: socket.socket) -> None:
        # An agent that is killed after it has sent a command still has it delivered, as by the kernel without us.
        for packet in _packets(agent):
            killed = self._counted(packet) and self._kills(agent)
            if killed and self._when is When.BEFORE:
                break
            with suppress(OSError):
                charon.sendall(_LENGTH.pack(len(packet)) + packet)
            if killed:
                break
        _shut(charon)

    def _to_agent(self, charon: socket.socket, agent: socket.socket) -> None:
        with suppress(OSError):
            while data := charon.recv(65536):
                agent.sendall(data)
        _shut(agent)

    def _counted(self, packet: bytes) -> bool:
        if packet[0] != _COMMAND:
            return False
        command = Command(packet[2 : 2 + packet[1]].decode(), time.monotonic())
        with self._lock:
            self._commands.append(command)
            if not command.changes or self._countdown is None:
                return False
            self._countdown -= 1
            if self._countdown:
                return False
            self._countdown = None
            return True

    def _kills(self, agent: socket.socket) -> bool:
        pid, _, _ = _CREDENTIALS.unpack(agent.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        os.kill(pid, signal.SIGKILL)
        return True


def _packets(sock: socket.socket) -> Iterator[bytes]:
    with suppress(OSError), sock.makefile("rb") as stream:
        while len(head := stream.read(_LENGTH.size)) == _LENGTH.size:
            (length,) = _LENGTH.unpack(head)
            packet = stream.read(length)
            if len(packet) < length or not packet:
                return
            yield packet


def _shut(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
