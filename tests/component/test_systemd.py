"""The service manager's side of sd_notify, as a real datagram socket."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from swanherd.world.systemd import Systemd


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A socket that listens, and the NOTIFY_SOCKET that names it."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@swanherd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)
        listening.settimeout(2)
        yield listening, name


def test_each_message_arrives_as_systemd_reads_it(manager: tuple[socket.socket, str]) -> None:
    """READY, RELOADING with the monotonic time, STATUS, WATCHDOG and STOPPING arrive, one datagram each."""
    listening, name = manager
    told = Systemd({"NOTIFY_SOCKET": name})
    assert told.ready("all well")
    assert listening.recv(4096) == b"READY=1\nSTATUS=all well"
    before_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert told.reloading()
    first, second = listening.recv(4096).decode().split("\n")
    assert first == "RELOADING=1"
    key, _, stamp = second.partition("=")
    assert key == "MONOTONIC_USEC"
    assert before_us <= int(stamp) <= before_us + 1_000_000
    assert told.status("standby: address-missing")
    assert listening.recv(4096) == b"STATUS=standby: address-missing"
    assert told.watchdog()
    assert listening.recv(4096) == b"WATCHDOG=1"
    assert told.stopping()
    assert listening.recv(4096) == b"STOPPING=1"
    assert told.untold == 0
    told.close()


def test_a_status_cannot_smuggle_an_assignment(manager: tuple[socket.socket, str]) -> None:
    """Line breaks in a status (a peer's words may be in it) become spaces, and it is cut at whole characters."""
    listening, name = manager
    told = Systemd({"NOTIFY_SOCKET": name})
    told.status("peer said\nMAINPID=1\r\n" + "ü" * 600)
    lines = listening.recv(4096).decode().split("\n")
    assert len(lines) == 1
    assert lines[0].startswith("STATUS=peer said MAINPID=1 ü")
    assert len(lines[0].encode()) <= len("STATUS=") + 512
    told.close()


def test_a_manager_that_does_not_read_holds_nobody_up(manager: tuple[socket.socket, str]) -> None:
    """With its queue full, telling returns at once, says so, and is counted; once it reads, the next one arrives."""
    listening, name = manager
    told = Systemd({"NOTIFY_SOCKET": name})
    started = time.monotonic()
    taken = 0
    while told.watchdog():
        taken += 1
        assert taken < 10_000, "the queue never filled"
    assert time.monotonic() - started < 1.0
    assert told.untold == 1
    for _ in range(taken):
        listening.recv(4096)
    assert told.watchdog()
    told.close()


def test_a_manager_that_is_gone_is_no_error(tmp_path: Path) -> None:
    """A socket that does not exist is counted; no NOTIFY_SOCKET, or one that is no Unix socket, is not even that."""
    gone = Systemd({"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    assert gone.present
    assert not gone.ready()
    assert gone.untold == 1
    gone.close()
    for environment in ({}, {"NOTIFY_SOCKET": "vsock:2:1234"}):
        nobody = Systemd(environment)
        assert not nobody.present
        assert not nobody.ready()
        assert nobody.untold == 0


def test_the_watchdog_is_ours_only_if_it_names_us() -> None:
    """WATCHDOG_USEC counts if WATCHDOG_PID is this process or absent; nonsense and 0 mean no watchdog."""
    us = str(os.getpid())
    assert Systemd({"WATCHDOG_USEC": "3000000"}).watchdog_s == 3.0
    assert Systemd({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": us}).watchdog_s == 3.0
    assert Systemd({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1" + us}).watchdog_s is None
    assert Systemd({"WATCHDOG_USEC": "soon"}).watchdog_s is None
    assert Systemd({"WATCHDOG_USEC": "0"}).watchdog_s is None
    assert Systemd({}).watchdog_s is None


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_telling_uses_one_descriptor(manager: tuple[socket.socket, str]) -> None:
    """A hundred messages open one socket, and `close` gives it back."""
    listening, name = manager
    before = _descriptors()
    told = Systemd({"NOTIFY_SOCKET": name})
    for _ in range(100):
        told.watchdog()
        listening.recv(4096)
    assert _descriptors() == before + 1
    told.close()
    assert _descriptors() == before
