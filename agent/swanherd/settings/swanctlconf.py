"""Names of connections in somebody's swanctl.conf: one that is ours too is replaced by ``swanctl --load-all``.

Reads strongSwan's configuration syntax (strongswan.conf(5)) as far as names need it: sections, section references,
quotes, comments and includes. What cannot be read or understood has no names: this is a courtesy to the user, and
charon's own listing tells at run time.
"""

import glob
import re
from collections.abc import Iterator
from pathlib import Path

INCLUDES_MAX = 8
"""Levels of includes; a loop of them ends here."""

FILE_MAX = 4 * 1024 * 1024
"""Bytes of one file."""

_TOKEN = re.compile(
    r"""(?P<comment>\#[^\n]*)|(?P<blank>[ \t\r]+)|(?P<newline>\n)|(?P<mark>[{}=])
        |"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<word>[^\s{}=\#"]+)""",
    re.VERBOSE | re.DOTALL,
)


def connection_names(file: Path) -> frozenset[str]:
    """Names of the sections below ``connections`` in *file* and what it includes."""
    return frozenset(path[1] for path in _sections(file, (), 0) if path[0] == "connections" and len(path) == 2)


def values(file: Path) -> dict[tuple[str, ...], str]:
    """Every setting in *file* and what it includes, by its path of sections and its key; the last one counts."""
    return dict(_values(file, (), 0))


def _values(file: Path, above: tuple[str, ...], level: int) -> Iterator[tuple[tuple[str, ...], str]]:
    try:
        with file.open("rb") as stream:
            text = stream.read(FILE_MAX).decode(errors="replace")
    except OSError:
        return
    path = list(above)
    key: str | None = None
    for mark, words in _statements(text):
        if key is not None:
            yield (*path, key), " ".join(words)
            key = None
        if mark == "{":
            path.append(_name(words))
        elif mark == "}" and len(path) > len(above):
            path.pop()
        elif mark == "=" and words:
            key = words[-1]
        elif mark == "" and words[:1] == ["include"] and level < INCLUDES_MAX:
            for included in _included(file, " ".join(words[1:])):
                yield from _values(included, tuple(path), level + 1)


def _sections(file: Path, above: tuple[str, ...], level: int) -> Iterator[tuple[str, ...]]:
    """The path of every section, in order; *above* is where an include stands."""
    try:
        with file.open("rb") as stream:
            text = stream.read(FILE_MAX).decode(errors="replace")
    except OSError:
        return
    path = list(above)
    for mark, words in _statements(text):
        if mark == "{":
            path.append(_name(words))
            yield tuple(path)
        elif mark == "}" and len(path) > len(above):
            path.pop()
        elif mark == "" and words[:1] == ["include"] and level < INCLUDES_MAX:
            for included in _included(file, " ".join(words[1:])):
                yield from _sections(included, tuple(path), level + 1)


def _statements(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each brace and ``=`` with the words before it, and each line of words that has none, with an empty mark."""
    words: list[str] = []
    ended = False
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        if ended and kind in {"word", "quoted", "mark"}:
            if match["mark"] != "{":  # a brace may stand on a line of its own
                yield "", words
                words = []
            ended = False
        if kind == "mark":
            yield match["mark"], words
            words = []
        elif kind in {"word", "quoted"}:
            words.append(match[kind])
        elif kind == "newline":
            ended = bool(words)
    yield "", words


def _name(words: list[str]) -> str:
    """A section's name; ``name : other`` refers to another section, and has blanks around the colon or none."""
    return " ".join(words).partition(":")[0].strip()


def _included(file: Path, pattern: str) -> list[Path]:
    # A pattern may be absolute, which Path.glob refuses
    return [Path(match) for match in sorted(glob.glob(str(file.parent / pattern)))]  # noqa: PTH207 - see above
