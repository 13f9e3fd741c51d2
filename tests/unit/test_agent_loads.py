"""What the agent has in memory for as long as it runs: nothing that only a person's question needs."""

import subprocess
import sys
from typing import Final

ONLY_ASKED_FOR: Final = ("advice", "lint", "charoncheck", "vrrpcheck", "keepalivedconf", "faults", "reference")
"""Of ``swanherd.settings``: a third of a megabyte."""
LOADED: Final = """
import sys
import swanherd.app.launch, swanherd.cli.parser, swanherd.cli.run
print(*sys.modules)
"""


def test_what_only_advises_is_not_loaded() -> None:
    """Broken by: ``settings/__init__`` importing ``check``."""
    said = subprocess.run([sys.executable, "-c", LOADED], check=True, capture_output=True, text=True).stdout.split()
    assert "swanherd.settings.loading" in said
    assert not {f"swanherd.settings.{name}" for name in ONLY_ASKED_FOR} & set(said)
