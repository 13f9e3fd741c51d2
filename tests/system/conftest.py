"""The one installed pair of this ring, and its journals beside a failure."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import pytest

from tests.lab.booted import BootedLab
from tests.system.site import Site

TAIL_LINES: Final = 80
_journals: dict[str, str] = {}
"""What the gateways' journals said last; kept here when a pair that failed to be built is gone already."""
_built: list[Site] = []


def _read_journals(site: Site) -> None:
    for host in site.gateways:
        with suppress(Exception):  # a host that is down has no journal, and must not hide the failure
            _journals[f"journal of {host.name}"] = host.journal("-n", str(TAIL_LINES))


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """Two gateways, booted, installed by docs/install.md, carrying traffic. Each test leaves them so."""
    with BootedLab() as lab:
        built = Site(lab)
        try:
            built.build()
        except BaseException:
            _read_journals(built)
            raise
        _built.append(built)
        yield built
        _built.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """Put the end of both journals beside a failure; pluggy sends the report to the yield."""
    report = yield
    if isinstance(report, pytest.TestReport) and report.failed:
        for built in _built:
            _read_journals(built)
        report.sections += _journals.items()
    return report
