"""What an observation has seen, whatever is to be judged by it: packets, holds, deaths and the traffic's own report."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.lab.observe.holders import Hold
from tests.lab.observe.packets import Arp, Packet
from tests.lab.observe.running import Between, Running, judge_running
from tests.lab.observe.streams import Ports
from tests.lab.observe.traffic import Report

MAIN = "main"
"""The stream that goes by the virtual address."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that was observed, with the map to read it by. Times are CLOCK_MONOTONIC seconds."""

    packets: list[Packet]
    """In time order."""
    until: float
    """How far the observation goes."""
    holds: list[Hold]
    deaths: Mapping[str, float]
    report: Report
    stream_names: Mapping[int, str]
    ports: Ports
    wan_ports: Mapping[str, str]
    """WAN port of the switch to gateway."""
    lan_ports: Mapping[str, str]
    """Gateway to its LAN port."""
    vips: tuple[str, ...]
    """The virtual addresses of the WANs; the first one where nothing else tells which."""
    is_inner: Callable[[str], bool]
    """Whether an address belongs to a network that must not be seen in clear on a WAN."""
    peers: frozenset[str] = frozenset()
    """Addresses of the far end. What a gateway sends from one of these it only forwards: a peer whose neighbour entry
    for the virtual address is stale sends to the old gateway, which passes it on to the new one."""

    def sent(self, tunnel: Between) -> list[tuple[str, Packet]]:
        """What left the gateways for a tunnel: gateway and packet, IPsec only."""
        return [
            (self.wan_ports[packet.port], packet)
            for packet in self.packets
            if packet.leaving
            and packet.port in self.wan_ports
            and packet.is_ipsec
            and tunnel.has(packet)
            and packet.source not in self.peers
        ]

    def leaks(self) -> list[Packet]:
        """What left a gateway's WAN port in clear, though from or to an inner network."""
        return [
            packet
            for packet in self.packets
            if packet.leaving
            and packet.port in self.wan_ports
            and not packet.is_ipsec
            and not isinstance(packet.content, Arp)
            and (self.is_inner(packet.source) or self.is_inner(packet.destination))
        ]

    def judge_running(self, tunnel: Between) -> Running:
        """Who ran the tunnel over the whole observation."""
        own = [packet for packet in self.packets if packet.source not in self.peers]
        return judge_running(own, gateways=self.wan_ports, holds=self.holds, vips=self.vips, tunnel=tunnel)
