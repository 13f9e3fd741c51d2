"""Fixtures of the pair ring, and the hosts' logs beside a failure."""

from collections.abc import Iterator

import pytest

from tests.lab import layouts
from tests.lab.lab import Lab
from tests.lab.layouts import layout_pair
from tests.lab.observe import Observer
from tests.lab.pair import Pair, notify_pair
from tests.lab.tails import add_tails
from tests.pair.handover import after_vip_ms, upgraded


@pytest.fixture
def lab() -> Iterator[Lab]:
    """All hosts, wired; nothing runs on them."""
    with Lab() as built:
        yield built


@pytest.fixture
def notified() -> Iterator[Pair]:
    """A pair that runs by the notify script, up and carrying traffic; gw-a is the master."""
    with notify_pair() as pair:
        yield pair


@pytest.fixture(scope="session")
def plain_ms() -> float:
    """What a takeover takes in the plain layout, from the VIP's arrival on; measured once in a run."""
    with layout_pair(layouts.PLAIN) as pair:
        return after_vip_ms(*upgraded(pair))


@pytest.fixture
def seen(pair: Pair) -> Iterator[Observer]:
    """The observer, traffic passing by gw-a; for modules that have a fixture ``pair``."""
    with Observer(pair.lab) as observer:
        observer.wait_through(by="gw-a")
        yield observer


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Iterator[None]:
    """Put the end of every log that a failed test has written to into its report, which pluggy sends to the yield."""
    report = yield
    add_tails(report, since=call.start)
    return report
