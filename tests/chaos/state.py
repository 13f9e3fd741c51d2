"""What is in force: the condition of everything that faults act on, as the sequence has made it. Pure.

The generator needs no pair to know what it may do next, so one seed is one sequence wherever it runs.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum, unique
from types import MappingProxyType
from typing import Final

from tests.lab.keepalived import DEMOTION, PRIORITIES
from tests.lab.topology import GATEWAYS

PAIR: Final = "pair"
"""Where a fault is that belongs to no gateway."""
PLACES: Final = (*GATEWAYS, PAIR)


@unique
class Thing(StrEnum):
    """What a fault acts on."""

    GATEWAY = "gateway"
    KEEPALIVED = "keepalived"
    AGENT = "agent"
    CHARON = "charon"
    BUS = "message bus"
    """Only where keepalived is on it."""
    WAN = "wan cable"
    LAN = "lan cable"
    PRIORITY = "priority"
    PATH = "path of the adverts"
    """Of the pair."""
    PEER = "peer"
    """Of the pair."""


WELL: Final = "well"
PROCESSES: Final = (Thing.KEEPALIVED, Thing.AGENT, Thing.CHARON)
OF_A_GATEWAY: Final = (*PROCESSES, Thing.BUS, Thing.WAN, Thing.LAN, Thing.PRIORITY)
"""All that a power cycle mends, beside the gateway itself."""


@dataclass(frozen=True, slots=True)
class State:
    """Every thing's condition; a thing that is not named is well."""

    ill: Mapping[tuple[str, Thing], str] = field(default_factory=lambda: MappingProxyType({}))

    def of(self, where: str, thing: Thing) -> str:
        """The condition of a thing."""
        return self.ill.get((where, thing), WELL)

    def well(self, where: str, *things: Thing) -> bool:
        """Whether all of these are well."""
        return all(self.of(where, thing) == WELL for thing in things)

    def with_(self, where: str, thing: Thing, condition: str) -> "State":
        """The state in which a thing has another condition."""
        ill = {key: value for key, value in self.ill.items() if key != (where, thing)}
        if condition != WELL:
            ill[where, thing] = condition
        return State(MappingProxyType(ill))

    def mended(self, where: str, *things: Thing) -> "State":
        """The state in which these are well."""
        state = self
        for thing in things:
            state = state.with_(where, thing, WELL)
        return state

    def __str__(self) -> str:
        return (
            ", ".join(f"{where}: {thing} {condition}" for (where, thing), condition in self.ill.items()) or "all well"
        )

    def __iter__(self) -> Iterator[tuple[str, Thing]]:
        return iter(self.ill)


def expected_runner(state: State) -> str | None:
    """Which gateway must run the tunnel in the long run, if nothing else happens; None: nothing is promised.

    It is promised where VRRP has one master that can be told, all that the master needs is well, and the other gateway
    can be relied on to be silent.
    """
    if state.of(PAIR, Thing.PATH) != WELL:
        return None
    able = [gateway for gateway in GATEWAYS if _speaks(state, gateway)]
    if not able:
        return None
    master = max(able, key=lambda gateway: _priority(state, gateway))
    others = [gateway for gateway in GATEWAYS if gateway != master]
    if not state.well(master, Thing.AGENT, Thing.CHARON) or not all(_is_quiet(state, other) for other in others):
        return None
    return master


def _speaks(state: State, gateway: str) -> bool:
    """Whether its VRRP daemon can be the master."""
    return state.well(gateway, Thing.GATEWAY, Thing.KEEPALIVED, Thing.WAN, Thing.LAN)


def _priority(state: State, gateway: str) -> int:
    return dict(zip(GATEWAYS, PRIORITIES, strict=True))[gateway] + (
        0 if state.well(gateway, Thing.PRIORITY) else DEMOTION
    )


def _is_quiet(state: State, gateway: str) -> bool:
    """Whether a gateway that is not the master surely answers for no virtual address and runs nothing."""
    condition = state.of(gateway, Thing.GATEWAY)
    if condition != WELL:
        return condition == "off"
    # An address that was left behind is silenced by the agent; a daemon that works has left none.
    return state.well(gateway, Thing.AGENT) or _speaks(state, gateway)
