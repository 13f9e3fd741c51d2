"""Fixtures of the kernel ring: labs whose kernel does IPsec itself.

The ring runs by ``tests/lab/xfrm``, under this machine's kernel or in a virtual machine in which everything is 10 to 20
times slower: few and dense tests, one lab for as many of them as can share it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.component.charon.sites import Site, two_sites
from tests.component.features.stage import Stage
from tests.kernel.dual import dual_pair
from tests.lab.lab import Lab
from tests.lab.pair import Pair
from tests.lab.tails import add_tails

HERE: Final = Path(__file__).resolve().parent
TIMEOUT_S: Final = 900
"""For one test with the fixtures that it is the first to need: on an emulated machine that others keep busy, the pair
alone has taken 285 s."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """All hosts, wired; nothing runs on them. One for the module: each test leaves nothing behind."""
    with Lab() as built:
        assert built.has_xfrm, "this kernel has no IPsec: run it by tests/lab/xfrm (make kernel)"
        yield built


@pytest.fixture(scope="session")
def pair() -> Iterator[Pair]:
    """The ring's pair, one for all that can share it: each test leaves gw-a master, both tunnels up."""
    with dual_pair() as built:
        yield built


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Site]]:
    """Two charons that leave IPsec to the kernel, on one cable."""
    with two_sites(tmp_path_factory.mktemp("sites"), userland=False) as both:
        yield both


@pytest.fixture
def stage(sites: tuple[Site, Site], tmp_path: Path) -> Stage:
    """The stage, with an empty folder for settings."""
    return Stage(*sites, tmp_path)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give this ring's tests the time that they may need."""
    for item in items:
        if item.path.is_relative_to(HERE) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TIMEOUT_S))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Iterator[None]:
    """Put the end of every log that a failed test has written to into its report, which pluggy sends to the yield."""
    report = yield
    add_tails(report, since=call.start)
    return report
