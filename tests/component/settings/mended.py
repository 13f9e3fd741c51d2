"""Drawn settings made valid: what breaks a rule is changed until none is broken."""

import json
import re
from pathlib import Path
from typing import Any, Final

from hypothesis import reject

from swanherd.settings import Settings, SettingsError, load
from swanherd.settings.connection import ConnectionTable
from tests.component.settings.drawn import CERTIFIED, Raw

PLAIN: Final[Raw] = {"psk_file": "office.psk", "remote_id": "sun.example", "start": "responder-only"}
"""What a rule may demand."""
TRANSPORT: Final[Raw] = {
    "mode": "transport",
    "children": {"gre": {"local": ["dynamic[gre]"], "remote": ["dynamic[gre]"]}},
}
"""What a GRE device demands."""
DEMANDING: Final = ("mode", "encryption", "ike_version", "split", "ip_version", "xfrm_interface")
"""Fields of a connection that demand something of what it cannot be without."""
REPAIRS: Final = 12
"""Rounds; what is not valid then is given up."""
_PART: Final = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


def made_valid(raw: Raw, folder: Path) -> Settings:
    """Settings from *raw*, which is changed until it breaks no rule: what one refuses goes, what one demands comes."""
    for _ in range(REPAIRS):
        (folder / "swanherd.toml").write_text("".join(f"{key} = {toml(value)}\n" for key, value in raw.items()))
        try:
            return load(folder / "swanherd.toml")
        except SettingsError as error:
            problems = error.problems
        for problem in problems:
            _mend(raw, [int(place) if place else name for place, name in _PART.findall(problem.key)])
    return reject()


def _mend(raw: Raw, path: list[str | int]) -> None:
    if path[0] != "connections" or len(path) == 2:
        any(_drop(raw, path[:length]) for length in range(len(path), 0, -1))
        return
    connection = raw.get("connections", {}).get(path[1])
    if connection is None:
        return
    field = path[2]
    if (
        field == "gre_interface"
        and len(path) == 3
        and "gre_interface" in connection
        and connection.get("mode") != "transport"
    ):
        connection |= TRANSPORT
        connection.pop("xfrm_interface", None)
    elif field == "psk" and connection.get("auth") != "certificate":
        connection.pop("psk_file", None)
        raw.setdefault("agent", {})["allow_inline_secrets"] = True
    elif field in CERTIFIED and connection.get("auth") == "certificate":
        connection |= CERTIFIED
    elif field in PLAIN and field not in connection:
        connection[field] = PLAIN[str(field)]
    elif not ConnectionTable.model_fields[str(field)].is_required():
        _drop(raw, path)
    else:
        _give_in(raw, connection, path)


def _give_in(raw: Raw, connection: Raw, path: list[str | int]) -> None:
    """Something that a connection cannot be without is refused: a part of it goes, or what demands too much."""
    field = path[2]
    if len(path) > 3 and (field != "children" or len(path) > 5) and _drop(raw, path):
        return
    for demanding in DEMANDING:
        if connection.pop(demanding, None) is not None:
            return
    raw["connections"].pop(path[1])


def _drop(raw: Any, path: list[str | int]) -> bool:
    """Take away what is at *path*; False: it is not there, or a list that must not be empty would be."""
    *above, last = path
    for part in above:
        if isinstance(raw, dict) and part not in raw:
            return False
        raw = raw[part]
    if isinstance(raw, dict):
        return raw.pop(last, None) is not None
    if isinstance(raw, list) and isinstance(last, int) and 1 < len(raw) > last:
        del raw[last]
        return True
    return False


def toml(value: Any) -> str:
    """A value in TOML, on one line."""
    match value:
        case bool():
            return str(value).lower()
        case dict():
            return "{" + ", ".join(f"{json.dumps(key)} = {toml(below)}" for key, below in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(toml, value)) + "]"
        case str():
            return json.dumps(value, ensure_ascii=False)
        case _:
            return str(value)
