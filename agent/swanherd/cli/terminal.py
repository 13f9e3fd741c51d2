"""Words on a terminal: colours only where somebody sees them, nothing cut off silently, no control characters."""

import os
import sys
from typing import Final, TextIO

from rich.console import Console

UNBOUNDED_COLUMNS: Final = 1000
"""The width where nobody looks at it: a pipe gets one line a row, for grep."""


def console(stream: TextIO | None = None) -> Console:
    """A console on *stream* (stdout); rich itself honours NO_COLOR and TERM=dumb."""
    out = stream or sys.stdout
    width = None if out.isatty() or "COLUMNS" in os.environ else UNBOUNDED_COLUMNS
    return Console(file=out, width=width, highlight=False, markup=False, emoji=False, soft_wrap=False)


def clean(text: object) -> str:
    """*text* without what a terminal would obey: the peer's words come here by way of charon."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(text))


def count(number: int, noun: str) -> str:
    """``1 warning``, ``2 warnings``, ``0 addresses``."""
    ending = "es" if noun.endswith("s") else "s"
    return f"{number} {noun}" + ("" if number == 1 else ending)


def age(seconds: float | None) -> str:
    """A duration in two units at most: ``480ms``, ``12s``, ``3m20s``, ``5h02m``, ``12d04h``."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{max(0.0, seconds) * 1000:.0f}ms"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}h"
