"""The process that sends the numbered traffic and echoes it: `python -m tests.lab.observe.sender`.

It gets open UDP sockets, so it needs no host's files or process namespace and survives what a test does to those. A
process of its own keeps the pace whatever the test's interpreter is busy with. Packet n of a stream is due at
`start + n / rate`, and gets its number whether or not the kernel takes it, so what was lost is known exactly.

argv[1] is JSON: `{"control": fd, "echo": fd, "rate": per second, "target": [address, port], "streams": {number: fd}}`.
The control socket answers any datagram with a JSON report; after `LAST`, or when its other end is closed, the process
ends: the last report is exact.
"""

import json
import os
import select
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass

from tests.lab.observe.packets import ECHO, NUMBERED, NUMBERED_MAGIC, REQUEST
from tests.lab.observe.traffic import LAST

_ECHO_BATCH = 64


@dataclass
class _Sending:
    number: int
    sock: socket.socket
    next_sequence: int = 0
    refused: int = 0
    """Packets that the client's own kernel did not take."""


def _send_due(streams: list[_Sending], *, start_ns: int, interval_ns: int, target: tuple[str, int]) -> None:
    """Send what is due, a burst after a delay: each packet says when it really was sent."""
    for stream in streams:
        now_ns = time.monotonic_ns()
        while start_ns + stream.next_sequence * interval_ns <= now_ns:
            payload = NUMBERED.pack(NUMBERED_MAGIC, REQUEST, stream.number, stream.next_sequence, now_ns)
            stream.next_sequence += 1
            try:
                stream.sock.sendto(payload, target)
            except OSError:  # no route, no neighbour, no buffer: a lost packet like any other
                stream.refused += 1


def _echo(sock: socket.socket) -> None:
    for _ in range(_ECHO_BATCH):
        try:
            payload, sender = sock.recvfrom(NUMBERED.size)
        except OSError:
            return
        if payload[:4] == NUMBERED_MAGIC:
            try:
                sock.sendto(payload[:4] + bytes([ECHO]) + payload[5:], sender)
            except OSError:
                continue


def _take_precedence() -> None:
    """Go before everybody else: a sender that waits for the processor looks like an outage. It needs 1 % of it."""
    with suppress(OSError):  # a container may forbid it; then the packets tell what that cost
        os.setpriority(os.PRIO_PROCESS, 0, -20)
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


def main() -> None:
    """Send, echo and answer until the control socket closes."""
    wanted = json.loads(sys.argv[1])
    control = socket.socket(fileno=wanted["control"])
    echo = socket.socket(fileno=wanted["echo"])
    streams = [_Sending(int(n), socket.socket(fileno=fd)) for n, fd in wanted["streams"].items()]
    for sock in (echo, *(stream.sock for stream in streams)):
        sock.setblocking(False)
    _take_precedence()
    interval_ns = int(1e9 / wanted["rate"])
    target = (wanted["target"][0], wanted["target"][1])
    start_ns = time.monotonic_ns()
    while True:
        _send_due(streams, start_ns=start_ns, interval_ns=interval_ns, target=target)
        due_ns = start_ns + min((stream.next_sequence for stream in streams), default=0) * interval_ns
        wait_s = max(0.0, (due_ns - time.monotonic_ns()) / 1e9) if streams else 1.0
        for ready in select.select([echo, control], [], [], wait_s)[0]:  # poll would round up to milliseconds
            if ready is echo:
                _echo(echo)
            elif not (asked := control.recv(16)):
                return
            else:
                report = {
                    "start_ns": start_ns,
                    "interval_ns": interval_ns,
                    "streams": {s.number: {"next": s.next_sequence, "refused": s.refused} for s in streams},
                }
                control.send(json.dumps(report).encode())
                if asked == LAST:
                    return


if __name__ == "__main__":
    main()
