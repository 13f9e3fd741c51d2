"""What the runs of a case say together: medians and spreads, from the stored results."""

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over the runs of one contestant in one case."""

    middle: float
    least: float
    most: float
    count: int

    def text(self, digits: int = 0) -> str:
        """``12 (10-15)``, or the one value where there is no spread."""
        if self.least == self.most:
            return f"{self.middle:.{digits}f}"
        return f"{self.middle:.{digits}f} ({self.least:.{digits}f}-{self.most:.{digits}f})"


@dataclass(frozen=True, slots=True)
class Measured:
    """One case as it is stored."""

    about: dict[str, Any]

    @property
    def name(self) -> str:
        """The case."""
        return str(self.about["case"])

    def runs(self, by: str) -> list[dict[str, Any]]:
        """The runs of a contestant that came to a verdict."""
        return [run for run in self.about["runs"].get(by, {}).values() if "failed" not in run]

    def failed(self, by: str) -> int:
        """How many came to none."""
        return sum("failed" in run for run in self.about["runs"].get(by, {}).values())

    def spread(self, by: str, figure: str) -> Spread | None:
        """A figure over all runs; None where a run lacks it: "did not happen" is no number."""
        values = [_figure(run, figure) for run in self.runs(by)]
        known = [value for value in values if value is not None]
        if not known or len(known) < len(values):
            return None
        return spread(known)


def undisturbed(run: dict[str, Any], what: str) -> list[float]:
    """Those of the changes in a row (*what*: ``to_init`` or ``to_through``) in which no processor stood still."""
    still: list[float] = run[f"stood_still_{what}_each_ms"]
    values: list[float] = run[f"vip_{what}_each_ms"]
    return [value for value, stood in zip(values, still, strict=True) if not stood]


def spread(values: list[float]) -> Spread:
    """Median, least and most."""
    return Spread(median(values), min(values), max(values), len(values))


def percentile(values: list[float], share: float) -> float:
    """The value that *share* of them do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _figure(run: dict[str, Any], figure: str) -> float | None:
    value: Any = run
    for key in figure.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return None if value is None else float(value)


def read_results(directory: Path) -> dict[str, Measured]:
    """Every case that is stored, by name."""
    found = (Measured(json.loads(path.read_text())) for path in sorted(directory.glob("*.json")))
    return {each.name: each for each in found}
