"""How the observer draws its verdict on a fault from what was seen."""

from dataclasses import replace

import pytest

from tests.lab.observe.evidence import Evidence
from tests.lab.observe.holders import BEFORE, Hold
from tests.lab.observe.packets import Arp, Content, Esp, Ike, Numbered, Other, Packet, Vrrp
from tests.lab.observe.running import Between
from tests.lab.observe.streams import Ports
from tests.lab.observe.timeline import Timeline, draw_timeline
from tests.lab.observe.traffic import Report

VIP, PEER, CLIENT, SERVER = "203.0.113.10", "203.0.113.20", "10.10.0.100", "10.20.0.100"
MARK = 10.0
ESP = Esp("c0ffee01", 1, in_udp=True)
MOVED = [Hold("gw-a", VIP, BEFORE, 10.1), Hold("gw-b", VIP, 10.2)]
STAYED = [Hold("gw-a", VIP, BEFORE)]


def at_port(port: str, at: float, content: Content, *, leaving: bool = True) -> Packet:
    """A packet between the VIP and the peer."""
    ends = (VIP, PEER) if leaving else (PEER, VIP)
    return Packet(at, port, leaving=leaving, mac="", source=ends[0], destination=ends[1], content=content)


def ike(exchange: int, spi: str, *, response: bool = False) -> Ike:
    """A message of an IKE_SA that the gateway began."""
    return Ike(spi, "", 2, exchange, exchange - 34, response=response, from_initiator=not response)


def handshake(host: str, at: float, spi: str) -> list[Packet]:
    """Four messages 10 ms apart, and the first ESP after another 10 ms."""
    port = f"{host}-wan1"
    return [
        at_port(port, at, ike(34, spi)),
        at_port(port, at + 0.01, ike(34, spi, response=True), leaving=False),
        at_port(port, at + 0.02, ike(35, spi)),
        at_port(port, at + 0.03, ike(35, spi, response=True), leaving=False),
        at_port(port, at + 0.04, ESP),
    ]


def numbered(host: str, number: int, at: float) -> list[Packet]:
    """A packet of the main stream that a gateway gets at a time and the server 1 ms later."""
    content = Numbered(1, number, int(at * 1e9), echo=False)
    return [
        at_port(f"{host}-lan", at, content, leaving=False),
        at_port("s-far", at + 0.001, content, leaving=False),
    ]


def verdict(packets: list[Packet], holds: list[Hold], **deaths: float) -> Timeline:
    """Of the window from 10 s to 12 s; packet n of the only stream is due at n * 100 ms."""
    evidence = Evidence(
        packets=sorted(packets, key=lambda packet: packet.at),
        until=13.0,
        holds=holds,
        deaths={name.replace("_", "-"): at for name, at in deaths.items()},
        report=Report(start=0.0, interval_s=0.1, sent={1: 1000}, refused={1: 0}),
        stream_names={1: "main"},
        ports=Ports(client="c-lan", server="s-far"),
        wan_ports={"a-wan1": "gw-a", "b-wan1": "gw-b"},
        lan_ports={"gw-a": "a-lan", "gw-b": "b-lan"},
        vips=(VIP,),
        is_inner=lambda address: address.startswith(("10.10.", "10.20.")),
    )
    return draw_timeline(evidence, since="fault", start=MARK, end=12.0, tunnel=Between(), vip=None)


BEFORE_FAULT = [*handshake("a", 1.0, "aa"), at_port("a-wan1", 9.99, ESP), *numbered("a", 99, 9.99)]


def test_a_takeover_has_each_of_its_times() -> None:
    """Every step of the move is the new gateway's first, in milliseconds since the mark."""
    earlier = [at_port("b-wan1", at, Vrrp(3, 51, 100, (VIP,))) for at in (5.0, 6.0)]
    announced = Arp(request=True, sender=VIP, sender_mac="", target=VIP)
    seen = verdict(
        [
            *BEFORE_FAULT,
            *earlier,
            at_port("b-wan1", 5.0, announced),
            at_port("b-wan1", 5.0, ike(34, "b0")),
            at_port("a-wan1", 10.05, ESP),
            at_port("a-wan1", 10.4, ESP, leaving=False),  # the peer does not know yet: this is not gw-a's
            at_port("b-wan1", 10.19, Vrrp(3, 51, 100, (VIP,))),
            at_port("b-wan1", 10.21, announced),
            *handshake("b", 10.3, "bb"),
            *handshake("b", 11.3, "b2"),  # a second IKE_SA is none of the takeover's times
            *numbered("b", 104, 10.4),
        ],
        MOVED,
        gw_a=10.15,
    )

    assert (seen.old, seen.new, seen.vip) == ("gw-a", "gw-b", VIP)
    expected = {
        "last_of_old_ms": 50,
        "vip_removed_ms": 100,
        "old_died_ms": 150,
        "first_advert_ms": 190,
        "vip_added_ms": 200,
        "announced_ms": 210,
        "first_init_ms": 300,
        "first_auth_ms": 320,
        "auth_answered_ms": 330,
        "first_esp_ms": 340,
        "first_through_ms": 401,
        "outage_ms": 1599,  # nothing came after that one packet
        "takeover_ms": 130,
        "both_hold_ms": 0,
        "double_running_ms": 0,
    }
    assert {name: seen.as_json()[name] for name in expected} == pytest.approx(expected)
    assert seen.retransmits == 0


def test_a_fault_that_moves_nothing_ends_with_its_outage() -> None:
    """Charon came back on the same gateway: it is old and new, and through means through again."""
    seen = verdict([*BEFORE_FAULT, *handshake("a", 10.5, "a2"), *numbered("a", 106, 10.6)], STAYED)

    assert (seen.old, seen.new, seen.last_of_old_ms, seen.vip_added_ms) == ("gw-a", "gw-a", None, None)
    assert seen.first_auth_ms == pytest.approx(520)
    assert seen.main.outage_ms == pytest.approx(1399)
    assert seen.first_through_ms is None  # the longest silence is still going on
    assert seen.first_advert_ms is None


def test_through_again_on_the_same_gateway_is_the_end_of_the_longest_silence() -> None:
    """A packet that slipped through just after the mark does not count."""
    later = [packet for number in range(105, 120) for packet in numbered("a", number, number / 10)]
    seen = verdict([*BEFORE_FAULT, *numbered("a", 100, 10.0), *later], STAYED)

    assert seen.first_through_ms == pytest.approx(501)


def test_a_takeover_that_got_stuck_is_not_taken_for_done() -> None:
    """The address moved, nobody authenticated: the new gateway is named, and what did not happen is None."""
    seen = verdict(
        [*BEFORE_FAULT, at_port("b-wan1", 10.3, ike(34, "bb")), at_port("b-wan1", 10.8, ike(34, "bb"))], MOVED
    )

    assert (seen.old, seen.new) == ("gw-a", "gw-b")
    assert (seen.first_auth_ms, seen.auth_answered_ms, seen.first_esp_ms, seen.first_through_ms) == (None,) * 4
    assert seen.first_init_ms == pytest.approx(300)
    assert seen.retransmits == 1
    assert seen.takeover_ms is None


def test_only_inner_packets_in_clear_that_leave_are_leaks() -> None:
    """ARP, adverts, IPsec and what arrives are none."""
    clear = replace(at_port("a-wan1", 10.5, Other(1)), source=CLIENT, destination=SERVER)
    masqueraded = replace(clear, source=VIP)
    seen = verdict(
        [
            *BEFORE_FAULT,
            clear,
            masqueraded,
            replace(clear, leaving=False),
            replace(clear, content=ESP),
            replace(clear, port="a-lan"),
            replace(clear, content=Other(58), source=VIP, destination=PEER),
        ],
        STAYED,
    )

    assert seen.leaked == 2
