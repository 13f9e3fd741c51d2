"""Asking a charon over vici with a deadline that also holds where its queue of callers is full."""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import vici

from tests.lab.waiting import PATIENCE

ANSWER_S: Final = 5.0 * PATIENCE
"""A charon that is awake answers in milliseconds; on a busy machine it lists some hundred connections in a second."""
_TIMEVAL: Final = struct.Struct("@qq")


@contextmanager
def vici_session(path: Path) -> Iterator[Any]:  # the vici package has no types
    """A vici session with the socket at *path*; OSError where there is no answer within ``ANSWER_S``.

    The deadline is the socket's own: with Python's, a connect fails at once while the queue is full (EAGAIN).
    """
    deadline = _TIMEVAL.pack(int(ANSWER_S), int(ANSWER_S % 1 * 1e6))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            sock.setsockopt(socket.SOL_SOCKET, option, deadline)
        sock.connect(str(path))
        yield vici.Session(sock)
