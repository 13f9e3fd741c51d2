"""The peer: the other end of every tunnel. It answers whoever proves an identity, from whatever address."""

from collections.abc import Collection, Iterable
from typing import Final

from tests.lab.charon import Charon, Tunnel
from tests.lab.lab import Lab
from tests.lab.topology import address, subnet

GATEWAY_ID: Final = "moon.example"
"""The pair's identity: both gateways are one to the peer."""
PEER_ID: Final = "peer.example"
SECRET: Final = "correct horse battery staple"  # noqa: S105 - of the lab only
NAME: Final = "site"
"""Name of the lab's connection on the gateways; its child is ``lan``."""

NO_LIMITS: Final = {"dos_protection": "no"}
"""A responder takes 5 half-open handshakes per source by default; without limits one peer stands in for many peers."""


def gateway_tunnel(number: int = 0) -> Tunnel:
    """The connection *number* as the gateways have it. 0 is the whole far net; others are one /32 of the peer each."""
    if number == 0:
        return Tunnel(
            name=NAME,
            local_addrs="203.0.113.10",
            remote_addrs=address("peer", "wan1"),
            local_id=GATEWAY_ID,
            remote_id=PEER_ID,
            local_ts=subnet("lan"),
            remote_ts=subnet("far"),
            secret=SECRET,
        )
    return Tunnel(
        name=f"{NAME}-{number}",
        local_addrs="203.0.113.10",
        remote_addrs=address("peer", "wan1"),
        # Identities of its own: connections with equal IKE parameters would share one IKE_SA.
        local_id=f"moon-{number}.example",
        remote_id=f"peer-{number}.example",
        # Userland ESP wants an address of this host inside local_ts, so the LAN serves for all.
        local_ts=subnet("lan"),
        remote_ts=f"{far_address(number)}/32",
        secret=SECRET,
    )


def far_address(number: int) -> str:
    """The address behind the peer that connection *number* (from 1 on) leads to; it answers pings."""
    return f"10.21.{number // 250}.{number % 250 + 1}"


def as_seen_by_peer(tunnel: Tunnel) -> Tunnel:
    """The other end of a gateway's connection. Any address may call: a gateway that must not be heard is heard."""
    return Tunnel(
        name=f"gw{tunnel.name.removeprefix(NAME)}",
        local_addrs=tunnel.remote_addrs,
        remote_addrs="%any",
        local_id=tunnel.remote_id,
        remote_id=tunnel.local_id,
        local_ts=tunnel.remote_ts,
        remote_ts=tunnel.local_ts,
        secret=tunnel.secret,
        options=tunnel.options,
    )


class Peer:
    """The peer's host with its charon."""

    def __init__(self, lab: Lab) -> None:
        self.host = lab.peer
        self.charon = Charon(lab.peer, has_xfrm=lab.has_xfrm, options=NO_LIMITS)

    def start(self, *, connections: int = 1) -> None:
        """Start charon and load the first *connections* tunnels."""
        self.begin(*(as_seen_by_peer(gateway_tunnel(number)) for number in range(connections)))

    def begin(self, *tunnels: Tunnel, addresses: Iterable[str] = ()) -> None:
        """Start charon and load these; the peer has *addresses* too, on its loopback.

        Addresses come before charon: of a thousand that come at once while it runs, its netlink socket drops most
        ("No buffer space available", seen), and for a selector that it does not know it installs no CHILD_SA.
        """
        self._have((*_hosts(tunnels), *addresses))
        self.charon.start()
        self.charon.load(*tunnels)

    def load(self, *tunnels: Tunnel) -> None:
        """Load exactly these; a host address (/32) among their selectors is put on the peer's loopback."""
        self._have(_hosts(tunnels))
        self.charon.load(*tunnels)

    def _have(self, addresses: Collection[str]) -> None:
        if addresses:
            batch = "".join(f"address replace {address} dev lo\n" for address in addresses)
            self.host.run("ip", "-batch", "-", text_in=batch)


def _hosts(tunnels: Iterable[Tunnel]) -> list[str]:
    return sorted({tunnel.local_ts for tunnel in tunnels if tunnel.local_ts.endswith("/32")})
