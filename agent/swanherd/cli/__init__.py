"""What a person types. A command's module is imported when it runs, so that help and completion stay quick."""

import importlib
import os
import signal
import sys
from collections.abc import Sequence

from swanherd.cli.parser import build


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in *argv* (else the process's own arguments); returns its exit code."""
    arguments = build().parse_args(argv)
    command = importlib.import_module(f"swanherd.cli.{arguments.command}")
    try:
        code: int = command.run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader has seen enough (`| head`). Point stdout elsewhere, or its flush at exit complains again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return code
