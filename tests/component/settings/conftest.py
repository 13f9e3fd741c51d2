"""Fixtures: two real charons on one cable."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.component.charon.sites import Site, two_sites
from tests.lab.pki import write_example


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Site]]:
    """Two charons on one cable, for all tests of a module."""
    with two_sites(tmp_path_factory.mktemp("sites")) as both:
        yield both


@pytest.fixture(scope="module")
def kernel_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A charon that leaves ESP and AH to the kernel: it loads everything, whether this kernel could do it or not."""
    with two_sites(tmp_path_factory.mktemp("kernel"), userland=False) as both:
        yield both[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory for settings, with the secrets of the examples."""
    write_example(tmp_path)
    for name in ("branch.psk", "van-7.psk"):
        (tmp_path / "secrets" / name).write_text("a secret of the tests")
        (tmp_path / "secrets" / name).chmod(0o600)
    return tmp_path
