"""The last good settings, on disk: what the agent runs with when it starts and finds its files broken.

Kept is what the files said (merged, with the file that each key came from), so that the same rules make the same
settings of it. Secrets are kept by reference only: their files are read again, and an inline secret is looked up in the
files.
"""

import json
import os
import time
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from swanherd.settings import loading
from swanherd.settings.fragments import Key, Merged, Raw
from swanherd.settings.loading import Settings, load
from swanherd.settings.problems import Problem, SettingsError

FILE = "last-good.json"
FORMAT = 1
"""A file of another format is not read: a wrong guess about what it means would be worse than none."""


@dataclass(frozen=True, slots=True)
class StaleConfig:
    """Why the settings in force are not those in the files."""

    problems: tuple[Problem, ...]
    """With the files, and with secrets that cannot be read now: such a connection has no entry in ``secrets``."""
    saved_at: float
    """When the settings in force were saved; seconds since the epoch, for people."""


def save_last_good(settings: Settings, state_dir: Path) -> None:
    """Keep *settings*, mode 0600, by an atomic rename: the file is the old one or the new one. Raises OSError."""
    content = json.dumps(
        {
            "format": FORMAT,
            "saved_at": time.time(),
            "path": str(settings.path),
            "raw": _without_secrets(settings.merged.raw),
            "origins": [[list(key), file] for key, file in settings.merged.origins.items()],
        }
    )
    target = state_dir / FILE
    draft = state_dir / f".{FILE}.{os.getpid()}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as stream:
            os.fchmod(stream.fileno(), 0o600)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(target)
    except BaseException:  # an interrupt too: no draft with settings stays behind
        draft.unlink(missing_ok=True)
        raise
    folder = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def load_last_good(state_dir: Path, *, credentials: Path | None = None) -> tuple[Settings, StaleConfig]:
    """The settings that were saved, their secrets read again.

    A secret that cannot be read now is no reason to lose a connection whose SA may be up: the connection stays, has no
    entry in ``secrets``, and the problem is in the StaleConfig. Raises SettingsError if there is nothing to load.
    """
    file = state_dir / FILE
    path, saved_at, merged = _read(file)
    _look_up_inline(merged, path)
    tables = loading.tables_of(merged)
    if tables.problems:
        raise SettingsError(tables.problems)
    settings = loading.settings_of(tables, path=path, credentials=credentials)
    return settings, StaleConfig(tuple(tables.problems), saved_at)


def load_or_last_good(
    path: Path, state_dir: Path, *, credentials: Path | None = None
) -> tuple[Settings, StaleConfig | None]:
    """The settings in the files, or if these are broken the last good ones and why.

    The last good ones are in the state directory that the files name, as far as that can be read, else in *state_dir*.
    Raises SettingsError with the problems of both if neither can be used.
    """
    try:
        return load(path, credentials=credentials), None
    except SettingsError as broken:
        try:
            settings, stale = load_last_good(_state_dir(path, state_dir), credentials=credentials)
        except SettingsError as none:
            raise SettingsError((*broken.problems, *none.problems)) from None
        problems = tuple(dict.fromkeys((*broken.problems, *stale.problems)))
        return settings, StaleConfig(problems, stale.saved_at)


def _state_dir(path: Path, default: Path) -> Path:
    agent = loading.read_all(path)[0].raw.get("agent")
    named = agent.get("state_dir") if isinstance(agent, dict) else None
    return Path(named) if isinstance(named, str) and named.startswith("/") and "\0" not in named else default


def _without_secrets(raw: Raw) -> Raw:
    kept = deepcopy(raw)
    for connection in _connections(kept).values():
        if "psk" in connection:
            connection["psk"] = ""
    return kept


def _look_up_inline(merged: Merged, path: Path) -> None:
    """Put inline secrets back, as far as the files that had them can be read."""
    wanted = {name: table for name, table in _connections(merged.raw).items() if "psk" in table}
    if not wanted:
        return
    present = _connections(loading.read_all(path)[0].raw)
    for name, table in wanted.items():
        table["psk"] = present.get(name, {}).get("psk", "")


def _connections(raw: Raw) -> dict[str, Raw]:
    connections = raw.get("connections")
    tables = connections.items() if isinstance(connections, dict) else ()
    return {name: table for name, table in tables if isinstance(table, dict)}


def _read(file: Path) -> tuple[Path, float, Merged]:
    try:
        content = json.loads(file.read_bytes())
        if content["format"] != FORMAT:
            raise SettingsError(
                [Problem(str(file), "format", f"is not {FORMAT}: it is of another release of swanherd")]
            )
        path = Path(content["path"])
        origins: dict[Key, str] = {tuple(key): str(origin) for key, origin in content["origins"]}
        merged = Merged(raw=cast(Raw, dict(content["raw"])), origins=origins, main=str(path))
        return path, float(content["saved_at"]), merged
    except FileNotFoundError:
        raise SettingsError([Problem(str(file), "", "there are no last good settings")]) from None
    except OSError as error:
        raise SettingsError([Problem(str(file), "", f"cannot be read: {error.strerror}")]) from None
    except (ValueError, LookupError, TypeError):
        raise SettingsError([Problem(str(file), "", "is damaged: these are no settings that were saved")]) from None
