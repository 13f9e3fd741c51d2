"""A repository of swanherd as it is in the clone now, committed or not, for gateways to install from."""

import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Final

CLONE: Final = Path(__file__).parents[2]
_AS: Final = ("-c", "user.name=lab", "-c", "user.email=lab@example")


def publish(repository: Path) -> None:
    """Make *repository* of the clone's working tree."""
    repository.mkdir()
    listed = _run(
        "git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=CLONE
    )
    for name in filter(None, listed.split("\0")):
        target = repository / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # deleted, but not committed yet
            shutil.copy(CLONE / name, target)
    _run("git", "init", "--quiet", "--initial-branch=main", cwd=repository)
    _commit(repository, "a release")


def publish_next(repository: Path) -> str:
    """Commit a next release there, which differs in its version only; the version."""
    page = repository / "pyproject.toml"
    version = next(line.split('"')[1] for line in page.read_text().splitlines() if line.startswith("version = "))
    following = f"{version}.post1"
    for path in (page, repository / "agent" / "swanherd" / "__init__.py"):
        text = path.read_text()
        assert version in text
        path.write_text(text.replace(f'"{version}"', f'"{following}"'))
    _commit(repository, "the next release")
    return following


def _commit(repository: Path, message: str) -> None:
    _run("git", "add", "--all", cwd=repository)
    _run("git", *_AS, "commit", "--quiet", "-m", message, cwd=repository)


def _run(*argv: str, cwd: Path) -> str:
    return subprocess.run(argv, cwd=cwd, check=True, capture_output=True, text=True).stdout
