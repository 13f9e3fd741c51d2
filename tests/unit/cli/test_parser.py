"""The command line: what it accepts, what it says, and what it costs to start."""

import importlib
import json
import os
import subprocess
import sys

import pytest

from swanherd.cli import parser
from swanherd.cli.exits import Exit
from swanherd.settings import Options

HEAVY = ("aiohttp", "asyncio", "dataclasses", "logging", "prometheus_client", "pydantic", "pyroute2", "rich",
         "structlog", "vici")  # fmt: skip
"""What neither help nor completion may wait for; each costs 20 to 250 ms."""


def modules_after(*argv: str) -> set[str]:
    """The modules that a process has imported after it ran the command line *argv*."""
    code = (
        "import sys, json\nfrom swanherd.cli import main\n"
        f"try: main({list(argv)!r})\nexcept SystemExit: pass\n"
        "print('\\n' + json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("argv", [("--help",), ("status", "--help"), ("--version",)])
def test_help_imports_nothing_heavy(argv: tuple[str, ...]) -> None:
    """Help is there at once: listed by modules, since times on a busy machine prove nothing."""
    loaded = {name.partition(".")[0] for name in modules_after(*argv)}
    assert loaded.isdisjoint(HEAVY)


def test_a_command_imports_only_its_own_module() -> None:
    """`version` does not pay for `run`."""
    loaded = {name for name in modules_after("version") if name.startswith("swanherd.")}
    assert loaded == {"swanherd.cli", "swanherd.cli.parser", "swanherd.cli.exits", "swanherd.cli.version"}


def test_the_notify_hook_is_light() -> None:
    """A process is started for each change: it may import a socket beside the arguments' parser, and no more."""
    argv = ("notify", "--socket", "/nowhere", "INSTANCE", "VI_1", "MASTER", "150")
    loaded = modules_after(*argv) - modules_after("--help")
    sockets = {"_socket", "array", "errno", "math", "select", "selectors", "socket"}
    assert {name.partition(".")[0] for name in loaded} <= {"collections", "swanherd", *sockets}
    assert {name for name in loaded if name.startswith("swanherd")} == {"swanherd.cli.notify"}


def test_the_defaults_are_those_of_the_settings() -> None:
    """The parser cannot afford to import the settings, so it repeats their defaults, and must not drift."""
    options = Options()
    assert str(options.control_path) == parser.SOCKET
    assert str(options.hint_path) == parser.HINT_SOCKET
    assert (options.runtime_dir, options.state_dir) == (parser.RUNTIME_DIR, parser.STATE_DIR)
    assert options.vici_socket == parser.VICI_SOCKET


@pytest.mark.parametrize("command", parser.COMMANDS, ids=lambda command: command.name)
def test_every_command_can_be_run_and_explains_itself(
    command: parser.Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is a module with `run`, and --help has examples and all exit codes."""
    assert callable(importlib.import_module(f"swanherd.cli.{command.name}").run)
    with pytest.raises(SystemExit) as ended:
        parser.build().parse_args([command.name, "--help"])
    told = capsys.readouterr().out
    assert ended.value.code == Exit.WELL
    assert "examples:" in told
    for code, meaning in command.exits:
        assert f"{code.value}  {meaning}" in told
    for example in command.examples:
        assert example.line in told
        assert "swanherd " in example.line


@pytest.mark.parametrize("line", [example.line for command in parser.COMMANDS for example in command.examples], ids=str)
def test_every_example_parses(line: str) -> None:
    """An example that does not work is worse than none."""
    for part in line.replace("|", "&&").split("&&"):
        words = part.split()
        if words[0] == "swanherd":
            assert parser.build().parse_args(words[1:]).command == words[1]


def test_no_help_line_is_wider_than_a_terminal_of_120_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """Descriptions are laid out by hand, so nothing folds them."""
    for command in parser.COMMANDS:
        with pytest.raises(SystemExit):
            parser.build().parse_args([command.name, "--help"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 120


def test_wrong_arguments_end_with_the_documented_code(capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code 2 of argparse is our own for wrong usage."""
    with pytest.raises(SystemExit) as ended:
        parser.build().parse_args(["statsu"])
    assert ended.value.code == Exit.USAGE
    assert "statsu" in capsys.readouterr().err


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    """`swanherd version | head -0` ends quietly, without a traceback."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "swanherd", "version"], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert done.stderr == ""
    assert done.returncode == 128 + 13
