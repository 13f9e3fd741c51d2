"""Settings on disk, in a temporary directory: files in, ``load()`` out."""

from collections.abc import Callable
from pathlib import Path

import pytest

from swanherd.settings import Settings, SettingsError, load
from tests.lab.pki import write_example

SMALLEST = """\
[interfaces.wan]
device = "wan1"
vips = ["203.0.113.10"]

[connections.branch]
interfaces = ["wan"]
remote = ["203.0.113.20"]
local_id = "moon.example"
remote_id = "peer.example"
psk_file = "branch.psk"
children.net = { local = ["10.10.0.0/24"], remote = ["10.20.0.0/24"] }
"""

SECRET = "correct horse battery staple"  # noqa: S105 - the secret of the tests is no secret


class Folder:
    """A directory of settings; the main file is ``swanherd.toml``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.main = path / "swanherd.toml"
        self.state = path / "state"
        self.state.mkdir()
        self.secret("branch.psk", SECRET)
        write_example(path)
        self.write(SMALLEST)

    def write(self, text: str, *, name: str = "swanherd.toml") -> Path:
        """Write one file, ``conf.d/...`` too."""
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def secret(self, name: str, value: str, *, mode: int = 0o600) -> Path:
        """Write a secret beside the main file."""
        file = self.write(value + "\n", name=f"secrets/{name}")
        file.chmod(mode)
        return file

    def load(self) -> Settings:
        """Load what is there."""
        return load(self.main)

    def problems(self) -> dict[str, str]:
        """Load what is there, which must fail; the rules by key."""
        with pytest.raises(SettingsError) as caught:
            load(self.main)
        found = {problem.key: problem.rule for problem in caught.value.problems}
        assert len(found) == len(caught.value.problems), "one mistake, one line"
        return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """A directory with the smallest settings and their secret."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    return Folder(tmp_path)


@pytest.fixture
def changed(folder: Folder) -> Callable[[str, str], None]:
    """Replace a piece of the smallest settings by another."""

    def change(old: str, new: str) -> None:
        text = folder.main.read_text()
        assert old in text
        folder.write(text.replace(old, new))

    return change
