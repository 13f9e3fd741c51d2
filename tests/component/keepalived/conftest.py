"""A network namespace with one device, a bus, and a keepalived, per test."""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .stage import DEVICE, Bus, Daemon

CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


def _enter(outcome: int) -> None:
    if outcome:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@pytest.fixture
def network() -> Iterator[None]:
    """The test's thread, and what it starts, is in a network namespace of its own, with `DEVICE` up in it."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    _enter(_libc.unshare(CLONE_NEWNET))
    lines = f"""\
link set lo up
link add {DEVICE} type veth peer name far
addr add 203.0.113.2/24 dev {DEVICE}
link set {DEVICE} up
link set far up
"""
    try:
        subprocess.run(["ip", "-batch", "-"], input=lines, text=True, check=True)
        yield
    finally:
        _enter(_libc.setns(home, CLONE_NEWNET))
        os.close(home)


@pytest.fixture
def bus(tmp_path: Path, network: None) -> Iterator[Bus]:
    """A bus that runs."""
    assert network is None  # asked for so that it is there first
    bus = Bus(tmp_path)
    bus.start()
    yield bus
    bus.stop()


@pytest.fixture
def daemon(tmp_path: Path, bus: Bus) -> Iterator[Daemon]:
    """A keepalived that is configured, and not started."""
    daemon = Daemon(tmp_path, bus)
    daemon.configure()
    yield daemon
    daemon.end()
