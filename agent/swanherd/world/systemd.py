"""What the service manager is told, and the watchdog that it asks us to feed: sd_notify(3), sd_watchdog_enabled(3).

Telling never fails and never waits: the manager may be slow or gone, and the agent goes on. What could not be told is
counted (`Systemd.untold`). Without a manager everything here does nothing.
"""

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

STATUS_BYTES: Final = 512
"""A status is one line for people; the manager cuts longer messages off anyway."""


class Systemd:
    """The manager that *environment* names (NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID), if any.

    Every method returns whether the manager's socket took the message; the caller repeats what must arrive (`ready`).
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._socket: socket.socket | None = None
        self.untold = 0
        """Messages that the manager's socket did not take: its queue was full, or it was not there."""
        self.watchdog_s = _watchdog_s(environment)
        """The manager kills this process when it was not fed for so long; None: it does not. Feed twice as often."""

    @property
    def present(self) -> bool:
        """Whether somebody wants to be told."""
        return self._address is not None

    def ready(self, status: str = "") -> bool:
        """Started, or reloaded, and working."""
        return self._tell("READY=1", *_status_lines(status))

    def reloading(self) -> bool:
        """A reload began; `ready` ends it. The time stamp is what tells the manager that it is this reload."""
        return self._tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, status: str = "") -> bool:
        """A stop began."""
        return self._tell("STOPPING=1", *_status_lines(status))

    def status(self, text: str) -> bool:
        """What ``systemctl status`` shows; one line."""
        return self._tell(*_status_lines(text))

    def watchdog(self) -> bool:
        """Feeds the watchdog. Only a completed pass of the reconcile loop may: that is what is watched."""
        return self._tell("WATCHDOG=1")

    def close(self) -> None:
        """Lets the socket go; telling opens it again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _tell(self, *assignments: str) -> bool:
        if self._address is None or not assignments:
            return False
        try:
            if self._socket is None:
                kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
                self._socket = socket.socket(socket.AF_UNIX, kind)
            self._socket.sendto("\n".join(assignments).encode(), self._address)
        except OSError:  # also BlockingIOError: a dozen messages fill the queue of a manager that does not read
            self.untold += 1
            return False
        return True


def _address(given: str) -> str | None:
    """Of a Unix socket: a path, or ``@name`` for an abstract one. Others (``vsock:``) are for virtual machines."""
    if given.startswith("@"):
        return "\0" + given[1:]
    return given if given.startswith("/") else None


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None  # meant for the process that started us
    with suppress(ValueError):
        interval_us = int(environment.get("WATCHDOG_USEC", "0"))
        return interval_us / 1e6 if interval_us > 0 else None
    return None


def _status_lines(text: str) -> tuple[str, ...]:
    """No line break gets in: it would begin another assignment."""
    line = " ".join(text.split()).encode()[:STATUS_BYTES].decode(errors="ignore")
    return (f"STATUS={line}",) if line else ()
