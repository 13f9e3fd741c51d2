"""Results on disk, and on their way there from a machine that keeps nothing."""

import json
from pathlib import Path

from tests.bench.cases import SMOKE
from tests.bench.store import Store, heard, told


def _kept(directory: Path) -> dict[str, dict[str, object]]:
    kept: dict[str, dict[str, object]] = json.loads((directory / "smoke.json").read_text())["runs"]
    return kept


def test_what_is_there_is_not_measured_again(tmp_path: Path) -> None:
    """A bench that was ended goes on."""
    Store(tmp_path).put(SMOKE, "limit", 0, {"up": 1}, on={})

    assert Store(tmp_path).has(SMOKE, "limit", 0)
    assert not Store(tmp_path).has(SMOKE, "limit", 1)
    assert not Store(tmp_path).has(SMOKE, "swanherd", 0)


def test_measured_anew_nothing_of_before_is_left(tmp_path: Path) -> None:
    """Of that contestant; nor what somebody wrote about the runs that were there."""
    store = Store(tmp_path)
    store.put(SMOKE, "limit", 0, {"up": 1}, on={})
    store.put(SMOKE, "limit", 1, {"up": 1}, on={})
    store.put(SMOKE, "swanherd", 0, {"up": 1}, on={})
    path = tmp_path / "smoke.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "notes": ["a bad day"]}))

    store.forget(SMOKE, "limit")
    store.put(SMOKE, "limit", 0, {"up": 0}, on={})

    assert _kept(tmp_path) == {"swanherd": {"0": {"up": 1}}, "limit": {"0": {"up": 0}}}
    assert "notes" not in json.loads(path.read_text())


def test_a_result_passes_through_a_line_of_text() -> None:
    """Other lines are none."""
    result = heard(told(SMOKE, "limit", 2, {"up": 1, "vip_ms": 1.23456}) + "\n")

    assert result is not None
    assert (result["case"], result["by"], result["turn"]) == ("smoke", "limit", 2)
    assert result["figures"] == {"up": 1, "vip_ms": 1.235}
    assert heard("[1/3    5 s] smoke limit: ...\n") is None
