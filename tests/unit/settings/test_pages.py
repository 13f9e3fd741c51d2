"""What is committed beside the code: the JSON Schema, the reference pages and the examples say what the code does."""

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

from swanherd.settings import load
from swanherd.settings.reference import TABLES, about, reload_page, settings_page
from swanherd.settings.schema import schema, text

from .conftest import SECRET, SMALLEST, Folder

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "docs/examples"
SECRETS = ("branch.psk", "van-7.psk")


@pytest.mark.parametrize(
    ("file", "current"),
    [
        ("agent/swanherd/settings/schema.json", text),
        ("docs/reference/settings.md", settings_page),
        ("docs/reference/reload.md", reload_page),
    ],
    ids=["schema", "settings", "reload"],
)
def test_committed_is_current(file: str, current: object) -> None:
    """The committed file is what the code writes today (``make pages`` brings it up to date)."""
    assert callable(current)
    assert (ROOT / file).read_text() == current()


def test_schema_has_all_and_nothing_is_required() -> None:
    """The schema is of one file: it knows every field, forbids unknown ones, requires none, and knows no null."""
    tree = schema()
    for table in TABLES.values():
        node = tree["$defs"][table.__name__]
        assert node["properties"].keys() == table.model_fields.keys()
        assert node["additionalProperties"] is False
        assert all(field["description"] for field in node["properties"].values())
    assert not [word for word in ('"required"', '"null"', '"title": "') if word in json.dumps(tree["$defs"])]


PLACES = {
    "interfaces.NAME": "interfaces.wan",
    "connections.NAME": "connections.branch",
    "children.NAME": "children.net",
}

CERTIFIED: dict[str, object] = {
    "auth": "certificate", "certificate_file": "moon.pem", "key_file": "moon.key", "key_passphrase_file": "moon.pass",
    "ca_files": ["ca.pem"],
}  # fmt: skip
"""A connection with a certificate, where a field belongs to one."""

BESIDE: dict[str, dict[str, object]] = {
    "xfrm_interface": {"name": "x", "if_id": 7},
    "gre_interface": {"name": "x"},
    "vrrp": {"instance": "VI_WAN1", "vrid": 51},
}
"""What a table needs beside some of its fields."""

SEVERAL: dict[str, object] = {"remote": ["203.0.113.20", "203.0.113.21"], "remote_id": "peer.example"}
TRANSPORT = {"mode": "transport", "children": {"net": {"local": ["dynamic[gre]"], "remote": ["dynamic[gre]"]}}}
"""What a GRE device needs in its connection."""
BEFORE: dict[str, dict[str, object]] = {
    "[connections.NAME] prefer_first": SEVERAL,
    "[connections.NAME] remote": SEVERAL,
}
"""What a field needs in its own table."""

FIELDS = [
    pytest.param(heading, field, id=f"{heading} {field}")
    for heading, table in TABLES.items()
    for field in table.model_fields
]


@pytest.mark.parametrize(("heading", "name"), FIELDS)
def test_example_of_a_field(folder: Folder, heading: str, name: str) -> None:
    """The example of each field is valid where the page shows it: it loads, or it is what the page says is not yet."""
    field = TABLES[heading].model_fields[name]
    where = heading.strip("[]")
    for placeholder, real in PLACES.items():
        where = where.replace(placeholder, real)
    raw: dict[str, Any] = tomllib.loads(SMALLEST)
    node: dict[str, Any] = raw
    for part in where.split("."):
        node = node.setdefault(part, dict(BESIDE.get(part, {})))
    example = tomllib.loads(about(field).example)
    assert name in example
    if name in CERTIFIED and name != "auth":
        del node["psk_file"]
        node.update(CERTIFIED)
    node.update(BEFORE.get(f"{heading} {name}", {}))
    if "gre_interface" in (name, where.rpartition(".")[2]):
        raw["connections"]["branch"] |= TRANSPORT
    node.update(example)
    if name == "psk":
        raw["agent"] = {"allow_inline_secrets": True}
        del node["psk_file"]
    folder.write(_toml(raw))
    folder.load()


def _toml(raw: dict[str, object]) -> str:
    """JSON's values are TOML's for all that the settings have: text, numbers, booleans, lists."""
    lines: list[str] = []

    def walk(node: dict[str, object], path: str) -> None:
        for key, value in node.items():
            if isinstance(value, dict):
                walk(value, f"{path}{key}.")
            else:
                lines.append(f"{path}{key} = {json.dumps(value)}")

    walk(raw, "")
    return "\n".join(lines)


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.toml")), ids=lambda file: file.stem)
def test_example_file(folder: Folder, example: Path) -> None:
    """Every example file loads as it stands."""
    for name in SECRETS:
        folder.secret(name, SECRET)
    shutil.copy(example, folder.main)
    assert folder.load().intent.connections


@pytest.mark.parametrize(("gateway", "device"), [("gateway-a", "wan1"), ("gateway-b", "enp3s0")])
def test_example_pair(tmp_path: Path, folder: Folder, gateway: str, device: str) -> None:
    """Both gateways of the example load the same main file with a conf.d of their own."""
    shutil.copy(EXAMPLES / "pair/swanherd.toml", folder.main)
    shutil.copytree(EXAMPLES / "pair" / gateway, tmp_path, dirs_exist_ok=True)
    settings = load(folder.main)
    assert settings.intent.interfaces["wan"].device == device
    assert settings.intent.connections["branch"].children[0].local_ts == ("10.10.0.0/24",)
