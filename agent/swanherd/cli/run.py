"""``swanherd run``: the agent itself."""

import sys
from argparse import Namespace
from pathlib import Path

from swanherd import app
from swanherd.cli.exits import Exit
from swanherd.cli.terminal import clean
from swanherd.settings import SettingsError


def run(arguments: Namespace) -> int:
    """Run the agent until it is asked to stop; its exit code."""
    try:
        return app.run(Path(arguments.config))
    except SettingsError as error:
        for problem in error.problems:
            print(f"swanherd: {clean(problem)}", file=sys.stderr)
        return Exit.USAGE
