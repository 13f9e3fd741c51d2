"""The observer's own test: it must tell a pair that runs one tunnel twice from one that does not, and by how long.

What is arranged here is done by hand, step by step, with the time of each step taken outside the observer; so its
numbers have something to be compared with that it did not produce.
"""

import json
import socket
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.lab.charon import Charon
from tests.lab.hosts import Host
from tests.lab.lab import Lab
from tests.lab.namespaces import socket_in
from tests.lab.observe import Observer, VoidObservationError
from tests.lab.observe.packets import NUMBERED_PORT, Arp, Ike, Numbered, Vrrp
from tests.lab.observe.sas import ANSWER_DEADLINE_S
from tests.lab.pair import notify_pair
from tests.lab.peer import NAME, Peer, gateway_tunnel
from tests.lab.topology import GATEWAYS, NET_OF_FAMILY, address, mac, port, vip
from tests.lab.waiting import wait_until

RUN_BOTH_S = 0.8
"""How long both gateways run the tunnel on purpose."""
TOLERANCE_MS = 40.0
"""Four packets of the default traffic: the last one may have left just before the time that we took."""


class ByHand:
    """A pair without keepalived and without anybody who decides: addresses and tunnels move when the test says so."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.peer = Peer(lab)
        self.charons = {host.name: Charon(host, has_xfrm=lab.has_xfrm) for host in lab.gateways}
        self.peer.start()
        for charon in self.charons.values():
            charon.start()
            charon.load(replace(gateway_tunnel(), options={"mobike": "no"}))

    def give_vip(self, gateway: Host) -> None:
        """Put the virtual addresses on a gateway and lead everybody to it, as a gratuitous ARP would."""
        for net, neighbour in (("wan1", self.lab.peer), ("lan", self.lab.client)):
            gateway.run("ip", "address", "add", f"{vip(net)}/{NET_OF_FAMILY[4]}", "dev", net)
            neighbour.run("ip", "neigh", "replace", vip(net), "lladdr", mac(gateway.name, net), "dev", net)

    def take_vip(self, gateway: Host) -> None:
        """Remove the virtual addresses from a gateway."""
        for net in ("wan1", "lan"):
            gateway.run("ip", "address", "delete", f"{vip(net)}/{NET_OF_FAMILY[4]}", "dev", net)

    def initiate(self, gateway: Host) -> None:
        """Bring the tunnel up on a gateway; returns when it is."""
        gateway.run("swanctl", "--initiate", "--ike", NAME, "--child", "lan")


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Hosts and wires, no daemons."""
    with Lab() as built:
        yield built


@pytest.fixture
def by_hand(lab: Lab) -> ByHand:
    """Two charons that can run the tunnel; gw-a does."""
    pair = ByHand(lab)
    pair.give_vip(lab.gw_a)
    pair.initiate(lab.gw_a)
    return pair


def test_two_charons_that_run_the_same_tunnel_are_seen_with_the_milliseconds(by_hand: ByHand) -> None:
    """Both gateways hold the address and send: double running lasts from the second's IKE_AUTH to the first's end."""
    lab = by_hand.lab
    with Observer(lab) as seen:
        seen.wait_through()
        seen.mark("fault")
        by_hand.give_vip(lab.gw_b)
        before_auth = time.monotonic()
        by_hand.initiate(lab.gw_b)
        after_auth = time.monotonic()
        seen.wait_through(by="gw-b", after=after_auth)
        wait_until(lambda: time.monotonic() >= after_auth + RUN_BOTH_S, "the time in which both run it")
        before_end = time.monotonic()
        by_hand.charons["gw-a"].kill()
        after_end = time.monotonic()
        verdict = seen.timeline(since="fault")
        sas = seen.sas()

    least, most = (before_end - after_auth) * 1000, (after_end - before_auth) * 1000
    assert least - TOLERANCE_MS <= verdict.double_running_ms <= most
    assert (verdict.old, verdict.new) == GATEWAYS
    assert verdict.stray_packets >= RUN_BOTH_S * 90  # the ghost's own stream alone is 100 packets a second
    assert {burst.gateway for burst in verdict.stray_bursts} == {"gw-a"}
    assert verdict.both_hold_ms >= least
    assert len(sas["gw-b"].up) == 1


def test_a_pair_that_hands_over_runs_nothing_twice(by_hand: ByHand) -> None:
    """The first gateway ends before the second one begins: 0 ms, and every time of the takeover in its order."""
    lab = by_hand.lab
    with Observer(lab) as seen:
        seen.wait_through()
        seen.mark("fault")
        by_hand.charons["gw-a"].kill()
        by_hand.take_vip(lab.gw_a)
        by_hand.give_vip(lab.gw_b)
        by_hand.initiate(lab.gw_b)
        arrived = seen.wait_through(by="gw-b", after="fault")
        verdict = seen.timeline(since="fault")
        arrived_ms = (arrived.at - seen.marked("fault")) * 1000

    assert (verdict.double_running_ms, verdict.stray_packets, verdict.both_hold_ms) == (0, 0, 0)
    assert (verdict.old, verdict.new, verdict.vip) == (*GATEWAYS, vip("wan1"))
    steps = [
        verdict.last_of_old_ms,
        verdict.vip_removed_ms,
        verdict.vip_added_ms,
        verdict.first_init_ms,
        verdict.first_auth_ms,
        verdict.auth_answered_ms,
        verdict.first_esp_ms,
        verdict.first_through_ms,
    ]
    assert None not in steps
    assert steps == sorted(step for step in steps if step is not None)
    assert verdict.first_through_ms == pytest.approx(arrived_ms)
    assert verdict.lost > 0
    assert verdict.outage_ms == pytest.approx(verdict.lost * 10, abs=TOLERANCE_MS)
    assert json.loads(json.dumps(verdict.as_json()))["lost"] == verdict.lost


def test_a_ghost_without_the_address_is_seen(by_hand: ByHand) -> None:
    """A sender that needs no address on the gateway that handed over is double running too."""
    lab = by_hand.lab
    with Observer(lab) as seen:
        seen.wait_through()
        by_hand.charons["gw-a"].kill()
        by_hand.take_vip(lab.gw_a)
        by_hand.give_vip(lab.gw_b)
        seen.mark("fault")
        by_hand.initiate(lab.gw_b)
        seen.wait_through(by="gw-b", after="fault")
        with socket_in(lab.gw_a.netns, socket.AF_INET, socket.SOCK_DGRAM) as ghost:
            ghost.setsockopt(socket.SOL_IP, socket.IP_TRANSPARENT, 1)  # IPv4 needs more than a nonlocal bind
            ghost.bind((vip("wan1"), 4500))
            ghost.sendto(bytes.fromhex("deadbeef00000001") + bytes(64), (address("peer", "wan1"), 4500))
        verdict = seen.timeline(since="fault")

    assert (verdict.new, verdict.stray_packets) == ("gw-b", 1)
    assert verdict.double_running_ms > 0


def test_a_frozen_charon_is_an_answer(by_hand: ByHand) -> None:
    """Asking for SAs never hangs: what does not answer is unknown, not empty, and delays nobody else's answer."""
    with Observer(by_hand.lab, traffic=False) as seen:
        by_hand.charons["gw-a"].freeze()
        began = time.monotonic()
        sas = seen.sas()
        took_s = time.monotonic() - began
        by_hand.charons["gw-a"].thaw()

    assert sas["gw-a"].sas is None
    assert len(sas["peer"].up) == 1
    assert took_s < ANSWER_DEADLINE_S + 1


@pytest.mark.parametrize("family", [4, 6])
def test_what_leaves_in_clear_is_a_leak(lab: Lab, family: int) -> None:
    """With no tunnel at all a gateway forwards the inner packets as they are: each is seen on the WAN, none arrives."""
    length = NET_OF_FAMILY[family]
    lab.gw_a.run("ip", "address", "add", f"{vip('lan', family)}/{length}", "dev", "lan", *["nodad"] * (family == 6))
    with Observer(lab, family=family) as seen:
        wait_until(lambda: len(seen.leaks()) >= 100, "leaks on the WAN")
        verdict = seen.timeline()
        start = seen.marked("start")
        leaked = [packet for packet in seen.leaks() if 0 <= packet.at - start <= verdict.window_ms / 1000]

    assert {packet.port for packet in leaked} == {port("gw-a", "wan1"), port("gw-b", "wan1")}
    assert verdict.leaked == len(leaked) > 0
    assert verdict.main.received == 0


def test_nothing_is_missed_at_5000_packets_a_second(lab: Lab) -> None:
    """Every number that the client sent in two seconds is in the capture, and the kernel counted no drop."""
    lab.gw_a.run("ip", "address", "add", f"{vip('lan')}/24", "dev", "lan")
    with Observer(lab, rate=5000 / 3) as seen:
        wait_until(
            lambda: seen.first_through(stream="main", after=0.0) or len(seen.leaks()) > 6000, "two seconds' packets"
        )
    sent = seen.evidence().report.sent  # raises where a packet was dropped
    captured = {
        (packet.content.stream, packet.content.sequence)
        for packet in seen.packets(port=port("client", "lan"), leaving=True, content=Numbered)
        if isinstance(packet.content, Numbered)
    }

    assert captured == {(stream, number) for stream, count in sent.items() for number in range(count)}
    assert sum(sent.values()) > 5000


def test_what_the_client_cannot_even_send_is_lost(lab: Lab) -> None:
    """Without a route the client's kernel refuses the packets: they were due, so they count as sent and lost."""
    lab.client.run("ip", "route", "delete", "default")
    with Observer(lab) as seen:
        seen.mark("fault")
        wait_until(lambda: time.monotonic() > seen.marked("fault") + 0.3, "some packets' time")
        verdict = seen.timeline(since="fault")
    report = seen.evidence().report

    assert verdict.lost == verdict.main.sent >= 30
    assert report.refused[1] == report.sent[1]


def test_an_observation_that_missed_a_packet_is_void(lab: Lab) -> None:
    """A judge whose buffer overflowed gives no verdict."""
    with Observer(lab, buffer_bytes=1) as seen:
        with socket_in(lab.client.netns, socket.AF_INET, socket.SOCK_DGRAM) as flood:
            for _ in range(3000):
                flood.sendto(bytes(20), (address("gw-a", "lan"), NUMBERED_PORT))

        with pytest.raises(VoidObservationError, match="dropped"):
            seen.timeline()


def test_a_gateway_without_power_holds_nothing(lab: Lab) -> None:
    """Its address ends with it, and what its next life holds is known again."""
    with Observer(lab, traffic=False) as seen:
        assert seen.holders(address("gw-a", "wan1")) == {"gw-a"}
        lab.power_off(lab.gw_a)
        seen.wait_for(lambda: seen.holders(address("gw-a", "wan1")) == set(), "the death of gw-a", within_s=1)
        lab.power_on(lab.gw_a)
        seen.wait_for(lambda: seen.holders(address("gw-a", "wan1")) == {"gw-a"}, "the next life of gw-a", within_s=1)


def test_a_takeover_by_keepalived_is_read_from_the_wire() -> None:
    """The pair as people run it: adverts, gratuitous ARP, IKE and the address are all seen, in a plausible order."""
    with notify_pair() as pair, Observer(pair.lab) as seen:
        seen.wait_through()
        seen.mark("fault")
        pair.a.keepalived.ask_to_stop()
        seen.wait_through(by="gw-b", after="fault")
        verdict = seen.timeline(since="fault")
        assert seen.packets(port=port("gw-a", "wan1"), content=Vrrp)
        assert seen.packets(port=port("peer", "wan1"), content=Ike, since="fault")
        assert seen.packets(port=port("gw-b", "wan1"), content=Arp, leaving=True, since="fault")

    assert (verdict.old, verdict.new) == GATEWAYS
    assert verdict.first_advert_ms is not None
    assert verdict.announced_ms is not None
    assert verdict.takeover_ms is not None
    assert verdict.takeover_ms > 0
    assert 0 < verdict.outage_ms < 5000
    assert verdict.main.outage_to_ms is not None
