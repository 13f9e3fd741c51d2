"""The arguments of every command, with their help; the manual page and the completions are made from this too."""

import argparse
from collections.abc import Callable
from typing import Final, NamedTuple

from swanherd import __version__
from swanherd.cli.exits import Exit

CONFIG: Final = "/etc/swanherd/swanherd.toml"
RUNTIME_DIR: Final = "/run/swanherd"
STATE_DIR: Final = "/var/lib/swanherd"
VICI_SOCKET: Final = "/run/charon.vici"
SOCKET: Final = f"{RUNTIME_DIR}/control.sock"
HINT_SOCKET: Final = f"{RUNTIME_DIR}/hint.sock"
"""The defaults of the settings, which cost too much to import here; a test compares them."""

DESCRIPTION: Final = """\
HA-aware IPsec for gateway pairs: keepalived moves the virtual IP, swanherd moves the IPsec. One agent runs on each
gateway; the commands below run it, ask it, and check what it is told to do."""


class Example(NamedTuple):
    """A command line, and what it is good for."""

    line: str
    what: str


class Command(NamedTuple):
    """One command; its code is the module of its name in this package."""

    name: str
    summary: str
    text: str
    arguments: Callable[[argparse.ArgumentParser], None]
    examples: tuple[Example, ...]
    exits: tuple[tuple[Exit, str], ...]


def build() -> argparse.ArgumentParser:
    """The parser of the whole command; ``command`` in what it returns names the module to run."""
    parser = argparse.ArgumentParser(
        prog="swanherd",
        description=DESCRIPTION,
        epilog="See 'swanherd COMMAND --help' for options, examples and exit codes.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"swanherd {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands", required=True)
    for command in COMMANDS:
        one = commands.add_parser(
            command.name,
            help=command.summary,
            description=command.text,
            epilog=epilog(command),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.arguments(one)
    return parser


def epilog(command: Command) -> str:
    """The examples and exit codes of *command*, as ``--help`` shows them."""
    examples = "\n".join(f"  {example.line}\n      {example.what}" for example in command.examples)
    exits = "\n".join(f"  {code.value}  {meaning}" for code, meaning in command.exits)
    return f"examples:\n{examples}\n\nexit codes:\n{exits}"


def _socket(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--socket", metavar="PATH", default=SOCKET, help="control socket of the agent (%(default)s)")


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def _run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", default=CONFIG, help="settings to run with (%(default)s)")


def _status(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("connection", nargs="*", metavar="CONNECTION", help="show these in full, with their SAs")
    _json(parser)
    _socket(parser)


def _explain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("connection", metavar="CONNECTION", help="the connection to explain")
    _json(parser)
    _socket(parser)


def _check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="?", metavar="FILE", default=CONFIG, help="settings to check (%(default)s)")
    parser.add_argument(
        "--diff", action="store_true", help="say what a reload of FILE would do to each connection that is in force"
    )
    _json(parser)


def _reload(parser: argparse.ArgumentParser) -> None:
    _json(parser)
    _socket(parser)


def _notify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("said", nargs="*", metavar="ARG", help="what keepalived says; not looked at")
    parser.add_argument("--socket", metavar="PATH", default=HINT_SOCKET, help="the agent's socket (%(default)s)")


def _teardown(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--runtime-dir", metavar="DIR", default=RUNTIME_DIR, help="runtime_dir of the agent (%(default)s)"
    )
    parser.add_argument("--state-dir", metavar="DIR", default=STATE_DIR, help="state_dir of the agent (%(default)s)")
    parser.add_argument("--vici-socket", metavar="PATH", default=VICI_SOCKET, help="charon's vici socket (%(default)s)")
    _socket(parser)


def _version(parser: argparse.ArgumentParser) -> None:
    _json(parser)


COMMANDS: Final = (
    Command(
        "run",
        "run the agent",
        "Run the agent in the foreground until SIGTERM or SIGINT; systemd runs this. SIGHUP reloads the settings,\n"
        "whole or not at all. If the settings cannot be used at start, the last good ones are, and the status says so.",
        _run,
        (
            Example("swanherd run", f"run with {CONFIG} and what is in conf.d beside it"),
            Example("swanherd run --config ./lab.toml", "run with other settings, readable logs on this terminal"),
        ),
        (
            (Exit.WELL, "stopped because it was asked to"),
            (Exit.DEGRADED, "ended by a fault; systemd starts it again"),
            (Exit.USAGE, "wrong arguments, or no usable settings and no last good ones"),
        ),
    ),
    Command(
        "status",
        "what runs here, what does not, and why",
        "Show the role of each connection on this gateway, with the reason, from the running agent. Without an agent\n"
        "it says so, and which of swanherd's firewall rules are still in force.",
        _status,
        (
            Example("swanherd status", "one line a connection, those that are not well first"),
            Example("swanherd status branch", "one connection in full, with its SAs"),
            Example("swanherd status --json | jq .troubles", "for scripts: what keeps this gateway from being well"),
        ),
        (
            (Exit.WELL, "all is well: each connection is up, or on standby and fenced, as it should be"),
            (Exit.DEGRADED, "degraded: some connection, source or rule is not as it should be"),
            (Exit.USAGE, "wrong arguments, or no connection of that name"),
            (Exit.NOT_RUNNING, "the agent is not running"),
            (Exit.NOT_PERMITTED, "not permitted: be root, or in the control socket's group"),
            (Exit.NO_ANSWER, "the agent runs but does not answer, or has not completed its first pass"),
        ),
    ),
    Command(
        "explain",
        "why a connection leaves from here and calls there",
        "Show how the running agent chose the source and the endpoint of a connection: each default route, each\n"
        "interface, each endpoint with its addresses, every fact that was used, and why it won or lost.",
        _explain,
        (
            Example("swanherd explain branch", "why does it not leave by the other uplink?"),
            Example("swanherd explain branch --json | jq .endpoints", "for scripts: where can it be called?"),
        ),
        (
            (Exit.WELL, "explained"),
            (Exit.USAGE, "wrong arguments, or no connection of that name"),
            (Exit.NOT_RUNNING, "the agent is not running"),
            (Exit.NOT_PERMITTED, "not permitted: be root, or in the control socket's group"),
            (Exit.NO_ANSWER, "the agent runs but does not answer"),
        ),
    ),
    Command(
        "check",
        "check settings without touching anything",
        "Check a settings file and the conf.d beside it: every error at once, with file, key and rule. With --diff,\n"
        "say also what a reload would do to each live SA, compared with the settings that are in force. Secrets are\n"
        "read too: those that are systemd credentials where $CREDENTIALS_DIRECTORY says, else as swanherd.service has\n"
        "them now, which root and the agent's user may see while it runs.",
        _check,
        (
            Example("swanherd check", f"check {CONFIG}"),
            Example("swanherd check new.toml --diff", "what would a reload with new.toml do to the live tunnels?"),
            Example("swanherd check --json | jq -r .errors[].key", "for editors and pipelines"),
        ),
        (
            (Exit.WELL, "the settings can be used; there may be warnings"),
            (Exit.USAGE, "the settings have errors (a secret that cannot be read is one), or wrong arguments"),
            (Exit.NOT_RUNNING, "--diff: there are no settings in force, or this user may not read them"),
        ),
    ),
    Command(
        "reload",
        "make the running agent read its settings again",
        "Make the agent read its settings again, whole or not at all, and wait for its verdict. Only root may.",
        _reload,
        (Example("swanherd check --diff && swanherd reload", "look first, then do it"),),
        (
            (Exit.WELL, "the new settings are in force"),
            (Exit.USAGE, "refused: the settings have errors; the old ones stay in force"),
            (Exit.NOT_RUNNING, "the agent is not running"),
            (Exit.NOT_PERMITTED, "only root may reload"),
            (Exit.NO_ANSWER, "the agent does not answer"),
        ),
    ),
    Command(
        "notify",
        "tell the agent that keepalived did something",
        "For keepalived's notify scripts: tells the agent to look again, now. Only a hint: the agent believes nothing\n"
        "that is said here, and needs none of it where it has keepalived's D-Bus, notify FIFO or adverts. Any user\n"
        "may; without an agent nothing happens.",
        _notify,
        (
            Example(
                'notify "/usr/local/sbin/swanherd notify"', "in a vrrp_instance or vrrp_sync_group of keepalived.conf"
            ),
        ),
        (
            (
                Exit.WELL,
                "always, so that keepalived has nothing to complain about; whether the agent heard is not said",
            ),
            (Exit.USAGE, "wrong arguments"),
        ),
    ),
    Command(
        "teardown",
        "remove everything of swanherd's from this gateway",
        "Remove everything that swanherd put on this gateway: connections, traps and secrets in charon, the firewall\n"
        "table, links, routes and records. Needs no settings; nothing of anybody else's is touched. Tunnels that\n"
        "swanherd runs here end. The agent must be stopped first, or it would put everything back.",
        _teardown,
        (Example("systemctl stop swanherd && swanherd teardown", "before the package is removed"),),
        (
            (Exit.WELL, "nothing of swanherd's is left"),
            (Exit.DEGRADED, "something could not be removed; what is left is printed"),
            (Exit.USAGE, "wrong arguments, or the agent is still running"),
            (Exit.NOT_PERMITTED, "only root may"),
        ),
    ),
    Command(
        "version",
        "versions of swanherd and what it stands on",
        "Show the versions of swanherd, Python, the kernel and the libraries: the first thing a bug report needs.",
        _version,
        (Example("swanherd version --json", "for the bug report"),),
        ((Exit.WELL, "always"),),
    ),
)
