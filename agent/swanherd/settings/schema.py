"""The JSON Schema of the settings, for editors (``#:schema`` in the first line of a file) and other people's tools.

``python -m swanherd.settings.schema`` prints it; ``schema.json`` beside this module is that output, and a test holds
the two together.
"""

import json
import sys
from typing import Any

from swanherd.settings.document import Document

_ABSENT = {"type": "null"}
"""TOML has no null: a key that is not set is not there."""


def schema() -> dict[str, Any]:
    """The schema of one file. Nothing is required in it: what one file lacks another may say (conf.d)."""
    tidy = _tidy(Document.model_json_schema())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **tidy, "title": "swanherd.toml"}


def text() -> str:
    """The schema as it is committed."""
    return json.dumps(schema(), indent=2, sort_keys=True) + "\n"


def _tidy(node: Any) -> Any:  # noqa: ANN401 - any node of a JSON document
    """Without titles (they repeat the key), without null, without ``required``."""
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {key: value for key, value in node.items() if key not in {"title", "required"} or isinstance(value, dict)}
    if kept.get("default", "") is None:
        del kept["default"]
    choices = [choice for choice in kept.pop("anyOf", ()) if choice != _ABSENT]
    if len(choices) == 1:
        kept = {**choices[0], **kept}
    elif choices:
        kept["anyOf"] = choices
    return {key: _tidy(value) for key, value in kept.items()}


if __name__ == "__main__":
    sys.stdout.write(text())
