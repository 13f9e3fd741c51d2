"""``swanherd version``: what a bug report needs."""

import json
import platform
from argparse import Namespace
from importlib import metadata
from typing import Final

from swanherd import __version__
from swanherd.cli.exits import Exit

LIBRARIES: Final = (
    "aiohttp", "dbus-fast", "dnspython", "prometheus-client", "pydantic", "pyroute2", "rich", "structlog", "vici",
)  # fmt: skip


def run(arguments: Namespace) -> int:
    """Print the versions."""
    versions = {"swanherd": __version__, "python": platform.python_version(), "kernel": platform.release()}
    for library in LIBRARIES:
        try:
            versions[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            versions[library] = "missing"
    if arguments.json:
        print(json.dumps(versions, indent=2))
    else:
        print("\n".join(f"{name:<18} {version}" for name, version in versions.items()))
    return Exit.WELL
