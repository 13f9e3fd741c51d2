"""Writes what is made from the code: manual page, shell completions, JSON Schema and reference pages (`make pages`).

    python contrib/generate.py [DIRECTORY]

DIRECTORY is the clone's root if not given. A test compares what is committed with what this makes.
"""
# ruff: noqa: INP001 - a script, not a package

import argparse
import os
import sys
from pathlib import Path
from typing import Final

import shtab
from argparse_manpage.manpage import Manpage  # type: ignore[import-untyped]  # it has no py.typed

from swanherd import __version__
from swanherd.cli import parser as swanherd_parser
from swanherd.settings import reference, schema

RELEASED: Final = "2026-11-24"
"""The date in the page's header; changed with the version, so that the same source makes the same page."""

COMPLETIONS: Final = {
    "bash": "contrib/completion/swanherd.bash",
    "zsh": "contrib/completion/_swanherd",
    "fish": "contrib/completion/swanherd.fish",
}

FILE_OPTIONS: Final = {"config": shtab.FILE, "file": shtab.FILE, "socket": shtab.FILE, "vici_socket": shtab.FILE}
DIRECTORY_OPTIONS: Final = {"runtime_dir": shtab.DIRECTORY, "state_dir": shtab.DIRECTORY}

FILES: Final = (
    (swanherd_parser.CONFIG, "the settings; what is in conf.d beside it is merged into them"),
    (swanherd_parser.SOCKET, "the control socket: status for its group, changes for root"),
    (f"{swanherd_parser.RUNTIME_DIR}/", "the ownership record; survives a restart of the service"),
    (f"{swanherd_parser.STATE_DIR}/", "the last good settings and a copy of the record"),
)


def everything() -> dict[str, str]:
    """The text of each file, by its path in the clone."""
    made = {
        "agent/swanherd/settings/schema.json": schema.text(),
        "docs/reference/settings.md": reference.settings_page(),
        "docs/reference/reload.md": reference.reload_page(),
        "docs/man/swanherd.8": manual(),
    }
    for shell, path in COMPLETIONS.items():
        made[path] = shtab.complete(completable(), shell)
    return {path: text.rstrip("\n") + "\n" for path, text in made.items()}


def completable() -> argparse.ArgumentParser:
    """The parser, with what completes a file or a directory marked."""
    parser = swanherd_parser.build()
    for one in [parser, *subparsers(parser).values()]:
        for action in one._actions:  # noqa: SLF001 - argparse has no public way to walk its actions
            complete = FILE_OPTIONS.get(action.dest) or DIRECTORY_OPTIONS.get(action.dest)
            if complete is not None:
                action.complete = complete  # type: ignore[attr-defined] # how shtab wants it
    return parser


def subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parser of each command."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way to walk its actions
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - the same
            return dict(action.choices)
    return {}


def manual() -> str:
    """The manual page swanherd(8)."""
    os.environ["COLUMNS"] = "100"  # argparse folds the usage lines to it
    parser = swanherd_parser.build()
    parser.epilog = None
    page = Manpage(
        parser,
        _data={
            "description": "HA-aware IPsec for gateway pairs",
            "project_name": "swanherd",
            "version": __version__,
            "manual_section": 8,
            "manual_title": "System Manager's Manual",
            "date": RELEASED,
        },
        format="single-commands-section",
    )
    page.add_section("examples", "=", "\n".join(map(_examples, swanherd_parser.COMMANDS)))
    page.add_section("exit status", "=", "\n".join(map(_exits, swanherd_parser.COMMANDS)))
    page.add_section("environment", "=", _tagged([("NO_COLOR", "if set, nothing is coloured")]))
    page.add_section("files", "=", _tagged(FILES))
    page.add_section("see also", "=", r".BR keepalived (8), swanctl (8), nft (8)")
    return str(page)


def _examples(command: swanherd_parser.Command) -> str:
    return _tagged([(example.line, example.what) for example in command.examples])


def _exits(command: swanherd_parser.Command) -> str:
    codes = [(str(code.value), meaning) for code, meaning in command.exits]
    return f".SS \\fBswanherd {command.name}\\fR\n{_tagged(codes)}"


def _tagged(entries: list[tuple[str, str]] | tuple[tuple[str, str], ...]) -> str:
    return "\n".join(f".TP\n.B {_roff(tag)}\n{_roff(text)}" for tag, text in entries)


def _roff(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("-", r"\-")
    return rf"\&{escaped}" if escaped.startswith((".", "'")) else escaped


def main() -> None:
    """Write everything below the directory in the arguments."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent
    for path, text in everything().items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        print(os.path.relpath(target))  # noqa: T201 - says what it wrote


if __name__ == "__main__":
    main()
