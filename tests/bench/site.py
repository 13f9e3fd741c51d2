"""What is connected in a case: so many tunnels, to one peer or to many, outside by IPv4 or by IPv6."""

from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Final

from tests.lab.agent_conf import AgentConf, connection_table, interface_table, secret_path
from tests.lab.charon import Tunnel
from tests.lab.keepalived import WAN, Vrrp
from tests.lab.peer import gateway_tunnel
from tests.lab.topology import address, vip

CALLED: Final = "198.18.0.0/16"
"""Where many peers are: a net for benchmarks (RFC 2544)."""
CALLERS: Final = "198.19.0.0/16"
"""From where each of them is called, as it sees it. It has a route there, by which answers get to be written back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The tunnels of a case. Inside they are IPv4 always; *family* is that of the outside."""

    connections: int = 1
    peers: int = 1
    """How many peers; the connections take turns. One charon stands in for all of them, at an address for each."""
    family: int = 4
    lines: tuple[str, ...] = ()
    """More settings of each of swanherd's connections."""

    @property
    def source(self) -> str:
        """The virtual address that all tunnels leave from."""
        return vip("wan1", self.family)

    def endpoint(self, number: int) -> str:
        """Where the peer is for connection *number*; of many, each is beyond the WAN's router."""
        return address("peer", "wan1", self.family) if self.peers == 1 else _numbered(CALLED, number % self.peers)

    def endpoints(self) -> tuple[str, ...]:
        """All of the peer's addresses that connections lead to."""
        return tuple(dict.fromkeys(self.endpoint(number) for number in range(min(self.peers, self.connections))))

    def tunnels(self) -> list[Tunnel]:
        """The connections as the gateways have them."""
        return [
            replace(gateway_tunnel(number), local_addrs=self.source, remote_addrs=self.endpoint(number))
            for number in range(self.connections)
        ]

    def callers(self) -> str:
        """The peer's ruleset by which each of many peers is called from an address of its own; "" where there is one.

        A responder counts half-open handshakes by the caller's address alone, whatever address was called (receiver.c).
        All gateways call from the VIP, so a charon at many addresses would still be one peer with one limit. Written
        over on its way in, the caller's address is another one for each; on the wire it is the VIP.
        """
        if self.peers == 1:
            return ""
        pairs = ", ".join(f"{_numbered(CALLED, which)} : {_numbered(CALLERS, which)}" for which in range(self.peers))
        return f"""\
table ip peers {{
    chain in {{
        type nat hook input priority 100; policy accept;
        ip saddr {self.source} udp dport {{ 500, 4500 }} snat to ip daddr map {{ {pairs} }}
    }}
}}
"""

    def agent_conf(self, gateway: str, vrrp: Vrrp) -> AgentConf:
        """Settings of swanherd on *gateway*."""
        tunnels = self.tunnels()
        interface = interface_table("wan", WAN, self.source, vrrp=vrrp, gateway=gateway)
        return AgentConf(
            text="\n".join([interface, *(connection_table(each, *self.lines) for each in tunnels)]),
            files={secret_path(each): f"{each.secret}\n" for each in tunnels},
        )


def _numbered(net: str, which: int) -> str:
    return str(ip_network(net)[which // 250 * 256 + which % 250 + 1])
