"""The manual page and the completions are those of the parser."""

import subprocess
import sys
from pathlib import Path

import pytest

from contrib import generate
from swanherd.cli import parser

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("path", ["docs/man/swanherd.8", *generate.COMPLETIONS.values()])
def test_what_is_committed_is_current(path: str) -> None:
    """Who changes the parser runs `make pages`."""
    assert (ROOT / path).read_text(encoding="utf-8") == generate.everything()[path]


def test_the_page_is_the_same_in_every_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not depend on the width of whoever makes it."""
    monkeypatch.setenv("COLUMNS", "40")
    assert generate.manual() == (ROOT / "docs/man/swanherd.8").read_text(encoding="utf-8")


def test_the_page_has_every_exit_code() -> None:
    """Each command's codes, as its help has them."""
    page = generate.manual().replace(r"\-", "-")
    for command in parser.COMMANDS:
        section = page.split("EXIT STATUS")[1].split(f"swanherd {command.name}")[1].split(".SS")[0]
        for code, meaning in command.exits:
            assert f".B {code.value}\n{meaning}" in section


def completed(*words: str) -> list[str]:
    """What bash offers for the last of *words*."""
    script = (
        f". {ROOT / generate.COMPLETIONS['bash']}; COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; "
        '_shtab_swanherd 2>/dev/null; echo "${COMPREPLY[@]}"'
    )
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout.split()


def test_bash_completes_commands_and_options() -> None:
    """The completion works in a real bash, not only as text."""
    assert completed("swanherd", "st") == ["status"]
    assert completed("swanherd", "teardown", "--st") == ["--state-dir"]


def test_the_script_writes_what_it_says(tmp_path: Path) -> None:
    """Run as people run it, into another directory."""
    subprocess.run([sys.executable, ROOT / "contrib/generate.py", tmp_path], check=True, capture_output=True)
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == set(
        generate.everything()
    )
