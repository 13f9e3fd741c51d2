"""From the merged table to typed tables: every problem at once, in our words, none with a value that may be a secret.

Each interface and each connection is validated by itself, so that a mistake in one hides none in another.
"""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from swanherd.settings.agent import Options
from swanherd.settings.child import ChildTable
from swanherd.settings.connection import ConnectionTable
from swanherd.settings.document import Document
from swanherd.settings.fields import Table
from swanherd.settings.fragments import Key, Merged, dotted
from swanherd.settings.gre import GreInterfaceTable
from swanherd.settings.interface import InterfaceTable, VrrpTable
from swanherd.settings.notation import NAME_RULE, is_name
from swanherd.settings.problems import Problem
from swanherd.settings.xfrm import XfrmInterfaceTable

T = TypeVar("T", bound=Table)


@dataclass(slots=True)
class Tables:
    """What could be understood; ``bad`` are the keys that could not, about which no further rule says anything."""

    merged: Merged
    options: Options = field(default_factory=Options)
    interfaces: dict[str, InterfaceTable] = field(default_factory=dict)
    connections: dict[str, ConnectionTable] = field(default_factory=dict)
    names: frozenset[str] = frozenset()
    """Names of all interfaces, understood or not."""
    bad: set[Key] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)

    def add(self, key: Key, rule: str) -> None:
        """Note a problem, unless something at, above or below its key is wrong already: one mistake, one line."""
        if not any(key[: len(bad)] == bad or bad[: len(key)] == key for bad in self.bad):
            self.problems.append(Problem(self.merged.origin(key), dotted(key), rule))

    def reject(self, key: Key, rule: str) -> None:
        """Note a problem of a value that is not understood at all."""
        self.bad.add(key)
        self.problems.append(Problem(self.merged.origin(key), dotted(key), rule))


def validate(merged: Merged) -> Tables:
    """Every table that can be understood, and every problem with the others."""
    tables = Tables(merged)
    raw = merged.raw
    for name in raw:
        if name not in Document.model_fields:
            tables.reject((name,), _unknown(name, Document))
    tables.options = _table(tables, Options, ("agent",), raw.get("agent", {})) or Options()
    named_interfaces = dict(_named(tables, ("interfaces",), raw.get("interfaces", {})))
    tables.names = frozenset(named_interfaces)
    for name, value in named_interfaces.items():
        if interface := _table(tables, InterfaceTable, ("interfaces", name), value):
            tables.interfaces[name] = interface
    for name, value in _named(tables, ("connections",), raw.get("connections", {})):
        if connection := _table(tables, ConnectionTable, ("connections", name), value):
            tables.connections[name] = connection
    return tables


def _named(tables: Tables, key: Key, value: object) -> Iterator[tuple[str, object]]:
    if not isinstance(value, dict):
        tables.reject(key, f"must be tables: [{dotted(key)}.NAME]")
        return
    for name, below in value.items():
        if is_name(name):
            yield name, below
        else:
            tables.reject((*key, name), NAME_RULE)


def _table(tables: Tables, kind: type[T], key: Key, value: object) -> T | None:
    """Validate one table; where fields are wrong, a second time without them, so that further rules can be checked."""
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=True, include_input=False)
    places = [_place(detail, value) for detail in details]
    for place, detail in zip(places, details, strict=True):
        # A list with a wrong entry is reported as too short as well; the entry says it better.
        if not any(len(other) > len(place) and other[: len(place)] == place for other in places):
            tables.reject((*key, *place), _rule(detail, kind, place))
    try:
        return kind.model_validate(_without(value, places))
    except ValidationError:
        return None


def _place(detail: ErrorDetails, value: object) -> Key:
    """The key in the raw table: pydantic's location without the steps that exist only in its schema."""
    place: list[str | int] = []
    node = value
    for part in detail["loc"]:
        if isinstance(node, dict) and part in node:
            node = node[str(part)]
        elif isinstance(node, list) and isinstance(part, int) and part < len(node):
            node = node[part]
        elif detail["type"] != "missing" or part != detail["loc"][-1]:
            continue
        place.append(part)
    return tuple(place)


def _without(value: object, places: list[Key]) -> object:
    """The table without the wrong fields: a whole child where a child is wrong, else the table's own field."""
    if not isinstance(value, dict):
        return value
    pruned = dict(value)
    for place in places:
        if not place:
            continue
        children = pruned.get("children")
        if place[0] == "children" and len(place) > 1 and isinstance(children, dict):
            pruned["children"] = {name: child for name, child in children.items() if name != place[1]}
        else:
            pruned.pop(str(place[0]), None)
    return pruned


_RULES: Mapping[str, str] = {
    "missing": "is required",
    "string_type": "must be text in quotes",
    "tuple_type": "must be a list in [ ]",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "dict_type": "must be tables, each with a name",
    "literal_error": "must be {expected}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "finite_number": "must be a finite number",
    "too_short": "must not be empty",
    "too_long": "has more than {max_length} entries",
    "string_too_short": "must not be empty",
    "string_too_long": "is longer than {max_length} characters",
    "string_pattern_mismatch": "must match {pattern}",
    "string_unicode": "must be text in UTF-8",
    "value_error": "{error}",
}


def _rule(detail: ErrorDetails, kind: type[Table], place: Key) -> str:
    if detail["type"] == "extra_forbidden":
        return _unknown(str(place[-1]), _kind_at(kind, place[:-1]))
    if detail["type"] == "string_pattern_mismatch" and detail["loc"][-1] == "[key]":
        return NAME_RULE
    template = _RULES.get(detail["type"])
    return template.format(**detail.get("ctx", {})) if template else detail["msg"]


def _kind_at(kind: type[Table], place: Key) -> type[Table]:
    match place:
        case ("children", *_):
            return ChildTable
        case ("vrrp",):
            return VrrpTable
        case ("xfrm_interface",):
            return XfrmInterfaceTable
        case ("gre_interface",):
            return GreInterfaceTable
        case _:
            return kind


def _unknown(name: str, kind: type[Table]) -> str:
    close = difflib.get_close_matches(name, kind.model_fields, n=1)
    return f"unknown key; did you mean '{close[0]}'?" if close else "unknown key"
