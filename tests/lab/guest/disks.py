"""The guest's disks: the tree of the private root, its virtual environment, and the clone with bytecode beside it.

ext4 images, made without mounting anything. A shared file system (9p) needs none and boots as fast, but each open of a
file asks the outside: an emulated Python needs 10 s to import what it imports in 3 s from a disk.
"""

import hashlib
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Final

CACHE: Final = Path("/lab/cache")
TREE: Final = Path("/lab/tree")
VENV: Final = Path("/venv")
CLONE: Final = Path("/src")
PARTS: Final = ("agent", "tests", "docs", "contrib", "systemd", "pyproject.toml", "README.md", "CHANGELOG.md")
"""Of the clone: all that a test may read."""
SIZE_MB: Final = 2048
"""Of an image that is as large as what is in it: holes take no room."""


def disks(scratch: Path) -> tuple[Path, Path, Path]:
    """The images, in the order of the initramfs: tree, environment, clone. The first two are cached, for each suite."""
    return _cached(TREE, _tree_key()), _cached(VENV, _venv_key()), _clone(scratch)


def _suite() -> str:
    """Debian's name of the tree, whose Python has made the environment."""
    return platform.freedesktop_os_release()["VERSION_CODENAME"]


def _tree_key() -> str:
    seen = hashlib.sha256((TREE / "var/lib/dpkg/status").read_bytes())
    kernels = sorted(str(path.relative_to(TREE)) for path in (TREE / "usr/lib/modules").glob("*/kernel/*"))
    seen.update(str(kernels).encode())
    return seen.hexdigest()[:12]


def _venv_key() -> str:
    return hashlib.sha256((CLONE / "requirements-dev.lock").read_bytes()).hexdigest()[:12]


def _cached(source: Path, key: str) -> Path:
    name = f"disk-{_suite()}-{source.name}"
    image = CACHE / f"{name}-{key}.ext4"
    if not image.exists():
        fresh = image.with_suffix(f".{os.getpid()}")
        _make(source, fresh)
        fresh.rename(image)  # whoever else makes it at the same time makes the same
        for old in CACHE.glob(f"{name}-*.ext4"):
            if old != image:
                old.unlink(missing_ok=True)
    return image


def _clone(scratch: Path) -> Path:
    copy = scratch / "clone"
    copy.mkdir()
    for part in PARTS:
        source = CLONE / part
        if source.is_dir():
            shutil.copytree(source, copy / part, ignore=shutil.ignore_patterns("__pycache__"), symlinks=True)
        elif source.exists():
            shutil.copy2(source, copy)
    # Emulated, that alone would take half a minute. A file that does not compile is for whoever imports it.
    trees = (copy / "agent", copy / "tests" / "lab")
    subprocess.run(
        ["python3", "-m", "compileall", "-q", "-j", "2", "-s", copy, "-p", CLONE, *trees],
        stdout=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    image = scratch / "clone.ext4"
    _make(copy, image)
    return image


def _make(source: Path, image: Path) -> None:
    subprocess.run(
        ["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", source, image, f"{SIZE_MB}M"],
        stdout=subprocess.DEVNULL, check=True,
    )  # fmt: skip
