"""Whatever is in a file: it loads, or says where and what is wrong; no other error, and no secret told."""

import json
import random
import string
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swanherd.settings import SettingsError, diff, load, load_last_good, save_last_good
from swanherd.settings.lint import check
from swanherd.settings.reference import TABLES, about

from .conftest import SECRET, SMALLEST

SEEDS = st.integers(0, 2**32)
TOKEN = "Tr0ub4dor-and-3"  # noqa: S105 - the secret of the test is no secret

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(string.printable, max_size=20),
    st.sampled_from(
        ["any", "0.0.0.0", "::", "wan", "branch", "dynamic", "10.0.0.0/8", "off", "connect", "", "x" * 999]
    ),
    st.lists(st.text(string.printable, max_size=6) | st.integers(0, 9), max_size=3),
    st.dictionaries(st.text(string.ascii_letters + ".\n\x1b", max_size=6), st.integers(0, 9) | st.text(max_size=4)),
)

AGENT = "\n".join(about(field).example for field in TABLES["[agent]"].model_fields.values())
RICH = f"[agent]\n{AGENT}\n{SMALLEST}"
"""Every option of the agent beside the smallest settings."""


def toml(value: Any) -> str:
    """Any value of the tests as TOML."""
    match value:
        case bool():
            return str(value).lower()
        case float():
            return str(value)
        case dict():
            return "{" + ", ".join(f"{json.dumps(key)} = {toml(below)}" for key, below in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(toml, value)) + "]"
        case _:
            return json.dumps(value).replace("\\u007f", "").replace("\x7f", "")


def places(node: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in the raw settings where something can be put."""
    if isinstance(node, dict):
        for key, below in node.items():
            yield (*above, key)
            yield from places(below, (*above, key))
    elif isinstance(node, list):
        for position in range(len(node)):
            yield (*above, position)


def mutate(raw: Any, seed: int, value: Any) -> None:
    """Replace, delete or add something somewhere."""
    chance = random.Random(seed)
    *path, last = chance.choice(list(places(raw)))
    for part in path:
        raw = raw[part]
    match chance.choice(["replace", "delete", "add"]):
        case "replace" if value is not None:
            raw[last] = value
        case "add" if isinstance(raw, dict) and value is not None:
            raw[chance.choice(["psk", "mode", "auth", "start", "nonsense", "vrrp", "ca_files", "rekey_s"])] = value
        case _:
            del raw[last]


def judge(text: str, folder: Path) -> bool:
    """Load *text*, and say whether it is valid; valid settings survive being kept and compared."""
    (folder / "swanherd.toml").write_text(text)
    (folder / "secrets").mkdir(exist_ok=True)
    (folder / "secrets/branch.psk").write_text(SECRET)
    (folder / "secrets/branch.psk").chmod(0o600)
    try:
        loaded = load(folder / "swanherd.toml")
    except SettingsError as error:
        judge_refusal(error)
        return False
    save_last_good(loaded, folder)
    kept, _ = load_last_good(folder)
    assert kept.intent == loaded.intent
    assert {change.effect for change in diff(kept, loaded)} <= {"nothing"}
    assert TOKEN not in f"{loaded}{check(loaded)}{(folder / 'last-good.json').read_text()}"
    return True


def judge_refusal(refusal: SettingsError) -> None:
    """Each problem has a file, a key and a rule, and stands on one line."""
    assert refusal.problems
    assert all(problem.file and problem.rule for problem in refusal.problems)
    assert all(problem.key or problem.rule.startswith(("is nested", "cannot")) for problem in refusal.problems)
    assert len(str(refusal).splitlines()) == len(refusal.problems)
    assert str(refusal).replace("\n", "").isprintable()
    assert TOKEN not in str(refusal)


def test_rich_settings_load(tmp_path: Path) -> None:
    """What the tests below mutate is valid: what they find is due to the mutation."""
    assert judge(RICH, tmp_path)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(SEEDS, VALUES), min_size=1, max_size=4))
def test_mutated_settings(mutations: list[tuple[int, Any]]) -> None:
    """Valid settings with anything replaced, deleted or added load, or name file, key and rule, one line each."""
    raw = tomllib.loads(RICH)
    for seed, value in mutations:
        if any(places(raw)):
            mutate(raw, seed, value)
    with tempfile.TemporaryDirectory() as folder:
        judge("\n".join(f"{json.dumps(key)} = {toml(value)}" for key, value in raw.items()), Path(folder))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(RICH)), st.integers(0, 12), st.text(string.printable, max_size=8))
def test_mutated_text(start: int, length: int, text: str) -> None:
    """The text of the settings with a piece cut out and another put in loads, or names file, place and rule."""
    with tempfile.TemporaryDirectory() as folder:
        judge(RICH[:start] + text + RICH[start + length :], Path(folder))


@settings(max_examples=100, deadline=None)
@given(SEEDS, VALUES)
def test_inline_secret_stays_secret(seed: int, value: Any) -> None:
    """An inline secret is told by no error, wherever else the settings are wrong."""
    raw = tomllib.loads(RICH)
    branch = raw["connections"]["branch"]
    branch["psk"] = TOKEN
    del branch["psk_file"]
    mutate(raw, seed, value)
    with tempfile.TemporaryDirectory() as folder:
        judge("\n".join(f"{json.dumps(key)} = {toml(value)}" for key, value in raw.items()), Path(folder))
