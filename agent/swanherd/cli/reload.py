"""``swanherd reload``: the running agent reads its settings again."""

import json
import sys
from argparse import Namespace
from http import HTTPStatus
from pathlib import Path

from swanherd.cli import client
from swanherd.cli.exits import Exit
from swanherd.cli.terminal import clean, count

TIMEOUT_S = 12.0
"""A little more than the agent gives itself for a command."""


def run(arguments: Namespace) -> int:
    """Ask for the reload, and tell its verdict."""
    try:
        code, answer = client.ask(Path(arguments.socket), "POST", "/v1/reload", timeout_s=TIMEOUT_S)
    except client.AgentError as error:
        print(clean(error), file=sys.stderr)
        return error.exit_code
    if arguments.json:
        print(json.dumps(answer, indent=2))
    elif code == HTTPStatus.OK:
        print(f"the new settings are in force: {count(answer['connections'], 'connection')}")
        if answer["needs_restart"]:
            print(f"these take effect when the agent is restarted: {clean(', '.join(answer['needs_restart']))}")
    else:
        for line in [answer.get("error", "refused"), *answer.get("problems", [])]:
            print(f"swanherd: {clean(line)}", file=sys.stderr)
    match code:
        case HTTPStatus.OK:
            return Exit.WELL
        case HTTPStatus.CONFLICT:
            return Exit.USAGE
    return Exit.NO_ANSWER
