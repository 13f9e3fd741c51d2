"""Results on disk: one JSON file a case, written after every run, so that a bench that was ended goes on."""

import json
import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tests.bench.cases import Case
from tests.lab.waiting import PATIENCE

RESULTS: Final = Path(__file__).resolve().parents[2] / "docs" / "bench"

_TOLD: Final = "result "


class Store:
    """The directory of results."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def has(self, case: Case, contestant: str, turn: int) -> bool:
        """Whether this run is there already."""
        return str(turn) in self._read(case)["runs"].get(contestant, {})

    def put(self, case: Case, contestant: str, turn: int, figures: dict[str, Any], *, on: dict[str, Any]) -> None:
        """Keep one run, measured *on* this machine."""
        kept = self._read(case)
        kept["runs"].setdefault(contestant, {})[str(turn)] = rounded(figures)
        kept["measured"] = on
        kept.pop("notes", None)  # somebody's words about the runs that were there
        self._write(case, kept)

    def forget(self, case: Case, contestant: str) -> None:
        """Throw the runs of a contestant away: those of another day do not belong beside new ones."""
        kept = self._read(case)
        if kept["runs"].pop(contestant, None):
            self._write(case, kept)

    def _write(self, case: Case, kept: dict[str, Any]) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        new = self._directory / f".{case.name}.json"
        new.write_text(json.dumps(kept, indent=1) + "\n")
        new.replace(self._directory / f"{case.name}.json")

    def _read(self, case: Case) -> dict[str, Any]:
        path = self._directory / f"{case.name}.json"
        if path.exists():
            kept: dict[str, Any] = json.loads(path.read_text())
            return kept
        return {
            "case": case.name,
            "connections": case.connections,
            "fault": case.fault,
            "advert_s": case.advert_s,
            "limits": case.limits,
            "peers": case.peers,
            "family": case.family,
            "watch_s": case.watch_s,
            "runs": {},
        }


def told(case: Case, contestant: str, turn: int, figures: dict[str, Any]) -> str:
    """One run as a line of text, for :func:`heard`."""
    result = {"case": case.name, "by": contestant, "turn": turn, "figures": rounded(figures), "on": measured_on()}
    return f"{_TOLD}{json.dumps(result)}"


def heard(line: str) -> dict[str, Any] | None:
    """The run that a line tells of; None: of none."""
    if not line.startswith(_TOLD):
        return None
    result: dict[str, Any] = json.loads(line.removeprefix(_TOLD))
    result["on"]["commit"] = _commit()  # a virtual machine has the files and not the history
    return result


def measured_on() -> dict[str, Any]:
    """Where: the kind of machine and the versions, nothing that names it."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "processor": _processor(),
        "kernel": platform.release(),
        "patience": PATIENCE,
        "python": platform.python_version(),
        "keepalived": _version("keepalived", "--version"),
        "strongswan": _version("swanctl", "--version"),
        "commit": _commit(),
    }


def _version(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+\.\d+", done.stdout + done.stderr)
    return found.group() if found else "unknown"


def _commit() -> str:
    """Read from the files: the private root has no git."""
    git = Path(__file__).resolve().parents[2] / ".git"
    try:
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head[:10]
        return (git / head.removeprefix("ref: ")).read_text().strip()[:10]
    except OSError:
        return "unknown"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def rounded(value: Any) -> Any:
    """Floats in it to three digits, however deep."""
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return value
