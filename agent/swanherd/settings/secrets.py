"""Secrets: read from files, kept out of everything that is written for people."""

import base64
import binascii
import hashlib
import hmac
import os
import secrets as _random
import stat
from dataclasses import dataclass, field
from pathlib import Path

SECRET_MAX = 4096
"""Bytes; vici carries 65535 in a value, and no pre-shared key is that long."""

_NOT_ALLOWED = stat.S_IRWXO | stat.S_IWGRP
"""Others may do nothing, the group may read (root owns the file, the service's group reads it)."""

_process_key = _random.token_bytes(32)
"""Made anew by each process, so that a version tells nothing about a secret to who sees it in a record or a log."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret; equal secrets have equal versions within one process, and nothing but ``value`` shows it."""

    value: bytes = field(repr=False)
    origin: str
    """Where it came from: a file, never the secret."""
    key_id: str = ""
    """Of a private key: the SHA-1 of its public key, by which charon knows it; it tells nothing about the key."""

    @property
    def version(self) -> str:
        """A token that changes with the value. A private key's is its id; another one means nothing elsewhere."""
        return self.key_id or hmac.new(_process_key, self.value, hashlib.sha256).hexdigest()[:16]

    def __reduce__(self) -> str:
        """Refuse to be pickled: a pickle would carry the secret to who knows where."""
        raise TypeError("a secret cannot be pickled")


SERVICE_CREDENTIALS = Path("/run/credentials/swanherd.service")
"""What systemd has given the agent that runs as the service; root and the agent's user may read it while it runs."""


class UnreadableError(ValueError):
    """*file*, which has something secret, is not there, or may not be read."""

    def __init__(self, file: Path, why: str) -> None:
        super().__init__(f"{file} cannot be read: {why}")
        self.file = file


def locate(name: str, *, main: Path, credentials: Path | None) -> Path:
    """Where the secret file *name* is: absolute as it is, else among systemd's credentials, else in secrets/."""
    if Path(name).is_absolute():
        return Path(name)
    if credentials is not None and not why_no_file(credentials / name):
        return credentials / name
    return main.parent / "secrets" / name


def why_no_file(path: Path) -> str:
    """Why there is no file to be seen at *path*; empty: there is."""
    try:
        return "" if stat.S_ISREG(path.stat().st_mode) else "not a file"
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or "not a path"


def read(file: Path) -> Secret:
    """Read a pre-shared key. Raises ValueError with the rule, never with content."""
    content = read_private(file, limit=SECRET_MAX + 3)
    return Secret(decode(content.rstrip(b"\r\n"), str(file)), str(file))


def read_private(file: Path, *, limit: int) -> bytes:
    """The first *limit* bytes of a file that nobody else can read. Raises ValueError with the rule."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        raise UnreadableError(file, getattr(error, "strerror", None) or "not a path") from None
    try:
        # Checked on the open file: between a stat of the path and its opening it could be replaced.
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{file} is not a file")
        if status.st_mode & _NOT_ALLOWED:
            mode = stat.S_IMODE(status.st_mode)
            raise ValueError(f"{file} has mode {mode:04o}: others can get at it; 0600 or 0640 is right")
        return os.read(descriptor, limit)
    finally:
        os.close(descriptor)


def decode(content: bytes, origin: str) -> bytes:
    """``0x`` hexadecimal, ``0s`` Base64, anything else as it is (swanctl.conf's notation). Raises ValueError."""
    if not content:
        raise ValueError(f"{origin} is empty")
    if len(content) > SECRET_MAX:
        raise ValueError(f"{origin} is longer than {SECRET_MAX} bytes")
    try:
        match content[:2]:
            case b"0x":
                value = binascii.unhexlify(content[2:])
            case b"0s":
                value = base64.b64decode(content[2:], validate=True)
            case _:
                value = content
    except ValueError:
        raise ValueError(f"{origin} begins with 0x or 0s, but is not hexadecimal or Base64") from None
    if not value:
        raise ValueError(f"{origin} is empty")
    return value
