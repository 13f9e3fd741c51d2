"""A line of charon's log, out of the event that brings it.

At a glance where charon has written it as ever, by the library else: a thousand peers that are asked every ten seconds
whether they live have two hundred lines a second that must be read.
"""

import re
from dataclasses import dataclass
from typing import Final

from swanherd.world.charon.codec import decode, text

_WRITTEN: Final = re.compile(
    rb"\x03\x05group..(?P<group>.*?)\x03\x05level.*?"
    rb"(?:\x03\x0aikesa-name..(?P<name>.*?)\x03\x0eikesa-uniqueid..(?P<id>.*?))?\x03\x03msg(?P<length>..)(?P<text>.*)",
    re.DOTALL,
)
"""A ``log`` event as charon writes it: of each value its type, its key, two bytes of length, and itself."""


@dataclass(frozen=True, slots=True)
class Line:
    """A ``log`` event."""

    group: str
    name: str
    """Of the IKE_SA, "" where the line is about none."""
    text: str
    unique_id: str = ""


def line_of(event: bytes) -> Line:
    """The line in *event*; UnreadableError if there is none."""
    found = _WRITTEN.fullmatch(event)
    if found is None or int.from_bytes(found["length"]) != len(found["text"]):
        message = decode(event)
        return Line(*(text(message, key) for key in ("group", "ikesa-name", "msg", "ikesa-uniqueid")))
    return Line(*(str(found[key] or b"", "utf-8", "replace") for key in ("group", "name", "text", "id")))
