"""vici messages to and from plain sections; the only place, beside the transport, that knows the ``vici`` package."""

import struct
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias, Union

from vici.exception import DeserializationException
from vici.protocol import FiniteStream, Message

from swanherd.world.charon.errors import CharonError, CharonRefused

Value: TypeAlias = Union[str, list[str], "Section"]
Section: TypeAlias = dict[str, Value]
"""What charon sends: text, lists of text, and sections of the same."""
Outgoing: TypeAlias = Mapping[str, Union[str, bytes, bool, int, Sequence[str | bytes], "Outgoing"]]
"""What we send; bytes only for secrets and certificates."""

MAX_KEY_BYTES: Final = 255
MAX_VALUE_BYTES: Final = 65535
"""The widths of the two length fields on the wire."""

_SUCCESS: Final = bytes(Message.serialize({"success": "yes"}))
"""What charon answers to most commands."""


class UnreadableError(CharonError):
    """What came is not a vici message."""


class TooLongError(CharonRefused):
    """A name or value does not fit into a vici message, so charon was not asked. Names the key, never the value."""


def encode(message: Outgoing) -> bytes:
    """*message* on the wire; TooLongError if something in it cannot be sent."""
    return bytes(Message.serialize(_checked(message)))


def decode(body: bytes) -> Section:
    """The message in *body*; UnreadableError if there is none."""
    if body == _SUCCESS:
        return {"success": "yes"}
    try:
        return _text(Message.deserialize(FiniteStream(body)))
    except (DeserializationException, struct.error, UnicodeDecodeError) as error:
        raise UnreadableError(f"{type(error).__name__} in {len(body)} bytes") from None


def first_name(body: bytes) -> str:
    """The name of the section with which the message in *body* begins, without reading the rest of it."""
    if not body or body[0] != Message.SECTION_START:
        raise UnreadableError(f"no section at the beginning of {len(body)} bytes")
    return body[2 : 2 + body[1]].decode(errors="replace")


def text(section: Section, key: str) -> str:
    """The text at *key*, "" if there is none."""
    value = section.get(key)
    return value if isinstance(value, str) else ""


def texts(section: Section, key: str) -> list[str]:
    """The list at *key*, empty if there is none."""
    value = section.get(key)
    return value if isinstance(value, list) else []


def inner(section: Section, key: str) -> Section:
    """The section at *key*, empty if there is none."""
    value = section.get(key)
    return value if isinstance(value, dict) else {}


def sections(section: Section) -> list[tuple[str, Section]]:
    """The sections directly in *section*, in order, with their names."""
    return [(key, value) for key, value in section.items() if isinstance(value, dict)]


def _checked(message: Outgoing) -> dict[str, object]:
    checked: dict[str, object] = {}
    for key, value in message.items():
        if len(key.encode()) > MAX_KEY_BYTES:
            raise TooLongError(f"the name {key[:40]!r}... is longer than {MAX_KEY_BYTES} bytes")
        if isinstance(value, Mapping):
            checked[key] = _checked(value)
        elif isinstance(value, bool):
            # str(True) would be sent as "True", which charon takes for no.
            checked[key] = "yes" if value else "no"
        elif isinstance(value, str | bytes | int):
            checked[key] = _short_enough(key, value)
        else:
            checked[key] = [_short_enough(key, item) for item in value]
    return checked


def _short_enough(key: str, value: str | bytes | int) -> bytes:
    raw = value if isinstance(value, bytes) else str(value).encode()
    if len(raw) > MAX_VALUE_BYTES:
        raise TooLongError(f"the value of {key} is longer than {MAX_VALUE_BYTES} bytes")
    return raw


def _text(section: Mapping[str, object]) -> Section:
    """Bytes end here. What is not UTF-8 (names come from the peer, too) is replaced, not refused."""
    plain: Section = {}
    for key, value in section.items():
        if isinstance(value, bytes):
            plain[key] = value.decode(errors="replace")
        elif isinstance(value, list):
            plain[key] = [item.decode(errors="replace") for item in value]
        elif isinstance(value, dict):
            plain[key] = _text(value)
    return plain
