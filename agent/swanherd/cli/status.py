"""``swanherd status``: what runs here, what does not, and why; also when the agent does not run."""

import json
import sys
from argparse import Namespace
from http import HTTPStatus
from pathlib import Path
from typing import Any

from swanherd.cli import client
from swanherd.cli.exits import Exit
from swanherd.cli.terminal import clean


def run(arguments: Namespace) -> int:
    """Print the status; the exit code says whether all is well."""
    try:
        code, answer = client.ask(Path(arguments.socket), "GET", "/v1/status")
    except client.AgentError as error:
        return _without_agent(error, as_json=arguments.json)
    if code != HTTPStatus.OK:
        print(f"swanherd: {clean(answer.get('error', f'the agent answered {code}'))}", file=sys.stderr)
        return Exit.NO_ANSWER
    unknown = _select(answer, arguments.connection)
    if unknown:
        print(f"swanherd: no connection is named {clean(', '.join(unknown))}", file=sys.stderr)
        return Exit.USAGE
    if arguments.json:
        print(json.dumps(answer, indent=2))
    else:
        _show(answer, in_full=bool(arguments.connection))
    well = all(each["well"] for each in answer["connections"]) if arguments.connection else answer["well"]
    return Exit.WELL if well else Exit.DEGRADED


def _select(answer: dict[str, Any], names: list[str]) -> list[str]:
    """Keep only the connections of *names*, if any are given; returns the names that do not exist."""
    if not names:
        return []
    by_name = {each["name"]: each for each in answer["connections"]}
    answer["connections"] = [by_name[name] for name in names if name in by_name]
    return [name for name in names if name not in by_name]


def _show(answer: dict[str, Any], *, in_full: bool) -> None:
    from swanherd.cli import overview  # noqa: PLC0415 - rich is for people; --json does without
    from swanherd.cli.terminal import console  # noqa: PLC0415

    out = console()
    if in_full:
        overview.show_in_full(out, answer)
    else:
        overview.show(out, answer)


def _without_agent(error: client.AgentError, *, as_json: bool) -> int:
    """Say that nobody answers, and what holds nevertheless: our rules stay when the agent goes."""
    firewall: dict[str, Any] | None = None
    trouble = ""
    if not isinstance(error, client.NotPermittedError):
        firewall, trouble = _rules_in_force()
    if as_json:
        running = not isinstance(error, client.NotRunningError)
        troubles = [text for text in (str(error), trouble) if text]
        print(
            json.dumps(
                {"schema": 1, "running": running, "well": False, "troubles": troubles, "firewall": firewall}, indent=2
            )
        )
        return error.exit_code
    print(clean(error), file=sys.stderr)
    if trouble:
        print(f"swanherd: {clean(trouble)}", file=sys.stderr)
    if firewall is not None:
        from swanherd.cli import overview  # noqa: PLC0415 - rich is for people; --json does without
        from swanherd.cli.terminal import console  # noqa: PLC0415

        overview.show_rules(console(), firewall)
    return error.exit_code


def _rules_in_force() -> tuple[dict[str, Any] | None, str]:
    """Our firewall table as it is in the kernel; or why it cannot be read."""
    from swanherd.cli import rules  # noqa: PLC0415 - only where there is no agent to ask
    from swanherd.report.status import firewall_document  # noqa: PLC0415

    try:
        return firewall_document(rules.in_force()), ""
    except rules.UnreadableError as error:
        return None, f"which of our firewall rules are in force cannot be read: {error}"
