"""The last good settings: kept whole or not at all, without secrets, and used when the files are broken."""

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from swanherd.settings import SettingsError, diff, load_last_good, load_or_last_good, save_last_good
from swanherd.settings.lastgood import FILE

from .conftest import SECRET, Folder

Change = Callable[[str, str], None]


def test_round_trip(folder: Folder) -> None:
    """What was saved is loaded again: the same intent, options and secrets, problems named with the files of old."""
    folder.write('interfaces.wan.device = "wan9"', name="conf.d/10-host.toml")
    settings = folder.load()
    save_last_good(settings, folder.state)
    again, _ = load_last_good(folder.state)
    assert (again.path, again.intent, again.options) == (settings.path, settings.intent, settings.options)
    assert again.secrets["branch"].value == SECRET.encode()
    assert again.merged.origins == settings.merged.origins


def test_mode_and_leftovers(folder: Folder) -> None:
    """The file is for its owner only, also where a wider one was there, and nothing else is left in the directory."""
    (folder.state / FILE).write_text("{}")
    (folder.state / FILE).chmod(0o644)
    save_last_good(folder.load(), folder.state)
    assert [file.name for file in folder.state.iterdir()] == [FILE]
    assert stat.S_IMODE((folder.state / FILE).stat().st_mode) == 0o600


def test_failed_save_keeps_the_old_one(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A save that fails half way leaves the old file as it was, and no draft."""
    save_last_good(folder.load(), folder.state)
    before = (folder.state / FILE).read_bytes()

    def full_disk(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        save_last_good(folder.load(), folder.state)
    assert [file.name for file in folder.state.iterdir()] == [FILE]
    assert (folder.state / FILE).read_bytes() == before


def test_good_files_are_used(folder: Folder) -> None:
    """Files without a problem are used, whatever was kept."""
    settings, stale = load_or_last_good(folder.main, folder.state)
    assert stale is None
    assert settings.intent == folder.load().intent


def test_broken_files_last_good_in_force(folder: Folder, changed: Change) -> None:
    """With a broken file the last good settings are in force, and what is wrong is told."""
    good = folder.load()
    save_last_good(good, folder.state)
    changed("203.0.113.20", "203.0.113.300")
    settings, stale = load_or_last_good(folder.main, folder.state)
    assert settings.intent == good.intent
    assert stale is not None
    assert [problem.key for problem in stale.problems] == ["connections.branch.remote[0]"]


def test_state_dir_of_the_files(folder: Folder, tmp_path: Path, changed: Change) -> None:
    """The last good settings are looked for where the files say that state is kept, else in the default place."""
    folder.write(f'agent.state_dir = "{folder.state}"', name="conf.d/10.toml")
    save_last_good(folder.load(), folder.state)
    changed("203.0.113.20", "203.0.113.300")
    assert load_or_last_good(folder.main, tmp_path / "nowhere")[1] is not None
    folder.write("[", name="conf.d/10.toml")
    assert load_or_last_good(folder.main, folder.state)[1] is not None


def test_neither(folder: Folder, changed: Change) -> None:
    """Broken files and nothing kept: the problems of both, and no settings."""
    changed("203.0.113.20", "203.0.113.300")
    with pytest.raises(SettingsError) as caught:
        load_or_last_good(folder.main, folder.state)
    assert [(Path(p.file).name, p.key) for p in caught.value.problems] == [
        ("swanherd.toml", "connections.branch.remote[0]"),
        (FILE, ""),
    ]


def test_secret_gone_keeps_the_connection(folder: Folder) -> None:
    """A secret that has gone is no reason to forget a connection whose tunnel may be up: it stays, without a secret."""
    good = folder.load()
    save_last_good(good, folder.state)
    (folder.path / "secrets/branch.psk").unlink()
    settings, stale = load_or_last_good(folder.main, folder.state)
    assert settings.intent == good.intent
    assert "branch" not in settings.secrets
    assert stale is not None
    assert [problem.key for problem in stale.problems] == ["connections.branch.psk_file"]


def test_inline_secret_is_looked_up(folder: Folder, changed: Change) -> None:
    """An inline secret is not kept; it is found in its file as long as that one can be parsed."""
    changed('psk_file = "branch.psk"', 'psk = "inline secret"')
    folder.write("agent.allow_inline_secrets = true", name="conf.d/10.toml")
    save_last_good(folder.load(), folder.state)
    assert "inline secret" not in (folder.state / FILE).read_text()
    changed("203.0.113.20", "203.0.113.300")
    settings, _ = load_or_last_good(folder.main, folder.state)
    assert settings.secrets["branch"].value == b"inline secret"
    folder.write("[")
    settings, stale = load_or_last_good(folder.main, folder.state)
    assert not settings.secrets
    assert stale is not None
    assert len(stale.problems) == 2


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"format": 1}',
        '{"format": 99}',
        "\x00",
        '{"format":1,"path":"/x","raw":5,"origins":[],"saved_at":1}',
    ],
)
def test_damaged(folder: Folder, content: str) -> None:
    """A damaged file, or one of another release, is a problem with a name, and nothing is guessed from it."""
    (folder.state / FILE).write_text(content)
    with pytest.raises(SettingsError) as caught:
        load_last_good(folder.state)
    assert caught.value.problems[0].file.endswith(FILE)


def test_rules_of_today(folder: Folder) -> None:
    """What was kept obeys the rules of the release that loads it: what breaks them is refused, not used."""
    save_last_good(folder.load(), folder.state)
    content = json.loads((folder.state / FILE).read_text())
    content["raw"]["connections"]["branch"] |= {"dpd_timeout_s": 60, "dpd_delay_s": 0}
    (folder.state / FILE).write_text(json.dumps(content))
    with pytest.raises(SettingsError, match="dpd_delay_s is 0"):
        load_last_good(folder.state)


def test_no_difference_to_itself(folder: Folder) -> None:
    """A diff between what was kept and the same files shows no change."""
    settings = folder.load()
    save_last_good(settings, folder.state)
    assert {change.effect for change in diff(load_last_good(folder.state)[0], settings)} == {"nothing"}
