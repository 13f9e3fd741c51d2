"""Fixtures of the charon ring."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.component.charon.sites import Site, two_sites


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[tuple[Site, Site]]:
    """Two charons on one cable, ours on the left."""
    with two_sites(tmp_path) as both:
        yield both
