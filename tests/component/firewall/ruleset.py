"""The ruleset as `nft` sees and changes it, and a firewall under test with all that it told."""

import asyncio
import subprocess
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_network
from typing import Final

from swanherd.core.facts import Flow, Known, Pair, Wire
from swanherd.core.intent import IPAddress, IPNetwork
from swanherd.world.firewall import Firewall

from .stage import PEER, VIP

DEADLINE_S: Final = 5.0
FOREIGN: Final = """
table inet user {
    comment "somebody else's"
    set blocked { type ipv4_addr; flags interval; elements = { 198.51.100.0/24, 203.0.113.7 } }
    counter seen { packets 7 bytes 700 }
    chain input { type filter hook input priority 0; policy accept; ct state established accept; tcp dport 22 accept; }
    chain output { type filter hook output priority 0; policy accept; ip daddr @blocked drop; }
}
table ip swanherd {
    chain mine { type filter hook output priority 0; ip daddr 198.51.100.1 drop; }
}
table arp user {
    chain out { type filter hook output priority 0; }
}
"""
"""Tables of others, one of them with our name in a family that is not ours."""


def nft(script: str) -> None:
    """Run a script of commands as one transaction."""
    subprocess.run(["nft", "-f", "-"], input=script, text=True, check=True)


def listed(*what: str) -> str:
    """What `nft list` prints of *what*, or of the whole ruleset; chains with handles."""
    command = ["nft", *(["-a"] if "chain" in what else []), "list", *(what or ("ruleset",))]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def tables() -> str:
    """Our tables as `nft` lists them."""
    return "".join(listed("table", family, "swanherd") for family in ("inet", "arp"))


def others() -> str:
    """The ruleset without our tables."""
    found = listed()
    for ours in ("table inet swanherd {", "table arp swanherd {"):
        start = found.find(ours)
        if start >= 0:
            found = found[:start] + found[found.index("\n}\n", start) + 3 :]
    return found


def pair(source: IPAddress, remote: IPAddress | IPNetwork | str) -> Pair:
    """A pair; an address is the network of it alone."""
    return Pair(source, ip_network(remote))


VIPS: Final = frozenset(VIP.values())
WIRE: Final = Wire(guarded=VIPS, ours=frozenset(pair(VIP[family], PEER[family]) for family in (4, 6)))
"""Both VIPs guarded, one connection each."""
LEAKS: Final = frozenset(
    {
        Flow("wan", ip_network("10.10.0.0/24"), ip_network("10.20.0.0/20"), 6, remote_ports=(443, 443)),
        Flow("wan", ip_network("fd00:10::/64"), ip_network("fd00:20::/60")),
        Flow("wan", ip_network("10.10.0.0/24"), ip_network("0.0.0.0/0"), 17, (1000, 2000)),
    }
)
FULL: Final = replace(
    WIRE,
    fenced=VIPS,
    fenced_pairs=frozenset({pair(VIP[4], PEER[4]), pair(VIP[6], "2001:db8:9::/48")}),
    leaks=LEAKS,
)
"""Something in every set, and flows of every kind."""


class Running:
    """A firewall under test; to be made in a loop."""

    def __init__(self) -> None:
        self.told: list[float] = []
        """When `on_change` was called."""
        self.firewall = Firewall(on_change=lambda: self.told.append(asyncio.get_running_loop().time()))

    @property
    def wire(self) -> Wire | None:
        """What is known to be there."""
        state = self.firewall.state
        assert isinstance(state, Known), state
        return state.value

    async def until(self, condition: Callable[[], object], *, deadline_s: float = DEADLINE_S) -> None:
        """Wait until *condition* holds."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + deadline_s
        while not condition():
            assert loop.time() < deadline, f"never came true; {str(self.firewall.state)[:500]}"
            await asyncio.sleep(0.001)
