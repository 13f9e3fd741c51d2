"""docs/features.md: what proves a feature is there, and so is every example."""

import ast
import re
from pathlib import Path
from typing import Final

import pytest

from swanherd.settings.reference import TABLES

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = (ROOT / "docs/features.md").read_text()
TESTS: Final = sorted(set(re.findall(r"`([a-z0-9_/]+)::(\w+)`", PAGE)))
ROWS: Final = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| ")][1:]


@pytest.mark.parametrize(("module", "name"), TESTS, ids=lambda part: part)
def test_every_test_is_there(module: str, name: str) -> None:
    """Each test that the page names is one. Broken by: renaming one of them only."""
    tree = ast.parse((ROOT / "tests" / f"{module}.py").read_text())
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert name in names


def test_every_row_is_proven() -> None:
    """Each row has all five columns, a setting that there is, and a test. Broken by: a row without one."""
    fields = {name for table in TABLES.values() for name in table.model_fields}
    assert len(ROWS) > 20
    for row in ROWS:
        assert len(row) == 5, row[0]
        assert set(re.findall(r"`(\w+)`", row[1])) & fields == set(re.findall(r"`(\w+)`", row[1])) != set(), row[0]
        assert "::" in row[3], row[0]


def test_every_example_is_named() -> None:
    """Each example is linked from the page, and each link leads to one. Broken by: one that nobody is told of."""
    examples = ROOT / "docs/examples"
    there = {
        path.relative_to(ROOT / "docs").as_posix() for path in (*examples.glob("*.toml"), *examples.glob("*/*.toml"))
    }
    assert set(re.findall(r"\]\((examples/[^)]+)\)", PAGE)) == there


@pytest.mark.parametrize("example", sorted((ROOT / "docs/examples").rglob("*.toml")), ids=lambda path: path.stem)
def test_every_example_is_run(example: Path) -> None:
    """Each example is used by a test with real gateways. Broken by: one that is only loaded."""
    rings = [path.read_text() for ring in ("pair", "kernel") for path in (ROOT / "tests" / ring).glob("*.py")]
    name = example.relative_to(ROOT / "docs/examples").with_suffix("").as_posix()
    assert any(f'"{name}"' in text or f'{name}.toml"' in text for text in rings)
