"""``swanherd explain``: why a connection leaves from where it does, and calls whom it calls."""

import json
import sys
from argparse import Namespace
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from swanherd.cli import client
from swanherd.cli.exits import Exit
from swanherd.cli.terminal import clean

PARTS: Final = (
    ("routes", "routes"),
    ("sources", "ways out"),
    ("endpoints", "ways in"),
)


def run(arguments: Namespace) -> int:
    """Ask the agent, and print what it tells."""
    try:
        code, answer = client.ask(Path(arguments.socket), "GET", f"/v1/explain/{quote(arguments.connection, safe='')}")
    except client.AgentError as error:
        print(clean(error), file=sys.stderr)
        return error.exit_code
    if code != HTTPStatus.OK:
        print(f"swanherd: {clean(answer.get('error', f'the agent answered {code}'))}", file=sys.stderr)
        return Exit.USAGE if code == HTTPStatus.NOT_FOUND else Exit.NO_ANSWER
    if arguments.json:
        print(json.dumps(answer, indent=2))
    else:
        print("\n".join(lines(answer)))
    return Exit.WELL


def lines(answer: dict[str, Any]) -> list[str]:
    """The explanation for people; ``*`` marks what won."""
    way = f"{answer['source'] or 'nowhere'} -> {answer['endpoint'] or 'whoever calls'}"
    found = [clean(f"{answer['name']}: {answer['role']} ({answer['reason']}), {way}")]
    if answer["detail"]:
        found.append(f"  {clean(answer['detail'])}")
    for key, heading in PARTS:
        if not answer[key]:
            continue
        found.append(f"{heading}:")
        for each in answer[key]:
            found.append(f"  {'*' if each['won'] else ' '} {clean(each['what'])}")
            found += [f"      {clean(because)}" for because in each["because"]]
    return found
