"""On what something was measured, for people."""

from typing import Any


def machine(on: dict[str, Any]) -> str:
    """When, on what and of which commit, in a line."""
    how = ", an emulated machine, 10 to 20 times slower than a real one" if emulated(on) else ""
    return (
        f"Measured {on['at'][:10]}: {on['cores']} cores ({on['processor']}){how}, Linux {on['kernel']}, "
        f"keepalived {on['keepalived']}, strongSwan {on['strongswan']}, Python {on['python']}, commit {on['commit']}"
    )


def emulated(on: dict[str, Any]) -> bool:
    """Whether it is one that is many times slower than a real one."""
    return bool(on.get("patience", 1) > 1)
