"""The end of every log that a failed test has written to, put into its report."""

from pathlib import Path
from typing import Final

import pytest

from tests.lab.lab import LOGS

TAIL_LINES: Final = 60
"""Of each log; a whole fault takes less."""


def add_tails(report: object, *, since: float) -> None:
    """Give a failure's *report* the logs of the lab's hosts that were written to after the wall clock's *since*."""
    if isinstance(report, pytest.TestReport) and report.failed:
        for log in _written_since(since):
            report.sections.append((f"{log.parent.name} {log.name}", _tail(log)))


def _written_since(moment: float) -> list[Path]:
    logs = [path for path in LOGS.glob("lab-*/*/*") if path.is_file() and path.stat().st_size > 0]
    return sorted(path for path in logs if path.stat().st_mtime >= moment and path.name != "init.log")


def _tail(path: Path) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-TAIL_LINES:])
