"""Numbered traffic from the client to the server: what was sent, what arrived, how long nothing did.

What arrives is judged from the capture of the server's port (one way: receipt at the server counts), what came back
from the client's port. The sender only says how many packets were due, and when.
"""

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, NamedTuple

from tests.lab.waiting import PATIENCE

LAST = b"last"
"""The question that the sender answers with its last report."""
REPORT_DEADLINE_S = 20.0 * PATIENCE
"""The sender answers within a millisecond; a silent one is broken."""


class Stream(NamedTuple):
    """One stream: a number in its packets, a bound UDP socket in the client's namespace, and what it is for."""

    number: int
    name: str
    sock: socket.socket


@dataclass(frozen=True, slots=True)
class Report:
    """What the sender says of itself; packet n of a stream is due at `start + n * interval`."""

    start: float
    """CLOCK_MONOTONIC, seconds."""
    interval_s: float
    sent: dict[int, int]
    refused: dict[int, int]

    def due(self, sequence: int) -> float:
        """When a packet should have been sent (CLOCK_MONOTONIC)."""
        return self.start + sequence * self.interval_s

    def due_between(self, stream: int, since: float, until: float) -> range:
        """Sequence numbers of the stream that were due in a window."""
        first = max(0, -int(-(since - self.start) // self.interval_s))
        after = max(0, int((until - self.start) // self.interval_s) + 1)
        return range(first, min(after, self.sent[stream]))


class Traffic:
    """The running sender; `echo` is a bound UDP socket in the server's namespace."""

    def __init__(self, streams: list[Stream], echo: socket.socket, *, target: tuple[str, int], rate: float) -> None:
        self.names = {stream.number: stream.name for stream in streams}
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(REPORT_DEADLINE_S)
        wanted: dict[str, Any] = {
            "control": theirs.fileno(),
            "echo": echo.fileno(),
            "rate": rate,
            "target": target,
            "streams": {stream.number: stream.sock.fileno() for stream in streams},
        }
        sockets = [theirs, echo, *(stream.sock for stream in streams)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.lab.observe.sender", json.dumps(wanted)],
            pass_fds=[sock.fileno() for sock in sockets],
            env={**os.environ, "SWANHERD_LAB": "1"},
            start_new_session=True,  # Ctrl-C is for the judge, which then asks for the last report
        )
        for sock in sockets:
            sock.close()
        self._last = self.report()  # returns once it runs

    def report(self) -> Report:
        """Ask the sender; after `stop`, its last word."""
        return self._ask(b"?")

    def _ask(self, question: bytes) -> Report:
        if self._process.poll() is None:
            self._control.send(question)
            said = json.loads(self._control.recv(65536))
            self._last = Report(
                start=said["start_ns"] / 1e9,
                interval_s=said["interval_ns"] / 1e9,
                sent={int(number): counts["next"] for number, counts in said["streams"].items()},
                refused={int(number): counts["refused"] for number, counts in said["streams"].items()},
            )
        return self._last

    def stop(self) -> None:
        """End the sender and keep its last report."""
        if self._process.poll() is None:
            self._ask(LAST)
        self._control.close()
        self._process.wait(REPORT_DEADLINE_S)
