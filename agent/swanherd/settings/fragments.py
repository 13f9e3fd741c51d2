"""The files: read, parsed and merged, without understanding them; each key remembers the file that set it.

The main file comes first, then ``conf.d/*.toml`` beside it in the order of the names. Tables merge deeply; any other
value of a later file replaces the earlier one, lists as a whole. So both gateways can share one main file, and what
differs per host goes into conf.d.
"""

import os
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from swanherd.settings.problems import Problem

Raw = dict[str, object]
"""A table of TOML."""
Key = tuple[str | int, ...]
"""The path of a key; an integer is a position in a list."""

FILE_MAX = 16 * 1024 * 1024
"""Bytes: far above ten thousand connections; a larger file is not ours, and would stall the agent."""

_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def dotted(key: Key) -> str:
    """``("a", "b", 0)`` as people write it: ``a.b[0]``."""
    text = ""
    for part in key:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


@dataclass(frozen=True, slots=True)
class Fragment:
    """One file, parsed."""

    file: str
    raw: Raw
    mode: int = 0
    """The file's permission bits."""


@dataclass(slots=True)
class Merged:
    """All files as one table."""

    raw: Raw = field(default_factory=dict)
    origins: dict[Key, str] = field(default_factory=dict)
    """Which file set a value, or opened a table."""
    main: str = ""
    modes: dict[str, int] = field(default_factory=dict)
    """Permission bits of each file."""

    def origin(self, key: Key) -> str:
        """The file to look into for *key*: the one that set it, else that of the nearest table above it."""
        for length in range(len(key), 0, -1):
            if key[:length] in self.origins:
                return self.origins[key[:length]]
        return self.main


def files(main: Path) -> tuple[Path, ...]:
    """The main file and those of conf.d beside it, in order. Raises OSError if conf.d is there and cannot be listed."""
    folder = main.parent / "conf.d"
    if not folder.is_dir():
        return (main,)
    return (main, *sorted(file for file in folder.iterdir() if file.suffix == ".toml" and file.name[0] != "."))


def read(file: Path) -> Fragment | Problem:
    """Parse one file; a Problem if it cannot be read or is no TOML. The text of the file is never part of a Problem."""
    try:
        with file.open("rb") as stream:
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
            content = stream.read(FILE_MAX + 1)
    except OSError as error:
        return Problem(str(file), "", f"cannot be read: {error.strerror}")
    if len(content) > FILE_MAX:
        return Problem(str(file), "", f"is larger than {FILE_MAX} bytes")
    try:
        return Fragment(str(file), tomllib.loads(content.decode()), mode)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return Problem(str(file), f"line {line}", "is not UTF-8")
    except tomllib.TOMLDecodeError as error:
        return _syntax(str(file), str(error), content.decode())
    except RecursionError:
        return Problem(str(file), "", "is nested too deeply")


def _syntax(file: str, text: str, content: str) -> Problem:
    place = _PLACE.search(text)
    line, column = (place[1], place[2]) if place and place[1] else (str(content.count("\n") + 1), None)
    where = f"line {line}, column {column}" if column else f"line {line}"
    return Problem(file, where, f"not TOML: {_PLACE.sub('', text)}")


def merge(fragments: tuple[Fragment, ...]) -> tuple[Merged, list[Problem]]:
    """Merge in order; a key that is a table in one file and a value in another is a Problem."""
    merged = Merged(main=fragments[0].file if fragments else "")
    problems: list[Problem] = []
    for fragment in fragments:
        merged.modes[fragment.file] = fragment.mode
        _merge_table(merged, target=merged.raw, source=fragment.raw, above=(), fragment=fragment, problems=problems)
    return merged, problems


def _merge_table(
    merged: Merged,
    *,
    target: Raw,
    source: Mapping[str, object],
    above: Key,
    fragment: Fragment,
    problems: list[Problem],
) -> None:
    for name, value in source.items():
        key = (*above, name)
        if name in target and isinstance(target[name], dict) != isinstance(value, dict):
            kinds = ("a table", "a value") if isinstance(value, dict) else ("a value", "a table")
            problems.append(
                Problem(fragment.file, dotted(key), f"is {kinds[0]} here and {kinds[1]} in {merged.origin(key)}")
            )
        elif isinstance(value, dict):
            below = target.setdefault(name, {})
            merged.origins.setdefault(key, fragment.file)
            if isinstance(below, dict):
                _merge_table(merged, target=below, source=value, above=key, fragment=fragment, problems=problems)
        else:
            target[name] = value
            merged.origins[key] = fragment.file
