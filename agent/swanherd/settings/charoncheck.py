"""Where charon's own configuration gets in the way of ours: warnings, as charon may be run elsewhere.

Read by ``swanherd check`` only. What is loaded has one literal source, which charon keeps whatever its watching of
routes and addresses sees; but a device that it was told to ignore it neither watches nor takes for its own.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from swanherd.core.intent import Connection
from swanherd.settings.fragments import Key, dotted
from swanherd.settings.loading import Settings
from swanherd.settings.notation import ANY_INTERFACE
from swanherd.settings.problems import Problem
from swanherd.settings.swanctlconf import values

SECTIONS: Final = ("charon", "charon-systemd")
"""Which charon reads them: all, and the one of systemd's unit, whose word counts."""


def compare_charon(settings: Settings) -> tuple[Problem, ...]:
    """Everything in strongswan.conf that does not go with the settings; nothing if there is no such file."""
    found = values(Path(settings.options.strongswan_conf))
    said = list(_everything(settings, found))
    return tuple(Problem(settings.merged.origin(key), dotted(key), rule) for key, rule in said)


def _everything(settings: Settings, found: Mapping[tuple[str, ...], str]) -> Iterator[tuple[Key, str]]:
    used, ignored = (_devices(found, key) for key in ("interfaces_use", "interfaces_ignore"))
    for name, interface in settings.intent.interfaces.items():
        where = ("interfaces", name, "device")
        if used and interface.device not in used:
            yield where, f"charon uses {', '.join(sorted(used))} only (interfaces_use in strongswan.conf)"
        elif not used and interface.device in ignored:
            yield where, f"charon ignores {interface.device} (interfaces_ignore in strongswan.conf)"
    for connection in settings.intent.connections.values():
        yield from _connection(connection, used or ignored)


def _connection(connection: Connection, chosen: frozenset[str]) -> Iterator[tuple[Key, str]]:
    key = ("connections", connection.name)
    if chosen and connection.interfaces == (ANY_INTERFACE,):
        yield (*key, "interfaces"), "the default route may leave by a device that strongswan.conf keeps from charon"
    if connection.mobike and (len(connection.interfaces) > 1 or connection.interfaces == (ANY_INTERFACE,)):
        rule = (
            "charon moves the tunnel by its own view of routes (roaming), and swanherd by the default route: they will "
            "not always agree; without it charon keeps the one source that it is given"
        )
        yield (*key, "mobike"), rule


def _devices(found: Mapping[tuple[str, ...], str], key: str) -> frozenset[str]:
    text = ""
    for section in SECTIONS:
        text = found.get((section, key), text)
    return frozenset(text.replace(",", " ").split())
