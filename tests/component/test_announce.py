"""Announcing an address, between two throw-away namespaces: the neighbour's cache is the judge."""

from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from swanherd.world.announce import Announcer
from tests.lab.lab import Lab
from tests.lab.namespaces import call_in
from tests.lab.observe import Observer
from tests.lab.observe.packets import Arp
from tests.lab.topology import address as own_address
from tests.lab.topology import mac, port, vip
from tests.lab.waiting import wait_until

OLD_MAC = "02:00:00:00:00:99"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """The lab's hosts and wires, with nothing running on them."""
    with Lab() as built:
        yield built


@pytest.mark.parametrize("family", [4, 6])
def test_a_neighbour_learns_the_new_place_at_once(lab: Lab, family: int) -> None:
    """A neighbour that still knows the VIP at a dead gateway's MAC has the new one after the announcement.

    Broken by: leaving the address out of the frame's sender; the wrong override flag or checksum for IPv6.
    """
    address = vip("wan1", family)
    lab.peer.run("ip", "neigh", "replace", address, "lladdr", OLD_MAC, "dev", "wan1", "nud", "reachable")

    def announce() -> bool:
        announcer = Announcer()
        try:
            return announcer.announce(ip_address(address), "wan1")
        finally:
            announcer.close()

    assert call_in(lab.gw_b.netns, announce)
    new = mac("gw-b", "wan1")
    wait_until(
        lambda: new in lab.peer.run("ip", "neigh", "show", address, "dev", "wan1").stdout,
        f"{address} at {new}",
        within_s=2,
    )


def test_the_old_master_does_not_answer(lab: Lab) -> None:
    """A kernel that still has the VIP is told, and says nothing: with a virtual MAC its answer would turn the switches.

    It answers requests where ``accept_local`` is on, as keepalived sets it on a virtual MAC's device.

    Broken by: announcing by an ARP request.
    """
    address = ip_address(vip("wan1"))

    def announce() -> bool:
        announcer = Announcer()
        try:
            return announcer.announce(address, "wan1")
        finally:
            announcer.close()

    lab.gw_a.run("ip", "address", "add", f"{address}/24", "dev", "wan1")
    lab.gw_a.sysctl("net.ipv4.conf.wan1.accept_local", "1")
    try:
        with Observer(lab, traffic=False) as seen:
            assert call_in(lab.gw_b.netns, announce)
            # What is asked behind it is answered: gw-a has seen the announcement by then.
            lab.peer.run("ip", "neigh", "flush", "all")
            lab.peer.run("ping", "-c", "1", "-W", "2", own_address("gw-a", "wan1"))
            answers = [packet.content for packet in seen.packets(port=port("gw-a", "wan1"), leaving=True, content=Arp)]
    finally:
        lab.gw_a.sysctl("net.ipv4.conf.wan1.accept_local", "0")
        lab.gw_a.run("ip", "address", "del", f"{address}/24", "dev", "wan1")
    senders = {answer.sender for answer in answers if isinstance(answer, Arp) and not answer.request}
    assert senders == {own_address("gw-a", "wan1")}


def test_a_device_that_is_gone_or_no_ethernet_is_no_error(lab: Lab) -> None:
    """The takeover goes on; keepalived announces as well."""

    def announce() -> list[bool]:
        announcer = Announcer()
        try:
            return [announcer.announce(ip_address(vip("wan1")), device) for device in ("nowhere", "lo")]
        finally:
            announcer.close()

    assert call_in(lab.gw_b.netns, announce) == [False, False]
