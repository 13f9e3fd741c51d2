"""The pair that faults are made on, and the injector's own notes: what only it knows, and when it was so.

Somebody else's things are on both gateways too (a connection, a firewall table, a route), which nothing may touch.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from enum import Enum, unique
from typing import Final

from tests.chaos.oracle import Event, Kind
from tests.chaos.processor import Processor
from tests.lab.agent_conf import INTERFACE, LAN, agent_conf
from tests.lab.charon import Tunnel, swanctl_conf
from tests.lab.hosts import Host
from tests.lab.keepalived import Vrrp
from tests.lab.lab import Lab
from tests.lab.pair import Gateway, Pair
from tests.lab.partition import Partition
from tests.lab.peer import NAME
from tests.lab.runner import Agent
from tests.lab.standin import StandIn
from tests.lab.topology import address, vip

SHORT: Final = {"retransmit_timeout": "0.3", "retransmit_tries": "2"}
"""A silent peer is given up after 0.3, 0.54 and 0.97 s, not after charon's 165 s."""
SETTINGS: Final = "retry_min_s = 0.2\nretry_max_s = 1.0"
WITH_BUS: Final = ', evidence = ["dbus", "adverts", "process"] }\n'
DPD_S: Final = {True: 1, False: 60}
"""How soon a peer that was restarted is missed, where that is to be fast and where it is to be no help."""
GHOST_S: Final = 0.02
"""One packet of each kind from the stand-in so often; slower than in the rows of the fault table, since it runs all the
time beside everything else."""

SWITCH_S: Final = 0.0005
"""How soon a thread that wants the interpreter gets it: what reads addresses must not wait for what decodes packets."""

THEIRS: Final = Tunnel(
    name="theirs",
    local_id="ours.example",
    remote_id="theirs.example",
    local_ts="192.0.2.64/26",
    remote_ts="192.0.2.128/26",
    remote_addrs="192.0.2.77",
    secret="nobody's business",  # noqa: S106 - of the lab only
)
THEIR_TABLE: Final = (
    "table inet theirs {\n\tset addresses {\n\t\ttype ipv4_addr\n\t\telements = { 192.0.2.77 }\n\t}\n}\n"
)
THEIR_ROUTE: Final = ("192.0.2.0/24", "dev", "lan", "proto", "99")


@unique
class Out(Enum):
    """Why an agent cannot act; several may hold."""

    DEAD = "dead"
    FROZEN = "frozen"
    STANDS = "its gateway stands still"
    OFF = "its gateway is off"


class Site:
    """A running pair, what the injector notes of it, and what faults need that the lab does not have."""

    def __init__(self, pair: Pair, *, ghosts: bool) -> None:
        self.pair = pair
        self.ghosts = ghosts
        """Whether a stand-in sends IPsec from the virtual address on both gateways, all the time."""
        self.notes: list[Event] = []
        self._out: dict[str, set[Out]] = {gateway.name: set() for gateway in pair.gateways}
        self._stand_ins: dict[str, StandIn] = {}
        self.processor = Processor({gateway.name: gateway.agent for gateway in pair.gateways})
        """For how long each agent waited for the processor."""

    def gateway(self, where: str) -> Gateway:
        """The gateway of a place; the first one for the pair's."""
        return self.pair.b if where == self.pair.b.name else self.pair.a

    # --- notes ----------------------------------------------------------------------------------------------------

    def _note(self, at: Gateway, kind: Kind, what: str = "") -> None:
        self.notes.append(Event(time.monotonic(), at.name, kind, what))

    def out(self, at: Gateway, why: Out) -> None:
        """The agent is about to be unable to act."""
        if not self._out[at.name]:
            self._note(at, Kind.AGENT_OUT, why.value)
        self._out[at.name].add(why)

    def back(self, at: Gateway, *why: Out) -> None:
        """These reasons hold no more."""
        self._out[at.name] -= set(why)
        if not self._out[at.name]:
            self._note(at, Kind.AGENT_IN)

    # --- what faults need -----------------------------------------------------------------------------------------

    def load_all(self, at: Gateway) -> None:
        """``swanctl --load-all``, with a swanctl.conf in which nothing is ours."""
        at.host.run("swanctl", "--load-all")

    def flush_ruleset(self, at: Gateway) -> None:
        """Remove every firewall table; whoever owned one puts it back."""
        self._note(at, Kind.TABLES_GONE)
        at.host.run("nft", "flush", "ruleset")
        at.host.run("nft", "-f", "-", text_in=THEIR_TABLE)

    def power_off(self, at: Gateway) -> None:
        """Cut all links, then kill everything."""
        self.out(at, Out.OFF)
        self._note(at, Kind.TABLES_GONE)
        self._exorcise(at)
        at.power_off()

    def power_on(self, at: Gateway) -> None:
        """Boot again, everything started anew, theirs too."""
        self.pair.lab.power_on(at.host)
        self.dress(at.host)
        at.boot()
        self.load_all(at)
        self.back(at, *Out)
        self.haunt(at)

    def plug_in(self, at: Gateway, net: str) -> None:
        """Plug a cable in again."""
        if net == "wan1":
            self._note(at, Kind.CABLE_BACK)
        at.restore(net)

    def part(self, how: Partition) -> None:
        """The gateways do not hear each other's adverts."""
        if how is Partition.IN_THE_GATEWAYS:
            self._both(Kind.MUTE)
        how.make(self.pair.lab)

    def join(self, how: Partition) -> None:
        """They do again."""
        how.heal(self.pair.lab)
        if how is Partition.IN_THE_GATEWAYS:
            self._both(Kind.AUDIBLE)

    def _both(self, kind: Kind) -> None:
        for gateway in self.pair.gateways:
            self._note(gateway, kind)

    # --- somebody else's, and the stand-ins -----------------------------------------------------------------------

    @staticmethod
    def dress(host: Host) -> None:
        """Put somebody else's things on a host on which nothing runs."""
        host.write("/etc/swanctl/swanctl.conf", swanctl_conf(THEIRS), mode=0o600)
        host.run("nft", "-f", "-", text_in=THEIR_TABLE)
        host.run("ip", "route", "add", *THEIR_ROUTE)

    def haunt(self, at: Gateway) -> None:
        """Let a stand-in send IPsec from the virtual address for as long as the gateway has power."""
        if self.ghosts:
            ghost = StandIn(at.host, address("peer", "wan1"), source=vip("wan1"), every_s=GHOST_S)
            self._stand_ins[at.name] = ghost.__enter__()

    def _exorcise(self, at: Gateway) -> None:
        ghost = self._stand_ins.pop(at.name, None)
        if ghost is not None:
            ghost.__exit__(None, None, None)

    def close(self) -> None:
        """End what only the site runs."""
        self.processor.close()
        for gateway in self.pair.gateways:
            self._exorcise(gateway)


@contextmanager
def chaos_site(*, ghosts: bool, bus: bool, dpd: bool) -> Iterator[Site]:
    """A pair that is well, ready for faults: charons and agents that give a silent peer up soon."""
    sys.setswitchinterval(SWITCH_S)
    interfaces = (INTERFACE + LAN).replace(" }\n", WITH_BUS) if bus else INTERFACE + LAN
    conf = agent_conf(interfaces=interfaces, agent=SETTINGS)
    text = conf.text.replace(f"[connections.{NAME}]\n", f"[connections.{NAME}]\ndpd_delay_s = {DPD_S[dpd]}\n")
    with Lab() as lab, ExitStack() as stack:
        pair = Pair(lab, lambda host: Agent(host, text, files=conf.files), Vrrp(dbus=bus))
        for gateway in pair.gateways:
            gateway.charon.options = dict(SHORT)
            Site.dress(gateway.host)
        pair.start()
        site = Site(pair, ghosts=ghosts)
        stack.callback(site.close)
        for gateway in pair.gateways:
            site.load_all(gateway)
            site.haunt(gateway)
        yield site
