"""A pair through a NAT router: its three connections, and the proof that they carry, at the peer and on the wire.

Of two rings: with charon's own IPsec (``tests/pair``), and with the kernel's (``tests/kernel``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from tests.lab.asking import vici_session
from tests.lab.charon import VICI, Tunnel
from tests.lab.nat import BOTH_BEHIND, PAIR_BEHIND, PEER_AT, PEER_BEHIND, PORTS, ROUTER
from tests.lab.observe import Observer
from tests.lab.observe.packets import Ah, Esp, Ike
from tests.lab.pair import Gateway, Pair
from tests.lab.peer import as_seen_by_peer, far_address, gateway_tunnel
from tests.lab.told import Told
from tests.lab.topology import address, port, vip
from tests.lab.waiting import wait_until

UP_S: Final = 30.0
CALLED: Final = (PAIR_BEHIND, PEER_BEHIND, BOTH_BEHIND)
"""What each connection calls; the first is number 1 of the lab's."""
TUNNELS: Final = tuple(replace(gateway_tunnel(number), remote_addrs=to) for number, to in enumerate(CALLED, 1))
THEIRS: Final[tuple[Tunnel, ...]] = tuple(
    replace(as_seen_by_peer(tunnel), local_addrs=PEER_AT[tunnel.remote_addrs]) for tunnel in TUNNELS
)
"""As the peer has them."""


@dataclass(frozen=True, slots=True)
class Behind:
    """What the peer must show of a connection."""

    sees: str
    """The address that it has for the pair."""
    moved: bool
    """Whether the pair's port is another one there than here."""
    shown: Mapping[str, bytes]


EXPECTED: Final = {
    PAIR_BEHIND: Behind(ROUTER, moved=True, shown={"nat-remote": b"yes"}),
    PEER_BEHIND: Behind(vip("wan1"), moved=False, shown={"nat-local": b"yes"}),
    BOTH_BEHIND: Behind(ROUTER, moved=True, shown={"nat-remote": b"yes", "nat-local": b"yes"}),
}


def shown(pair: Pair) -> dict[str, list[dict[str, Any]]]:
    """The peer's IKE_SAs of the three that carry traffic, by what the gateways call."""
    found: dict[str, list[dict[str, Any]]] = {to: [] for to in CALLED}
    called = {at: to for to, at in PEER_AT.items()}
    names = {tunnel.name for tunnel in THEIRS}
    with vici_session(pair.lab.peer.path(VICI)) as session:
        for item in session.list_sas():
            for sa in (sa for name, sa in item.items() if name in names):
                installed = any(child["state"] == b"INSTALLED" for child in sa["child-sas"].values())
                if installed and sa["state"] == b"ESTABLISHED" and (to := called.get(sa["local-host"].decode())):
                    found[to].append(sa)
    return found


def passes(pair: Pair, number: int) -> bool:
    """Whether a ping from the client, by the VIP, is answered behind the peer by connection *number*."""
    ping = ("ping", "-n", "-q", "-c", "3", "-i", "0.2", "-W", "1", "-I", address("client", "lan"), far_address(number))
    return pair.lab.client.run(*ping, check=False).returncode == 0


def prove(pair: Pair, master: Gateway, seen: Observer, *, old: frozenset[bytes] = frozenset()) -> frozenset[bytes]:
    """All three at the peer and on the wire, carried by *master* alone, none of it *old*; the SPIs."""

    def settled() -> bool:
        found = shown(pair)
        return all(len(sas) == 1 and sas[0]["initiator-spi"] not in old for sas in found.values())

    wait_until(settled, "one SA each at the peer, and no old one", within_s=UP_S, every_s=0.1)
    Told(master.agent).wait_for(*(tunnel.name for tunnel in TUNNELS), role="active", reason="up")
    since = seen.mark(f"{master.name} runs")
    for number in range(1, len(CALLED) + 1):
        wait_until(lambda number=number: passes(pair, number), f"traffic by {number}")  # type: ignore[misc]
    found = {to: sas[0] for to, sas in shown(pair).items()}
    for to, sa in found.items():
        expected = EXPECTED[to]
        assert sa["remote-host"].decode() == expected.sees
        assert (int(sa["remote-port"]) in PORTS) is expected.moved
        assert {key: sa.get(key) for key in expected.shown} == dict(expected.shown)
    wire = port(master.host.name, "wan1")
    for to in CALLED:
        for leaving in (True, False):
            ends = (vip("wan1"), to) if leaving else (to, vip("wan1"))
            packets = [
                packet.content
                for packet in seen.packets(port=wire, leaving=leaving, since=since)
                if (packet.source, packet.destination) == ends
            ]
            esp = [content for content in packets if isinstance(content, Esp)]
            assert len(esp) >= 3, f"{ends}: {len(esp)} packets of ESP"
            assert all(content.in_udp for content in esp)
            assert not [content for content in packets if isinstance(content, Ah)]
    round_it = [
        packet
        for packet in seen.packets(port=port("peer", "wan1"), since=since)
        if isinstance(packet.content, Esp | Ike) and {packet.source, packet.destination} & {*CALLED, *PEER_AT.values()}
    ]
    assert not round_it, f"nothing of theirs goes round the router: {round_it[:4]}"
    other = pair.other(master)
    if other.host.up:
        assert not [
            packet for packet in seen.packets(port=port(other.host.name, "wan1"), leaving=True, since=since)
            if packet.is_ipsec
        ]  # fmt: skip
    return frozenset(sa["initiator-spi"] for sa in found.values())
