"""A NAT router in the lab: behind it the peer has addresses that no gateway reaches as they are.

    with NatRouter(lab) as router: ...

It stands on ``wan1`` and has a cable of its own to the peer. Which way in is taken decides who is behind the NAT:

| the gateways call | translated | so |
|---|---|---|
| ``PAIR_BEHIND`` | their address and port, to the router's own | the pair is behind it |
| ``PEER_BEHIND`` | the address called, to one of the peer's | the peer is behind it |
| ``BOTH_BEHIND`` | both | both are |
"""

from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self

from tests.lab.hosts import Host
from tests.lab.lab import Lab, ip_batch
from tests.lab.topology import place

PAIR_BEHIND: Final = "192.0.2.20"
PEER_BEHIND: Final = place("wan1", 30)
BOTH_BEHIND: Final = place("wan1", 31)
PEER_AT: Final[Mapping[str, str]] = {PAIR_BEHIND: PAIR_BEHIND, PEER_BEHIND: "192.0.2.21", BOTH_BEHIND: "192.0.2.22"}
"""Where the peer itself is, by what the gateways call."""
ROUTER: Final = "192.0.2.1"
"""Whom the peer sees instead of the pair, where that is behind the NAT."""
PORTS: Final = range(20_000, 30_000)
"""And by which ports."""
_NET: Final = "192.0.2.0/24"
_CABLE: Final = "beyond"
_TABLE: Final = "33"

RULES: Final = f"""\
table ip nat {{
    chain called {{
        type nat hook prerouting priority dstnat
        ip daddr {PEER_BEHIND} udp dport {{ 500, 4500 }} dnat to {PEER_AT[PEER_BEHIND]}
        ip daddr {BOTH_BEHIND} udp dport {{ 500, 4500 }} dnat to {PEER_AT[BOTH_BEHIND]}
    }}
    chain leaving {{
        type nat hook postrouting priority srcnat
        ip daddr {{ {PAIR_BEHIND}, {PEER_AT[BOTH_BEHIND]} }} meta l4proto udp masquerade to :{PORTS[0]}-{PORTS[-1]}
        oifname "wan1" masquerade
    }}
}}
"""


class NatRouter:
    """The router, and the ways to and from it at the gateways and the peer; all of it goes at the end."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.host = Host("nat", logs=lab.switch.logs.parent / "nat")
        self._ways: dict[Host, str] = {}

    def __enter__(self) -> Self:
        self.host.launch()
        self.host.ready()
        try:
            self._wire()
        except BaseException:
            self.host.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for host, batch in self._ways.items():
            if host.up:
                ip_batch(host.netns, batch.replace(" add ", " del "))
        self.host.stop()

    def _wire(self) -> None:
        lab, host = self._lab, self.host
        end = "n-wan1"
        ip_batch(
            lab.switch.netns,
            f"link add {end} type veth peer name wan1 netns {host.pid}\nlink set {end} master wan1 up\n",
        )
        ip_batch(host.netns, f"link add {_CABLE} type veth peer name {_CABLE} netns {lab.peer.pid}\n")
        own = "".join(f"address add {each}/24 dev wan1\n" for each in (PEER_BEHIND, BOTH_BEHIND))
        ip_batch(host.netns, f"link set wan1 up\nlink set {_CABLE} up\n{own}address add {ROUTER}/24 dev {_CABLE}\n")
        host.sysctl("net.ipv4.ip_forward", "1")
        host.run("nft", "-f", "-", text_in=RULES)
        theirs = "".join(f"address add {each}/24 dev {_CABLE}\n" for each in PEER_AT.values())
        ip_batch(lab.peer.netns, f"link set {_CABLE} up\n{theirs}")
        # Where a packet came in decides where its answer leaves: the WAN is a way round the router.
        back = f"rule add from {_NET} lookup {_TABLE}\nroute add default via {ROUTER} table {_TABLE}\n"
        self._ways = {lab.peer: back} | dict.fromkeys(lab.gateways, f"route add {_NET} via {PEER_BEHIND}\n")
        for host, batch in self._ways.items():
            ip_batch(host.netns, batch)
