"""What connections prove themselves by: secrets, and certificates with their keys, read from the files they name."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from swanherd.core.intent import Certificates
from swanherd.settings import secrets
from swanherd.settings.connection import ConnectionTable
from swanherd.settings.fragments import Key
from swanherd.settings.secrets import Secret, UnreadableError
from swanherd.settings.validate import Tables

T = TypeVar("T")


@dataclass(slots=True)
class Credentials:
    """By name of the connection; one whose files cannot be read has none."""

    secrets: dict[str, Secret] = field(default_factory=dict)
    """Pre-shared keys and private keys."""
    certificates: dict[str, Certificates] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reading:
    """One connection whose files are being read."""

    tables: Tables
    key: Key
    connection: ConnectionTable
    main: Path
    credentials: Path | None

    def private(self, name: str) -> Path:
        """Where the file *name* with something secret is."""
        return secrets.locate(name, main=self.main, credentials=self.credentials)

    def public(self, name: str) -> Path:
        """Where the certificate file *name* is."""
        return Path(name) if Path(name).is_absolute() else self.main.parent / "certs" / name

    def attempt(self, read_it: Callable[[], T], *field_name: str | int) -> T | None:
        """What *read_it* returns; the rule that it raises is a problem at *field_name*."""
        try:
            return read_it()
        except UnreadableError as error:
            self.problem(f"{error}{self._elsewhere(error.file)}", *field_name)
        except ValueError as error:
            self.problem(str(error), *field_name)
        return None

    def _elsewhere(self, file: Path) -> str:
        """Where the secret *file* has been looked for before: among the credentials, if by a relative name."""
        folder = self.main.parent / "secrets"
        if self.credentials is None or not file.is_relative_to(folder):
            return ""
        credential = self.credentials / file.relative_to(folder)
        return f"; nor is there the credential {credential}: {secrets.why_no_file(credential)}"

    def problem(self, rule: str, *field_name: str | int) -> None:
        """Note a problem at *field_name* of the connection."""
        self.tables.add((*self.key, *field_name), rule)


def read(tables: Tables, *, main: Path, credentials: Path | None) -> Credentials:
    """Everything that the connections name; what is wrong with it is added to the problems of *tables*."""
    found = Credentials()
    for name, connection in tables.connections.items():
        reading = Reading(tables, ("connections", name), connection, main, credentials)
        if connection.auth == "certificate":
            # Not at the top: it takes 0.1 s, which a connection without certificates need not wait for.
            from swanherd.settings.certified import certified  # noqa: PLC0415

            if both := certified(reading):
                found.secrets[name], found.certificates[name] = both
        elif secret := _pre_shared(reading, name):
            found.secrets[name] = secret
    return found


def _pre_shared(reading: Reading, name: str) -> Secret | None:
    connection = reading.connection
    for unused in ("certificate_file", "key_file", "key_passphrase_file", "ca_files"):
        if getattr(connection, unused):
            reading.problem("means nothing where auth is 'psk'", unused)
    if connection.psk is not None:
        return reading.attempt(lambda: _inline(reading.tables, name), "psk")
    if connection.psk_file is not None:
        path = reading.private(connection.psk_file)
        return reading.attempt(lambda: secrets.read(path), "psk_file")
    reading.problem("is required: the file with the pre-shared key", "psk_file")
    return None


def _inline(tables: Tables, name: str) -> Secret:
    connection = tables.connections[name]
    if not tables.options.allow_inline_secrets:
        raise ValueError("a secret in the settings is refused unless agent.allow_inline_secrets is true; use psk_file")
    if connection.psk_file is not None:
        raise ValueError("there is a psk_file too; which of them is meant?")
    value = connection.psk.get_secret_value() if connection.psk else ""
    origin = f"connections.{name}.psk in {tables.merged.origin(('connections', name, 'psk'))}"
    return Secret(secrets.decode(value.encode(), "it"), origin)
