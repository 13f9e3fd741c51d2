"""Files in, ``Settings`` out: all of it or a SettingsError with everything that is wrong."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from swanherd.core.intent import Intent
from swanherd.settings import credentials as reading
from swanherd.settings import fragments, rules
from swanherd.settings.agent import Options
from swanherd.settings.convert import to_intent
from swanherd.settings.fragments import Fragment, Merged
from swanherd.settings.grecheck import check_gre
from swanherd.settings.ikev1 import check_ikev1, check_ikev1_secrets
from swanherd.settings.mobike import check_mobike
from swanherd.settings.modes import check_modes
from swanherd.settings.problems import Problem, SettingsError
from swanherd.settings.secrets import SERVICE_CREDENTIALS, Secret
from swanherd.settings.split import check_split
from swanherd.settings.swanctlconf import connection_names
from swanherd.settings.tunnels import check_xfrm
from swanherd.settings.validate import Tables, validate


@dataclass(frozen=True, slots=True)
class Settings:
    """Valid settings. Replaced as a whole by a reload, never changed."""

    path: Path
    """The main file."""
    intent: Intent
    options: Options
    secrets: Mapping[str, Secret] = field(repr=False)
    """By name of the connection."""
    merged: Merged = field(repr=False)
    """What the files say, before it was understood; may contain an inline secret."""

    def is_inline(self, connection: str) -> bool:
        """Whether the connection's secret is in the settings themselves."""
        return ("connections", connection, "psk") in self.merged.origins


def load(path: Path, *, credentials: Path | None = None) -> Settings:
    """Read the main file, conf.d beside it and all secrets.

    *credentials* is the directory of systemd's credentials, by default that of this process. Raises SettingsError with
    every problem at once; no other error comes out of what the files contain.
    """
    merged, problems = read_all(path)
    tables = tables_of(merged)
    rules.check_names(tables, connection_names(Path(tables.options.swanctl_conf)))
    settings = settings_of(tables, path=path, credentials=credentials)
    problems += tables.problems
    if problems:
        raise SettingsError(problems)
    return settings


def tables_of(merged: Merged) -> Tables:
    """The tables that can be understood, and every problem with keys and between them."""
    tables = validate(merged)
    rules.check_rules(tables)
    check_ikev1(tables)
    check_mobike(tables)
    check_modes(tables)
    check_split(tables)
    check_xfrm(tables)
    check_gre(tables)
    return tables


def settings_of(tables: Tables, *, path: Path, credentials: Path | None) -> Settings:
    """Settings from *tables*, with all secrets that can be read; problems with the others are added to the tables'."""
    found = reading.read(tables, main=path, credentials=credentials or credentials_directory())
    rules.check_secrets(tables, found.secrets)
    check_ikev1_secrets(tables, found.secrets)
    intent = to_intent(tables, found.certificates)
    by_name = {
        name: found.secrets[each.table] for name, each in intent.connections.items() if each.table in found.secrets
    }
    return Settings(path, intent, tables.options, MappingProxyType(by_name), tables.merged)


def credentials_directory() -> Path | None:
    """Where systemd put this unit's credentials, if it runs as one that has any."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    return Path(directory) if directory else None


def credentials_of_service() -> Path:
    """Where a person's command looks instead: this process's credentials if it has any, else the running service's."""
    return credentials_directory() or SERVICE_CREDENTIALS


def read_all(path: Path) -> tuple[Merged, list[Problem]]:
    """All files, merged; a file with a problem is left out, so that the others are checked nevertheless."""
    problems: list[Problem] = []
    try:
        files = fragments.files(path)
    except OSError as error:
        files = (path,)
        problems.append(Problem(str(path.parent / "conf.d"), "", f"cannot be read: {error.strerror}"))
    parsed = [fragments.read(file) for file in files]
    problems += [item for item in parsed if isinstance(item, Problem)]
    merged, contradictions = fragments.merge(tuple(item for item in parsed if isinstance(item, Fragment)))
    merged.main = str(path)
    return merged, problems + contradictions
