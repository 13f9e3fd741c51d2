"""What a child protects never leaves a gateway's WAN in clear, with charon and the kernel's IPsec at work.

The rules alone, with policies made by hand, are ``test_leaks.py``; what userland ESP leaves open, ``tests/pair``.
"""

import json
import subprocess
from collections.abc import Iterator
from typing import Final

import pytest

from tests.kernel.dual import NAMES, TUNNELS, back_to_a
from tests.kernel.examples import (
    INSIDE_GRE,
    INSIDE_GRE_6,
    RARELY,
    RARELY_6,
    TUNNEL,
    TUNNEL_6,
    examples_on,
    load_at_peer,
)
from tests.lab.observe import Observer
from tests.lab.observe.packets import Ike, Packet
from tests.lab.pair import Gateway, Pair
from tests.lab.peer import as_seen_by_peer
from tests.lab.told import Told
from tests.lab.topology import address, place, port
from tests.lab.waiting import wait_until

FILES: Final = (
    "on-demand", "xfrm-interface", "gre-interface", "six-on-demand", "six-xfrm-interface", "six-gre-interface",
)  # fmt: skip
ROUTED: Final = {TUNNEL: "ipsec-branch", TUNNEL_6: "ipsec-six"}
"""What is routed into each XFRM interface."""
BEHIND: Final = (address("server", "far"), RARELY, TUNNEL, RARELY_6, TUNNEL_6)
"""What the client pings all the time: behind a tunnel by policy, one on demand, and one by an XFRM interface; the last
two in IPv6 as well, where the observer's own packets go behind one by policy."""
IN_GRE: Final = {INSIDE_GRE: "gre-branch", INSIDE_GRE_6[1]: "gre-six"}
"""Pinged as well: what goes there leaves as GRE, with the gateway's own addresses around it."""
CLEAR_GRE: Final = """\
table inet clear_gre {
    counter four { }
    counter six { }
    chain seen {
        type filter hook prerouting priority -300;
        meta ipsec missing ip protocol 47 counter name four
        meta ipsec missing ip6 nexthdr 47 counter name six
    }
}
"""
"""At the peer: GRE that came without IPsec around it."""
SOURCES: Final = (100, 101, 102)
"""The client's addresses: by the VIP, and by each gateway's own, so that the standby has something to leak, too."""
STOPPED: Final = 20
"""Packets that a guard must have stopped before a silence counts."""
TAKEN_S: Final = 20.0
"""For a takeover, and for all tunnels to come up again."""


@pytest.fixture
def pinged(pair: Pair) -> Iterator[Pair]:
    """The ring's pair with the two examples; the client pings behind each by every way, all the time."""
    ping = ("ping", "-n", "-q", "-i", "0.5", "-I")
    pair.lab.peer.run("nft", "-f", "-", text_in=CLEAR_GRE)
    with examples_on(pair, *FILES):
        for gateway in pair.gateways:  # whoever pings before that pings what nobody protects yet
            wait_until(lambda gateway=gateway: _guards(gateway), f"{gateway.name} guards them")  # type: ignore[misc]
        pings: list[subprocess.Popen[bytes]] = []
        try:
            for last in SOURCES:
                pings += [
                    pair.lab.client.spawn(*ping, place("lan", last, 6 if ":" in target else 4), target)
                    for target in (*BEHIND, *IN_GRE)
                ]
            yield pair
        finally:
            for each in pings:
                each.kill()
                each.wait()
            pair.lab.peer.run("nft", "delete", "table", "inet", "clear_gre")


def _guards(gateway: Gateway) -> bool:
    """Whether the examples' networks are among what the gateway's guard stops; behind a GRE it is a route that does."""
    rules = gateway.host.run("nft", "list", "chain", "inet", "swanherd", "leaks").stdout
    peers = address("peer", "wan1"), address("peer", "wan1", 6)  # what GRE has around it
    ways = [gateway.host.run("ip", "route", "get", target, check=False).stdout for target in IN_GRE]
    return all(target in rules for target in (RARELY, TUNNEL, RARELY_6, TUNNEL_6, *peers)) and not any(
        "dev wan1" in way for way in ways
    )


def _stopped(gateway: Gateway) -> int:
    """Packets that the gateway's guard has stopped, as the kernel counts them."""
    said = json.loads(gateway.host.run("nft", "-j", "list", "counter", "inet", "swanherd", "leak").stdout)
    return int(next(each["counter"]["packets"] for each in said["nftables"] if "counter" in each))


def _clear_gre(pair: Pair) -> tuple[int, int]:
    """GRE packets that came to the peer in clear, by IPv4 and by IPv6."""
    said = json.loads(pair.lab.peer.run("nft", "-j", "list", "counters", "table", "inet", "clear_gre").stdout)
    counters = [each["counter"] for each in said["nftables"] if "counter" in each]
    by_name = {each["name"]: int(each["packets"]) for each in counters}
    return by_name["four"], by_name["six"]


def _wait_for_more(*gateways: Gateway) -> None:
    """Wait until each has stopped a good many packets from now on."""
    before = {gateway: _stopped(gateway) for gateway in gateways}
    wait_until(
        lambda: all(_stopped(gateway) - was >= STOPPED for gateway, was in before.items()),
        f"{gateways} have something to leak",
        every_s=0.05,
    )


def _reaches(pair: Pair, target: str) -> bool:
    """Whether the client's ping, by the VIP, is answered."""
    source = address("client", "lan", 6 if ":" in target else 4)
    ping = ("ping", "-n", "-q", "-c", "1", "-W", "2", "-I", source, target)
    return pair.lab.client.run(*ping, check=False).returncode == 0


def _wait_to_reach(pair: Pair, *targets: str) -> None:
    for target in targets:
        wait_until(lambda target=target: _reaches(pair, target), f"traffic to {target}", within_s=TAKEN_S)  # type: ignore[misc]


def _asked(seen: Observer, since: str, by: Gateway) -> list[Packet]:
    """The first messages of handshakes that a gateway began."""
    leaving = seen.packets(port=port(by.name, "wan1"), leaving=True, since=since)
    return [each for each in leaving if isinstance(each.content, Ike) and each.content.name == "IKE_SA_INIT"]


def _without_routes(gateway: Gateway) -> None:
    """Take away what leads into the XFRM interfaces, and what refuses behind it: in IPv6 that is told by its place."""
    for target, device in ROUTED.items():
        for route in ((target, "dev", device), ("unreachable", target)):
            gateway.host.run("ip", "-6" if ":" in target else "-4", "route", "del", *route, check=False)


@pytest.mark.timeout(900)
def test_never_in_clear(pinged: Pair) -> None:
    """What belongs into a tunnel by policy, on demand, by an XFRM interface or as GRE leaves in ESP, or not at all.

    On the standby, while it is tried again, through a takeover, without the routes into the device, with both agents
    killed, and charon after them. At last the guard is taken away: then each is seen in clear, by both gateways. Broken
    by: ``leaks.flows`` giving nothing, or nothing for ``on-demand``, for IPv6, for a connection with an XFRM interface,
    or between a tunnel's own ends.
    """
    pair = pinged
    a, b = pair.gateways
    with Observer(pair.lab, family=6, rate=10) as seen:
        seen.wait_through(by="gw-a")
        _wait_to_reach(pair, *BEHIND, *IN_GRE)
        _wait_for_more(b)
        _without_routes(a)
        _wait_to_reach(pair, *ROUTED)  # the agent has put them back

        seen.mark("peer away")
        pair.peer.charon.stop()
        _wait_for_more(a, b)
        seen.wait_for(lambda: len(_asked(seen, "peer away", a)) >= 2, "gw-a asks again", within_s=TAKEN_S)
        pair.peer.charon.start()
        pair.peer.load(*map(as_seen_by_peer, TUNNELS.values()))
        load_at_peer(pair, *FILES)
        seen.wait_through(by="gw-a", after=seen.mark("peer back"), within_s=TAKEN_S)
        _wait_to_reach(pair, *BEHIND, *IN_GRE)

        seen.mark("fault")
        a.keepalived.stop()
        seen.wait_through(by="gw-b", after="fault", within_s=TAKEN_S)
        _wait_to_reach(pair, *BEHIND, *IN_GRE)
        _wait_for_more(a)
        assert seen.leaks() == []
        assert _clear_gre(pair) == (0, 0)

        for gateway in pair.gateways:
            gateway.agent.kill()
        seen.wait_through(by="gw-b", after=seen.mark("no agents"))
        b.charon.kill()
        for what in ("policy", "state"):
            b.host.run("ip", "xfrm", what, "flush")
        for gateway in pair.gateways:
            _without_routes(gateway)
            for target in ROUTED:
                assert "dev wan1" in gateway.host.run("ip", "route", "get", target).stdout
        _wait_for_more(a, b)
        a.keepalived.start()
        pair.wait_for_master(a, within_s=TAKEN_S)
        for target, device in IN_GRE.items():  # somebody else has the device up, and a route into it
            a.host.run("ip", "link", "set", device, "up")
            a.host.run("ip", "-6" if ":" in target else "-4", "route", "add", target, "dev", device)
        _wait_for_more(a, b)
        assert seen.leaks() == []
        assert _clear_gre(pair) == (0, 0)

        for gateway in pair.gateways:
            gateway.host.run("nft", "delete", "table", "inet", "swanherd")
        targets = (*BEHIND, address("server", "far", 6))
        expected = {(port(gateway.name, "wan1"), target) for gateway in pair.gateways for target in targets}
        seen.wait_for(
            lambda: {(packet.port, packet.destination) for packet in seen.leaks()} >= expected,
            "without the guard all of it leaves in clear, by both gateways",
        )
        seen.wait_for(lambda: min(_clear_gre(pair)) > 0, "and so does GRE, by both families")
        for target, device in IN_GRE.items():
            a.host.run("ip", "-6" if ":" in target else "-4", "route", "del", target, "dev", device)
            a.host.run("ip", "link", "set", device, "down")
        in_clear = _clear_gre(pair)

        b.charon.start()
        for gateway in pair.gateways:
            gateway.agent.launch()
        for gateway in pair.gateways:
            gateway.agent.ready()
        Told(a.agent).wait_for(*NAMES, "tunnel", "tunnel6", "gre", "gre6", role="active", reason="up", within_s=TAKEN_S)
        seen.mark("guarded again")
        _wait_to_reach(pair, *BEHIND, *IN_GRE)
        _wait_for_more(b)
        assert [packet for packet in seen.leaks() if packet.at >= seen.marked("guarded again")] == []
        assert _clear_gre(pair) == in_clear
    back_to_a(pair)
