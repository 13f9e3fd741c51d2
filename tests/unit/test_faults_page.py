"""docs/faults.md: what it says of itself, and of a fault that was seen more than once."""

import json
from dataclasses import asdict
from pathlib import Path

from tests.pair.noted import HEAD, Noted, page

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_the_one_that_is_written() -> None:
    """Its text and columns are those of the generator. Broken by: changing one of them only."""
    assert (ROOT / "docs/faults.md").read_text().startswith(HEAD)


def test_the_worst_of_several_runs_is_shown() -> None:
    """A run again can add a bad figure, and take none away. Broken by: keeping the last row."""
    bad = Noted("f", silent_ms=None, outage_ms=221.0, lost=21, both_ran_ms=0.0, evidence="none")
    good = Noted("f", silent_ms=-1.0, outage_ms=40.0, lost=3, both_ran_ms=5.0, evidence="none")
    row = "| f | -1 ms | 221 ms | 21 | 5 ms | none |\n"
    for runs in ((bad, good), (good, bad)):
        assert page([json.dumps(asdict(run)) for run in runs]) == HEAD + row
