"""The faults, as data: what each needs, what stays in force until it is healed, how it is made and how it is healed."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.chaos.site import Out, Site
from tests.chaos.state import OF_A_GATEWAY, PAIR, PROCESSES, WELL, State, Thing
from tests.lab.pair import Gateway
from tests.lab.partition import Partition
from tests.lab.topology import GATEWAYS

Act = Callable[[Site, Gateway], object]

RECORDS: Final = ("/run/swanherd/record.json", "/var/lib/swanherd/record.json")
FROZEN: Final = "frozen"
OFF: Final = "off"
KILLED: Final = "killed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault. At a place of the pair, *make* and *heal* get the first gateway and do not look at it."""

    name: str
    thing: Thing
    make: Act
    becomes: str = WELL
    """The thing's condition until the fault is healed; ``WELL``: it is over at once."""
    heal: Act | None = None
    needs: tuple[Thing, ...] = (Thing.GATEWAY,)
    """What must be well at its place, beside the thing itself, to make it and to heal it."""
    stops_all: bool = False
    """Thawing the gateway would thaw what was frozen alone, so nothing may be."""
    keeps_rules: bool = True
    """Whether the rules by which a gateway is deaf live through it."""
    powered: bool = False
    """Whether both gateways must have power."""
    by_dpd: bool = False
    """Whether only dead peer detection can notice it."""
    mends: tuple[Thing, ...] = ()
    """What is well again at its place when it was made or healed."""
    weight: int = 2
    """How often it is chosen, beside the others."""

    @property
    def places(self) -> tuple[str, ...]:
        """Where it can happen."""
        return (PAIR,) if self.thing in {Thing.PATH, Thing.PEER} else GATEWAYS

    def possible(self, state: State, where: str) -> bool:
        """Whether it can be made now."""
        if not state.well(where, self.thing, *self.needs):
            return False
        if self.stops_all and any(state.of(where, thing) == FROZEN for thing in PROCESSES):
            return False
        if self.powered and any(state.of(gateway, Thing.GATEWAY) == OFF for gateway in GATEWAYS):
            return False
        return self.keeps_rules or state.of(PAIR, Thing.PATH) != Partition.IN_THE_GATEWAYS

    def healable(self, state: State, where: str) -> bool:
        """Whether it is in force and can be healed now."""
        needed = (thing for thing in self.needs if thing is not self.thing)
        return self.heal is not None and state.of(where, self.thing) == self.becomes and state.well(where, *needed)

    def made(self, state: State, where: str) -> State:
        """The state after it was made."""
        return state.mended(where, *self.mends).with_(where, self.thing, self.becomes)

    def healed(self, state: State, where: str) -> State:
        """The state after it was healed."""
        return state.mended(where, self.thing, *self.mends)


# --- keepalived ---------------------------------------------------------------------------------------------------


def _start_keepalived(_: Site, at: Gateway) -> None:
    at.keepalived.start()


def _restart_keepalived(_: Site, at: Gateway) -> None:
    at.keepalived.stop()
    at.keepalived.start()


def _kill_vrrp_process(_: Site, at: Gateway) -> None:
    os.kill(at.keepalived.pids()[1], signal.SIGKILL)


# Its start takes a lowered priority back, since it writes the tracked file anew.
_KEEPALIVED: Final = (
    Fault(
        name="keepalived stopped",
        thing=Thing.KEEPALIVED,
        becomes="stopped",
        make=lambda _, at: at.keepalived.stop(),
        heal=_start_keepalived,
        mends=(Thing.PRIORITY,),
        weight=3,
    ),
    Fault(
        name="keepalived killed",
        thing=Thing.KEEPALIVED,
        becomes=KILLED,
        make=lambda _, at: at.keepalived.kill(),
        heal=_start_keepalived,
        mends=(Thing.PRIORITY,),
        weight=4,
    ),
    Fault(
        name="keepalived frozen",
        thing=Thing.KEEPALIVED,
        becomes=FROZEN,
        make=lambda _, at: at.keepalived.freeze(),
        heal=lambda _, at: at.keepalived.thaw(),
        weight=3,
    ),
    Fault(name="keepalived restarted", thing=Thing.KEEPALIVED, make=_restart_keepalived, mends=(Thing.PRIORITY,)),
    Fault(name="keepalived reloaded", thing=Thing.KEEPALIVED, make=lambda _, at: at.keepalived.reload(), weight=1),
    Fault(name="VRRP process killed", thing=Thing.KEEPALIVED, make=_kill_vrrp_process),
    Fault(
        name="priority lowered",
        thing=Thing.PRIORITY,
        needs=(Thing.GATEWAY, Thing.KEEPALIVED),
        becomes="lowered",
        make=lambda _, at: at.keepalived.demote(),
        heal=lambda _, at: at.keepalived.promote(),
    ),
)


# --- swanherd -----------------------------------------------------------------------------------------------------


def _kill_agent(site: Site, at: Gateway) -> None:
    site.out(at, Out.DEAD)
    at.agent.kill()


def _start_agent(site: Site, at: Gateway) -> None:
    at.agent.start()
    site.back(at, Out.DEAD)


def _freeze_agent(site: Site, at: Gateway) -> None:
    site.out(at, Out.FROZEN)
    at.agent.freeze()


def _thaw_agent(site: Site, at: Gateway) -> None:
    at.agent.thaw()
    site.back(at, Out.FROZEN)


def _restart_agent(site: Site, at: Gateway) -> None:
    site.out(at, Out.DEAD)
    at.agent.stop()
    _start_agent(site, at)


def _lose_record(_: Site, at: Gateway) -> None:
    for path in RECORDS:
        at.host.path(path).unlink(missing_ok=True)


def _lose_record_and_agent(site: Site, at: Gateway) -> None:
    _kill_agent(site, at)
    _lose_record(site, at)
    _start_agent(site, at)


_AGENT: Final = (
    Fault(name="agent killed", thing=Thing.AGENT, becomes=KILLED, make=_kill_agent, heal=_start_agent, weight=3),
    Fault(name="agent frozen", thing=Thing.AGENT, becomes=FROZEN, make=_freeze_agent, heal=_thaw_agent, weight=3),
    Fault(name="agent restarted", thing=Thing.AGENT, make=_restart_agent),
    Fault(name="agent reloaded", thing=Thing.AGENT, make=lambda _, at: at.agent.reload(), weight=1),
    Fault(name="record deleted", thing=Thing.AGENT, make=_lose_record, weight=1),
    Fault(name="agent killed, its record deleted, started", thing=Thing.AGENT, make=_lose_record_and_agent, weight=1),
)


# --- charon -------------------------------------------------------------------------------------------------------


def _start_charon(site: Site, at: Gateway) -> None:
    """As its unit does: charon, then ``swanctl --load-all``."""
    at.charon.start()
    site.load_all(at)


def _restart_charon(site: Site, at: Gateway) -> None:
    at.charon.stop()
    _start_charon(site, at)


_CHARON: Final = (
    Fault(
        name="charon killed",
        thing=Thing.CHARON,
        becomes=KILLED,
        make=lambda _, at: at.charon.kill(),
        heal=_start_charon,
        weight=3,
    ),
    Fault(
        name="charon frozen",
        thing=Thing.CHARON,
        becomes=FROZEN,
        make=lambda _, at: at.charon.freeze(),
        heal=lambda _, at: at.charon.thaw(),
    ),
    Fault(name="charon restarted", thing=Thing.CHARON, make=_restart_charon),
    Fault(name="swanctl --load-all", thing=Thing.CHARON, make=lambda site, at: site.load_all(at)),
)


# --- the message bus ----------------------------------------------------------------------------------------------


def _start_bus(site: Site, at: Gateway) -> None:
    """Start it with keepalived, which looks for its bus when it starts, and only then."""
    at.bus.start()
    _restart_keepalived(site, at)


_BUS: Final = (
    Fault(
        name="message bus killed",
        thing=Thing.BUS,
        needs=(Thing.GATEWAY, Thing.KEEPALIVED),
        becomes=KILLED,
        make=lambda _, at: at.bus.kill(),
        heal=_start_bus,
        mends=(Thing.PRIORITY,),
    ),
)


# --- the gateway, its cables and its rules ------------------------------------------------------------------------


def _freeze(site: Site, at: Gateway) -> None:
    site.out(at, Out.STANDS)
    at.host.freeze()


def _thaw(site: Site, at: Gateway) -> None:
    at.host.thaw()
    site.back(at, Out.STANDS)


_GATEWAY: Final = (
    Fault(
        name="power off",
        thing=Thing.GATEWAY,
        becomes=OFF,
        make=lambda site, at: site.power_off(at),
        heal=lambda site, at: site.power_on(at),
        mends=OF_A_GATEWAY,
        keeps_rules=False,
    ),
    Fault(
        name="gateway frozen", thing=Thing.GATEWAY, becomes=FROZEN, make=_freeze, heal=_thaw, stops_all=True, weight=3
    ),
    Fault(
        name="WAN cable out",
        thing=Thing.WAN,
        becomes="out",
        make=lambda _, at: at.cut("wan1"),
        heal=lambda site, at: site.plug_in(at, "wan1"),
    ),
    Fault(
        name="LAN cable out",
        thing=Thing.LAN,
        becomes="out",
        make=lambda _, at: at.cut("lan"),
        heal=lambda site, at: site.plug_in(at, "lan"),
    ),
    Fault(
        name="nft flush ruleset",
        thing=Thing.GATEWAY,
        make=lambda site, at: site.flush_ruleset(at),
        keeps_rules=False,
    ),
)


# --- the pair -----------------------------------------------------------------------------------------------------


def _parted(how: Partition) -> Fault:
    return Fault(
        name=f"partition ({how})",
        thing=Thing.PATH,
        becomes=how,
        needs=(),
        powered=how is Partition.IN_THE_GATEWAYS,
        make=lambda site, _: site.part(how),
        heal=lambda site, _: site.join(how),
    )


def _restart_peer(site: Site, _: Gateway) -> None:
    site.pair.peer.charon.stop()
    site.pair.peer.start()


def _kill_peer(site: Site, _: Gateway) -> None:
    site.pair.peer.charon.kill()
    site.pair.peer.start()


_PAIR: Final = (
    *(_parted(how) for how in Partition),
    # Its goodbye may not be heard, by a gateway that stands still.
    Fault(name="peer's charon restarted", thing=Thing.PEER, needs=(), by_dpd=True, make=_restart_peer),
    Fault(name="peer's charon killed and started", thing=Thing.PEER, needs=(), by_dpd=True, make=_kill_peer),
    Fault(
        name="neighbour caches flushed",
        thing=Thing.PEER,
        needs=(),
        make=lambda site, _: site.pair.lab.flush_neighbours(),
    ),
)

FAULTS: Final = (*_KEEPALIVED, *_AGENT, *_CHARON, *_BUS, *_GATEWAY, *_PAIR)
