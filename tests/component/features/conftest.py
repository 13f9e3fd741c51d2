"""Fixtures: one stage for all tests of a module; each test has a folder of its own for its settings."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.component.charon.sites import Site, two_sites
from tests.component.features.stage import Stage


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Site]]:
    """Two charons on one cable, for all tests of a module."""
    with two_sites(tmp_path_factory.mktemp("sites"), impatient=False) as both:
        yield both


@pytest.fixture
def stage(sites: tuple[Site, Site], tmp_path: Path) -> Stage:
    """The stage, with an empty folder for settings."""
    return Stage(*sites, tmp_path)
