"""The judge's reading thread: it empties every port and every netlink socket, and notes what it could not.

It only stores; decoding and judging happen in the thread that asks. One thread and the kernel's buffers are enough:
a busy test can delay a reading, which costs nothing, since frames carry the kernel's time.
"""

import os
import select
import socket
import threading
import time

from tests.lab.hosts import Host, HostDownError
from tests.lab.namespaces import socket_in
from tests.lab.observe.capture import PortCapture, WallClock
from tests.lab.observe.holders import BEFORE, Hold, HostAddresses

LOOK_S = 0.1
"""How often the clock is compared, and a host that was off is looked for."""


class Watch:
    """Reads ports and hosts from `start` to `stop`."""

    def __init__(self, captures: list[PortCapture], hosts: list[Host], clock: WallClock) -> None:
        self._captures = captures
        self._hosts = hosts
        self._clock = clock
        self._lives: list[HostAddresses] = []
        """Each power cycle of a host is a life of its own, with its own namespace."""
        self._pids: dict[str, int] = {}
        self._error: Exception | None = None
        self._end_read, self._end_write = os.pipe()
        self._thread = threading.Thread(target=self._run, name="observer", daemon=True)
        self._started = False

    def start(self) -> None:
        """Read who holds what, then go on reading in the background."""
        self._look_for_hosts()
        self._started = True
        self._thread.start()

    def stop(self) -> None:
        """Stop reading, after what is queued was read."""
        if self._started:
            os.write(self._end_write, b"x")
            self._thread.join()
        for capture in self._captures:
            while capture.read():
                pass
            capture.close()
        for life in self._lives:
            life.close()
        os.close(self._end_read)
        os.close(self._end_write)

    def holds(self) -> list[Hold]:
        """All holds of all lives of all hosts."""
        return [hold for life in list(self._lives) for hold in life.holds]

    def deaths(self) -> dict[str, float]:
        """When each host last lost power."""
        return {life.host: life.died_at for life in list(self._lives) if life.died_at is not None}

    def faults(self) -> list[str]:
        """Why this observation is void; empty when it is not."""
        found = [f"{c.dropped} packets dropped at {c.port}" for c in self._captures if c.dropped]
        if self._error:
            found.append(f"the judge stopped reading: {self._error!r}")
        return found

    def _run(self) -> None:
        try:
            self._read_until_end()
        except Exception as error:  # noqa: BLE001 - the thread's boundary: any failure makes the observation void
            self._error = error

    def _read_until_end(self) -> None:
        poll = select.epoll()
        poll.register(self._end_read, select.EPOLLIN)
        by_fd: dict[int, PortCapture | HostAddresses] = {}
        for capture in self._captures:
            poll.register(capture.sock, select.EPOLLIN)
            by_fd[capture.sock.fileno()] = capture
        watched = 0
        next_look = 0.0
        while True:
            if time.monotonic() >= next_look:
                next_look = time.monotonic() + LOOK_S
                self._look()
            for life in self._lives[watched:]:
                for fd in life.filenos():
                    poll.register(fd, select.EPOLLIN)
                    by_fd[fd] = life
            watched = len(self._lives)
            ready = [fd for fd, _ in poll.poll(LOOK_S)]
            # Addresses first: their time is the reading time.
            for fd in sorted(ready, key=lambda fd: isinstance(by_fd.get(fd), PortCapture)):
                if fd == self._end_read:
                    poll.close()
                    return
                by_fd[fd].read()
                if isinstance(life_of := by_fd[fd], HostAddresses) and life_of.died_at is not None:
                    poll.modify(life_of.filenos()[1], 0)  # a dead host stays readable for ever

    def _look(self) -> None:
        self._clock.look()
        for capture in self._captures:
            capture.count()
        self._look_for_hosts()

    def _look_for_hosts(self) -> None:
        for host in self._hosts:
            try:
                pid = host.pid
                if self._pids.get(host.name) == pid:
                    continue
                sock = socket_in(host.netns, socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
                life = HostAddresses(host.name, sock, pid)
                life.open(since=time.monotonic() if self._started else BEFORE)
            except (HostDownError, FileNotFoundError, ProcessLookupError):
                continue  # off, or lost power just now; looked for again
            self._pids[host.name] = pid
            self._lives.append(life)
