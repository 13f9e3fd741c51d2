"""A throw-away network namespace per test, with a far one behind a link; and a firewall that runs in it."""

import asyncio
import ctypes
import os
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from swanherd.core.facts import Known
from swanherd.world.firewall import Firewall
from tests.lab.namespaces import CLONE_NEWNET

from .lan import Lan, joined
from .ruleset import Running
from .stage import Stage, ip, staged

_libc = ctypes.CDLL(None, use_errno=True)


def _moved(outcome: int) -> None:
    if outcome:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@pytest.fixture
def namespace() -> Iterator[None]:
    """The test's thread is in a namespace of its own; its subprocesses and sockets are too."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    _moved(_libc.unshare(CLONE_NEWNET))
    try:
        ip("link set lo up")
        yield
    finally:
        _moved(_libc.setns(home, CLONE_NEWNET))
        os.close(home)


@pytest.fixture
def stage(namespace: None) -> Iterator[Stage]:  # noqa: ARG001 - it is there for what it does
    """A link from here to a far namespace."""
    with staged() as built:
        yield built


@pytest.fixture
def lan(namespace: None) -> Iterator[Lan]:  # noqa: ARG001 - it is there for what it does
    """A LAN with the gateway here and two more hosts."""
    with joined() as built:
        yield built


@pytest_asyncio.fixture
async def running(namespace: None) -> AsyncIterator[Running]:  # noqa: ARG001 - it is there for what it does
    """A firewall that has read what is there and follows it."""
    running = Running()
    task = asyncio.create_task(running.firewall.run())
    try:
        await running.until(lambda: isinstance(running.firewall.state, Known) or task.done())
        yield running
        assert not task.done(), task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest_asyncio.fixture
async def firewall(running: Running) -> Firewall:
    """The firewall alone, for tests that do not ask when it told."""
    return running.firewall
