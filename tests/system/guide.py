"""The commands of docs/install.md, as a person would run them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.lab.booted import BootedHost
from tests.lab.waiting import wait_until

PAGE: Final = Path(__file__).parents[2] / "docs" / "install.md"
INSTALL: Final = ""
"""The section of the blocks that name none: the installation itself."""
SETTLES_S: Final = 20.0
"""How long a person would look again at what settles by itself."""
_BLOCK: Final = re.compile(r"^```sh(?P<marks>[^\n]*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """One block of commands. Marks behind ``sh`` (which Markdown does not show) say where it belongs."""

    text: str
    section: str
    host: str
    """The gateway that it is for; empty: both."""
    stdin: str
    """What the person types; empty: nothing."""
    settles: bool
    """The person looks again until it succeeds."""


def blocks() -> Iterator[Block]:
    """All blocks of the page, in order."""
    for match in _BLOCK.finditer(PAGE.read_text()):
        marks = dict(mark.partition("=")[::2] for mark in match["marks"].split())
        yield Block(
            text=match["text"],
            section=marks.pop("section", INSTALL),
            host=marks.pop("host", ""),
            stdin=marks.pop("stdin", ""),
            settles=marks.pop("settles", None) is not None,
        )
        assert not marks, f"unknown marks in docs/install.md: {marks}"


def follow(host: BootedHost, section: str, *, repository: Path | str, secret: str = "") -> str:
    """Run the blocks of *section* on *host*; what they printed. Stops at the first command that fails."""
    said = []
    chosen = [block for block in blocks() if block.section == section and block.host in {"", host.name}]
    assert chosen, f"docs/install.md has no section {section!r}"
    for block in chosen:
        typed = {"": "", "secret": f"{secret}\n"}[block.stdin]
        script = f"REPOSITORY={repository}\n{block.text}"
        said.append(_settled(host, script) if block.settles else host.shell(script, typed=typed))
    return "".join(said)


def _settled(host: BootedHost, script: str) -> str:
    """What it prints when it succeeds; AssertionError with what it printed last when it never does."""
    said = ""

    def succeeded() -> bool:
        nonlocal said
        said = host.shell(f"({script}) 2>&1 && echo settled || true")
        return said.endswith("settled\n")

    try:
        wait_until(succeeded, f"on {host.name}: {script.strip()}", within_s=SETTLES_S, every_s=0.1)
    except AssertionError as error:
        raise AssertionError(f"{error}:\n{said}") from None
    return said.removesuffix("settled\n")
