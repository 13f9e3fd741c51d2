"""Settings that the model worlds run: four connections that differ in everything that a decision looks at."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Final

from swanherd.core.intent import Child, Connection, Intent, Interface
from swanherd.core.words import Start

VIP_WAN: Final = ip_address("192.0.2.10")
VIP_LTE: Final = ip_address("198.51.100.10")
OWN: Final = ip_address("192.0.2.130")
PEER: Final = "203.0.113.20"
PEER_2: Final = "203.0.113.30"

WAN: Final = Interface("wan", "eth0", (VIP_WAN,))
LTE: Final = Interface("lte", "eth1", (VIP_LTE,))
LAB: Final = Interface("lab", "eth2")
"""Without a VIP: its device's own address."""

INTERFACES: Final = {"wan": WAN, "lte": LTE, "lab": LAB}


def child(name: str, number: int, *, start: Start | None = None) -> Child:
    """A CHILD_SA with selectors of its own."""
    return Child(name, (f"10.1.{number}.0/24",), (f"10.2.{number}.0/24",), start=start)


ALPHA: Final = Connection("alpha", ("wan",), (PEER,), (child("alpha-1", 1), child("alpha-2", 2)), priority=5)
"""One interface; connects two children."""
BETA: Final = Connection("beta", ("wan", "lte"), (PEER,), (child("beta-1", 3),))
"""Two interfaces: the default route chooses."""
GAMMA: Final = Connection(
    "gamma", ("lte",), (PEER_2,), (child("gamma-1", 4, start=Start.ON_DEMAND), child("gamma-2", 5))
)
"""A trap beside a child that connects."""
DELTA: Final = Connection("delta", ("lab",), ("0.0.0.0",), (child("delta-1", 6),), start=Start.RESPOND)
"""Waits for anybody, on an own address."""


@dataclass(frozen=True, slots=True)
class Settings:
    """One version of the settings file."""

    intent: Intent
    secrets: Mapping[str, str]
    """The versions of the secrets, by connection."""


def settings(*connections: Connection, version: str = "s1") -> Settings:
    """A settings file with these connections."""
    named = {connection.name: connection for connection in connections}
    return Settings(Intent(INTERFACES, named), dict.fromkeys(named, version))


SEVERAL: Final = replace(ALPHA, remote=(PEER, PEER_2), remote_id="peer.example")
"""Two endpoints, one after the other."""

VERSIONS: Final = {
    "all": settings(ALPHA, BETA, GAMMA, DELTA),
    "one": settings(ALPHA),
    "none": settings(),
    "several": settings(SEVERAL, BETA, GAMMA, DELTA),
    "remote": settings(replace(ALPHA, remote=(PEER_2,)), BETA, GAMMA, DELTA),
    "secret": settings(ALPHA, BETA, GAMMA, DELTA, version="s2"),
    "child": settings(
        replace(ALPHA, children=(child("alpha-1", 7), child("alpha-3", 2))), replace(BETA, rekey_s=7200), GAMMA, DELTA
    ),
    "trap": settings(ALPHA, replace(GAMMA, children=(child("gamma-1", 8, start=Start.ON_DEMAND), child("gamma-2", 5)))),
    "start": settings(replace(ALPHA, start=Start.ON_DEMAND), replace(GAMMA, start=Start.RESPOND), DELTA),
    "untrapped": settings(
        ALPHA, BETA, replace(GAMMA, children=(child("gamma-1", 4, start=Start.RESPOND), child("gamma-2", 5))), DELTA
    ),
    "policy": settings(ALPHA, replace(BETA, source_by="route-to-endpoint"), GAMMA, DELTA),
    "moved": settings(replace(ALPHA, interfaces=("lte",)), replace(DELTA, interfaces=("wan",))),
}
