"""A pair of gateways per test."""

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.component.vrrp.gateways import Gateways, gateways
from tests.lab.namespaces import CLONE_NEWNET

_libc = ctypes.CDLL(None, use_errno=True)


def _moved(outcome: int) -> None:
    if outcome:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Gateways]:
    """The test's thread is on our gateway; its subprocesses and sockets are too."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    _moved(_libc.unshare(CLONE_NEWNET))
    try:
        with gateways(tmp_path) as both:
            yield both
    finally:
        _moved(_libc.setns(home, CLONE_NEWNET))
        os.close(home)
