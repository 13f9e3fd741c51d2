"""A throw-away network namespace per test."""

import ctypes
import os
from collections.abc import Iterator

import pytest

from .watched import ip

CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


def _enter(outcome: int) -> None:
    if outcome:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@pytest.fixture
def namespace() -> Iterator[None]:
    """The test's thread is in a namespace of its own; its subprocesses and sockets are too."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    _enter(_libc.unshare(CLONE_NEWNET))
    try:
        ip("link set lo up")
        yield
    finally:
        _enter(_libc.setns(home, CLONE_NEWNET))
        os.close(home)
