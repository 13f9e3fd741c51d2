"""When the kernel moved an address, to some tens of microseconds: a process of its own that the scheduler prefers.

    python -m tests.bench.stamps FD NAME [FD NAME ...]      # inherited netlink sockets; prints JSON lines

The observer reads netlink when it gets the processor, which on a busy machine is milliseconds late. Netlink has no
kernel timestamps, so this one has SCHED_FIFO: it runs at once when the kernel has queued the message.
"""

import json
import os
import select
import socket
import subprocess
import sys
import time
from types import TracebackType
from typing import Final, Self

from tests.lab.lab import Lab
from tests.lab.namespaces import socket_in
from tests.lab.observe.holders import read_events

PRIORITY: Final = 10
"""Any priority of SCHED_FIFO is above all normal processes."""
_GROUPS: Final = 0x10 | 0x100
_READ_BYTES: Final = 65536


class Stamps:
    """Notes every address event on both gateways from ``__enter__`` to ``__exit__``; then ask :meth:`added`."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._events: list[tuple[float, str, str, bool]] = []

    def __enter__(self) -> Self:
        socks = {}
        for host in self._lab.gateways:
            sock = socket_in(host.netns, socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
            sock.bind((0, _GROUPS))
            socks[host.name] = sock
        arguments = [word for name, sock in socks.items() for word in (str(sock.fileno()), name)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.stamps", *arguments],
            pass_fds=[sock.fileno() for sock in socks.values()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for sock in socks.values():
            sock.close()
        assert self._process.stdout is not None
        self._process.stdout.readline()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        said, _ = self._process.communicate("end\n")
        self._events = [tuple(json.loads(line)) for line in said.splitlines()]

    def added(self, host: str, address: str, *, after: float) -> float | None:
        """When *address* came to *host* first after a time (CLOCK_MONOTONIC seconds)."""
        times = (at for at, name, which, here in self._events if here and (name, which) == (host, address))
        return next((at for at in times if at >= after), None)


def main(arguments: list[str]) -> None:
    """The process."""
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    names = {int(fd): name for fd, name in zip(arguments[::2], arguments[1::2], strict=True)}
    socks = {fd: socket.socket(fileno=fd) for fd in names}
    events: list[tuple[float, str, str, bool]] = []
    print("ready", flush=True)
    while True:
        ready = select.select([0, *names], [], [])[0]
        at = time.monotonic()
        if 0 in ready:
            break
        for fd in ready:
            found = read_events(socks[fd].recv(_READ_BYTES))
            events += [(at, names[fd], event.address, event.present) for event in found]
    print("\n".join(json.dumps(event) for event in events))


if __name__ == "__main__":
    main(sys.argv[1:])
