"""Secrets: where they are looked for, which files are refused, and that nothing shows them."""

import copy
import os
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from swanherd.settings import Secret, SettingsError, load, save_last_good

from .conftest import SECRET, Folder

Change = Callable[[str, str], None]
KEY = "connections.branch.psk_file"


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o601, 0o660, 0o644, 0o777])
def test_others_must_not_get_at_it(folder: Folder, mode: int) -> None:
    """A secret that others can read, or the group write, is refused, and the mode is named."""
    folder.secret("branch.psk", SECRET, mode=mode)
    assert f"{mode:04o}" in folder.problems()[KEY]


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o440])
def test_owner_and_group_may_read(folder: Folder, mode: int) -> None:
    """The owner's file is right, readable by the service's group or not (systemd's credentials are 0440)."""
    folder.secret("branch.psk", SECRET, mode=mode)
    folder.load()


def test_missing_empty_folder_fifo(folder: Folder) -> None:
    """A file that is not there, empty, a directory or a FIFO (which must not hang the load) is one clear problem."""
    file = folder.path / "secrets/branch.psk"
    file.write_text("\n")
    assert folder.problems()[KEY] == f"{file} is empty"
    file.unlink()
    assert folder.problems()[KEY] == f"{file} cannot be read: No such file or directory"
    file.mkdir()
    assert folder.problems()[KEY] == f"{file} is not a file"
    file.rmdir()
    os.mkfifo(file, 0o600)
    assert folder.problems()[KEY] == f"{file} is not a file"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", b"plain"),
        (" blanks stay ", b" blanks stay "),
        ("0x00ff", b"\x00\xff"),
        ("0sAP8=", b"\x00\xff"),
        ("0xzz", None),
        ("0sA", None),
        ("0x", None),
    ],
)
def test_notation(folder: Folder, text: str, value: bytes | None) -> None:
    """The notation is swanctl.conf's: 0x is hexadecimal, 0s is Base64; what is neither is refused, not quoted."""
    folder.secret("branch.psk", text)
    if value is None:
        rule = folder.problems()[KEY].removeprefix(str(folder.path / "secrets/branch.psk"))
        assert rule in {" is empty", " begins with 0x or 0s, but is not hexadecimal or Base64"}
    else:
        assert folder.load().secrets["branch"].value == value


def test_credentials_come_first(folder: Folder, tmp_path: Path) -> None:
    """A relative name is looked up among systemd's credentials, then in secrets/ beside the main file."""
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    assert load(folder.main, credentials=credentials).secrets["branch"].value == SECRET.encode()
    (credentials / "branch.psk").write_text("from systemd")
    (credentials / "branch.psk").chmod(0o400)
    assert load(folder.main, credentials=credentials).secrets["branch"].value == b"from systemd"


def test_neither_file_nor_credential(folder: Folder, tmp_path: Path) -> None:
    """A secret that is nowhere is told with every place that was looked at, and why it is not there.

    Broken by: ``secrets.locate`` answering the credential where neither is there (the file is not told).
    """
    file, credential = folder.path / "secrets/branch.psk", tmp_path / "credentials/branch.psk"
    file.unlink()
    with pytest.raises(SettingsError) as raised:
        load(folder.main, credentials=credential.parent)
    (problem,) = raised.value.problems
    missing = "No such file or directory"
    assert problem.rule == f"{file} cannot be read: {missing}; nor is there the credential {credential}: {missing}"


def test_credentials_directory_of_the_process(folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The credentials directory is the one that systemd names in the environment."""
    folder.secret("../credentials/branch.psk", "from systemd")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    assert folder.load().secrets["branch"].value == b"from systemd"


def test_absolute_path(folder: Folder, tmp_path: Path, changed: Change) -> None:
    """An absolute path is taken as it is."""
    folder.secret("../elsewhere.psk", "elsewhere")
    changed('"branch.psk"', f'"{tmp_path / "elsewhere.psk"}"')
    assert folder.load().secrets["branch"].value == b"elsewhere"


def test_inline_only_if_allowed(folder: Folder, changed: Change) -> None:
    """A secret in the settings is refused, unless the settings allow it in so many words."""
    changed('psk_file = "branch.psk"', 'psk = "inline secret"')
    assert "allow_inline_secrets" in folder.problems()["connections.branch.psk"]
    folder.write("agent.allow_inline_secrets = true", name="conf.d/10.toml")
    settings = folder.load()
    assert settings.secrets["branch"].value == b"inline secret"
    assert settings.is_inline("branch")


def test_one_of_two(folder: Folder, changed: Change) -> None:
    """A secret and a secret file: nobody knows which is meant, so neither is taken."""
    changed('psk_file = "branch.psk"', 'psk_file = "branch.psk"\npsk = "inline secret"')
    folder.write("agent.allow_inline_secrets = true", name="conf.d/10.toml")
    assert "which of them is meant" in folder.problems()["connections.branch.psk"]


def test_version_follows_the_value(folder: Folder) -> None:
    """Equal secrets have equal versions, unequal ones do not, and a version is not a plain hash of the secret."""
    first = folder.load().secrets["branch"]
    assert folder.load().secrets["branch"].version == first.version
    folder.secret("branch.psk", "another")
    assert folder.load().secrets["branch"].version != first.version
    assert first.version not in {Secret(b"x", "").version, ""}


def test_same_identities_two_secrets(folder: Folder) -> None:
    """Charon looks for a secret by the identities: equal identities with unequal secrets are refused."""
    folder.secret("other.psk", "another secret")
    folder.write(
        '[connections.other]\ninterfaces = ["wan"]\nremote = ["203.0.113.21"]\npsk_file = "other.psk"\n'
        'local_id = "moon.example"\nremote_id = "peer.example"\n'
        'children.net = { local = ["10.1.0.0/24"], remote = ["10.2.0.0/24"] }\n',
        name="conf.d/10.toml",
    )
    assert "another secret than that of connection 'branch'" in folder.problems()["connections.other.psk_file"]
    folder.secret("other.psk", SECRET)
    folder.load()


@pytest.mark.parametrize(
    ("first", "second", "is_refused"),
    [
        ("ike_version = 1\n", "ike_version = 1\n", True),
        ("ike_version = 1\n", "", False),
        ("ike_version = 1\n", 'ike_version = 1\nremote = ["203.0.113.21"]\n', False),
    ],
    ids=["both", "one speaks IKEv2", "elsewhere"],
)
def test_two_secrets_for_who_calls_by_ikev1(folder: Folder, first: str, second: str, *, is_refused: bool) -> None:
    """Of two peers that call from anywhere by IKEv1 charon would take the one's secret for both; in IKEv2 it knows who.

    Broken by: leaving ``check_ikev1_secrets`` out of ``settings_of``.
    """
    folder.secret("other.psk", "another secret")
    for name, text, secret in (("one", first, "branch.psk"), ("two", second, "other.psk")):
        remote = "" if "remote" in text else 'remote = ["0.0.0.0"]\n'
        folder.write(
            f'[connections.{name}]\ninterfaces = ["wan"]\n{remote}{text}psk_file = "{secret}"\n'
            f'start = "responder-only"\nlocal_id = "moon-{name}.example"\nremote_id = "sun-{name}.example"\n'
            f'children.net = {{ local = ["10.1.0.0/24"], remote = ["10.2.0.0/24"] }}\n',
            name=f"conf.d/{name}.toml",
        )
    if not is_refused:
        folder.load()
        return
    assert "before it knows who calls" in folder.problems()["connections.two.psk_file"]
    folder.secret("other.psk", SECRET)
    folder.load()


def test_nothing_shows_a_secret(folder: Folder, changed: Change) -> None:
    """Neither repr, str, formatting, a traceback of an error, nor the kept settings show a secret; none is pickled."""
    changed('psk_file = "branch.psk"', f'psk = "{SECRET}"')
    folder.write("agent.allow_inline_secrets = true", name="conf.d/10.toml")
    settings = folder.load()
    save_last_good(settings, folder.state)
    shown = [repr(settings), f"{settings}", repr(settings.secrets), repr(settings.options), str(settings.intent)]
    shown += [file.read_text() for file in folder.state.iterdir()]
    with pytest.raises(TypeError):
        pickle.dumps(settings.secrets["branch"])
    with pytest.raises(TypeError):
        copy.deepcopy(settings.secrets["branch"])
    # wrong beside the secret, wrong with the secret, and wrong because of it
    for broken in (
        f'psk = "{SECRET}"\nmode = 7',
        f'psk = ["{SECRET}"]',
        f'pks = "{SECRET}"',
        f'psk = "{SECRET}',
        f'psk = "0x{SECRET}"',
    ):
        folder.write(folder.main.read_text().replace(f'psk = "{SECRET}"', broken), name="broken.toml")
        with pytest.raises(SettingsError) as caught:
            load(folder.path / "broken.toml")
        shown += [str(caught.value), repr(caught.value), "".join(traceback.format_exception(caught.value))]
    assert not [text for text in shown if SECRET in text]
