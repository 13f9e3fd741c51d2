"""``swanherd teardown``: nothing of swanherd's stays on this gateway."""

import os
import sys
from argparse import Namespace
from pathlib import Path

from swanherd.cli import client
from swanherd.cli.exits import Exit
from swanherd.cli.terminal import clean


def run(arguments: Namespace) -> int:
    """Remove everything of ours; print what could not be removed."""
    if os.geteuid() != 0:
        print("swanherd: only root may remove what swanherd put here", file=sys.stderr)
        return Exit.NOT_PERMITTED
    if client.running(Path(arguments.socket)):
        print("swanherd: the agent is running and would put everything back: stop it first", file=sys.stderr)
        return Exit.USAGE
    from swanherd import app  # noqa: PLC0415 - the refusals above need none of it

    left = app.teardown(
        vici_socket=arguments.vici_socket,
        runtime_dir=Path(arguments.runtime_dir),
        state_dir=Path(arguments.state_dir),
    )
    for line in left:
        print(f"swanherd: left behind: {clean(line)}", file=sys.stderr)
    if left:
        return Exit.DEGRADED
    print("nothing of swanherd's is left on this gateway")
    return Exit.WELL
