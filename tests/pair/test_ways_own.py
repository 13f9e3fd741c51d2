"""Own addresses instead of VIPs, IPv6 outside, and two VIPs with a master each."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Final

import pytest

from tests.lab.keepalived import LAN, WAN, WAN_2, Vrrp
from tests.lab.observe import Observer
from tests.lab.pair import Pair
from tests.lab.told import Told
from tests.lab.topology import address, place, vip
from tests.lab.uplinks import FAR_PEER, NAME, drop_default, peer_end, set_default, uplink_pair, verdict
from tests.lab.waiting import wait_until

MORE: Final = f"[connections.{NAME}]\nmove_hold_s = 1.0\n"
SIX: Final = {
    "203.0.113.10": vip("wan1", 6),
    "198.51.100.10": vip("wan2", 6),
    "192.0.2.20": FAR_PEER[6],
}
"""The addresses of ``two-uplinks.toml``, as IPv6."""


def wait_for_source(pair: Pair, seen: Observer, source: str) -> None:
    """Wait until gw-a's tunnel runs from *source* and from nothing else, and carries traffic."""
    Told(pair.a.agent).wait_for(NAME, reason="up", source=source, within_s=20)

    def alone() -> bool:
        readings = seen.sas("gw-a", "peer")
        return {sa.local for sa in readings["gw-a"].up} == {sa.remote for sa in readings["peer"].up} == {source}

    seen.wait_for(alone, f"SAs with {source} only", within_s=20)
    seen.wait_through(by="gw-a", after=seen.mark(f"from {source}"))


def seen_by_peer(seen: Observer, since: str) -> set[str]:
    """The sources of the IPsec that the peer got on either wire."""
    packets = [packet for net in ("wan1", "wan2") for packet in seen.packets(port=f"p-{net}", since=since)]
    return {packet.source for packet in packets if packet.is_ipsec and not packet.leaving}


@contextmanager
def observed(pair: Pair, source: str) -> Iterator[Observer]:
    """An observer of a pair that runs from *source*; afterwards it does again."""
    with Observer(pair.lab) as seen:
        wait_for_source(pair, seen, source)
        yield seen
        wait_for_source(pair, seen, source)


@pytest.fixture(scope="module")
def single() -> Iterator[Pair]:
    """One gateway without VRRP on its uplinks, by ``docs/examples/own-addresses.toml``."""
    with uplink_pair("own-addresses.toml", more=MORE, vrrp=Vrrp(instances=(LAN,)), alone=True) as built:
        yield built


def test_any_leaves_from_the_default_routes_own_address(single: Pair) -> None:
    """`any`: the own address of the device that the default route takes; the peer sees that source and only that one.

    Broken by: ``best_defaults`` taking the worst.
    """
    with observed(single, address("gw-a", "wan1")) as seen:
        assert seen_by_peer(seen, "start") == {address("gw-a", "wan1")}
        set_default(single.a.host, "wan2", metric=50)
        wait_for_source(single, seen, address("gw-a", "wan2"))
        seen.mark("moved")
        seen.wait_through(after="moved")
        assert seen_by_peer(seen, "moved") == {address("gw-a", "wan2")}
        drop_default(single.a.host, "wan2", metric=50)


def test_dhcp_gives_another_address(single: Pair) -> None:
    """The own address goes and another one comes, with its default route: the tunnel runs from the new one.

    Broken by: ``Digests.of`` keeping to the addresses of its first look (nothing can be loaded from a new one).
    """
    old, new = address("gw-a", "wan1"), place("wan1", 77)
    with observed(single, old) as seen:
        for gone, come in ((old, new), (new, old)):
            single.a.host.run("ip", "address", "del", f"{gone}/24", "dev", "wan1")
            single.a.host.run("ip", "address", "add", f"{come}/24", "dev", "wan1")
            set_default(single.a.host, "wan1", metric=100)
            wait_for_source(single, seen, come)


def test_the_link_in_use_goes_down(single: Pair) -> None:
    """The cable of the uplink in use is pulled: by the other one at once; plugged in again: back.

    The kernel itself goes on sending into a dead link unless it is told not to. Broken by: ``Table._resolve_routes``
    taking a dead hop for alive.
    """
    single.a.host.sysctl("net.ipv4.conf.all.ignore_routes_with_linkdown", "1")
    with observed(single, address("gw-a", "wan1")) as seen:
        seen.mark("cut")
        single.a.cut("wan1")
        Told(single.a.agent).wait_for(NAME, reason="up", source=address("gw-a", "wan2"))
        seen.wait_through(after=seen.mark("moved"))
        assert verdict(seen, "the link in use loses its carrier", since="cut").outage_ms < 3000
        single.a.restore("wan1")


def test_ipv6_outside_moves_alike() -> None:
    """IPv6 VIPs and IPv6 default routes choose and move an IPv6 tunnel; IPv4 routes have no say in it.

    Broken by: ``best_defaults`` without a look at the family.
    """
    with uplink_pair("two-uplinks.toml", more=MORE, changes=SIX) as pair, observed(pair, vip("wan1", 6)) as seen:
        set_default(pair.a.host, "wan2", metric=40, family=4)
        assert seen_by_peer(seen, "start") == {vip("wan1", 6)}
        set_default(pair.a.host, "wan2", metric=50, family=6)
        wait_for_source(pair, seen, vip("wan2", 6))
        seen.mark("moved")
        seen.wait_through(after="moved")
        assert seen_by_peer(seen, "moved") == {vip("wan2", 6)}
        drop_default(pair.a.host, "wan2", metric=50, family=6)


def test_a_vip_on_one_uplink_and_an_own_address_on_the_other() -> None:
    """The master leaves from the VIP, or from its own address when the default route is there; the other gateway waits.

    When the master is lost the other one takes over by the VIP. Broken by: ``holding`` that takes any address for that
    of an interface with VIPs; ``Digests._candidates`` without own addresses (nothing can be loaded from one).
    """
    mixed = {'vips = ["198.51.100.10"]\n': ""}
    with (
        uplink_pair("two-uplinks.toml", more=MORE, vrrp=Vrrp(instances=(WAN, LAN)), changes=mixed) as pair,
        Observer(pair.lab) as seen,
    ):
        own = address("gw-a", "wan2")
        for metric, gone, come in ((50, vip("wan1"), own), (None, own, vip("wan1"))):
            wait_for_source(pair, seen, gone)
            seen.mark("moves")
            if metric is not None:
                set_default(pair.a.host, "wan2", metric=metric)
            else:
                drop_default(pair.a.host, "wan2", metric=50)
            wait_for_source(pair, seen, come)
            verdict(seen, f"from {'the VIP to an own address' if come == own else 'there to the VIP'}", since="moves")
            seen.wait_through(after=seen.mark("moved"))
            assert seen_by_peer(seen, "moved") == {come}
            assert Told(pair.b.agent).connection(NAME)["role"] == "standby"
        set_default(pair.a.host, "wan2", metric=50)
        wait_for_source(pair, seen, own)
        seen.mark("fault")
        pair.a.power_off()
        Told(pair.b.agent).wait_for(NAME, reason="up", source=vip("wan1"), within_s=20)
        seen.wait_through(by="gw-b", after="fault")


def test_each_gateway_runs_what_its_vip_brings() -> None:
    """Two VIPs, two masters: each connection runs where its VIP is; one gateway lost: both on the other.

    By ``docs/examples/two-masters.toml``. Broken by: deciding by the settings' first interface for all connections.
    """
    depot = replace(
        peer_end(local_id="depot.example", local_ts="10.21.0.0/24"),
        name="gw-depot",
        local_addrs=address("peer", "wan2"),
    )
    vrrp = Vrrp(instances=(WAN, LAN, replace(WAN_2, master="gw-b", group="OTHER")))

    def prepare(pair: Pair) -> None:
        pair.peer.load(replace(peer_end(), local_addrs=address("peer", "wan1")), depot)

    with ExitStack() as stack:
        pair = stack.enter_context(
            uplink_pair("two-masters.toml", vrrp=vrrp, peer_addresses=("10.21.0.1",), prepare=prepare)
        )
        a, b = Told(pair.a.agent), Told(pair.b.agent)

        def shared() -> bool:
            by_name = {name: (a.connection(name), b.connection(name)) for name in (NAME, "depot")}
            up = {by_name[NAME][0].get("reason"), by_name["depot"][1].get("reason")}
            held = {by_name[NAME][1].get("fence"), by_name["depot"][0].get("fence")}
            return up == {"up"} and held == {"fenced"}

        wait_until(shared, "each gateway runs its own connection", within_s=20)
        pair.b.power_off()
        a.wait_for(NAME, "depot", role="active", reason="up", within_s=20)
        pair.b.power_on()
        wait_until(shared, "the other gateway has its own again", within_s=30)
