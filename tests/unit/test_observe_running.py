"""How the observer decides who runs a tunnel, and that another gateway does too."""

import math
from dataclasses import replace

from tests.lab.observe.holders import BEFORE, Hold, overlap_s
from tests.lab.observe.packets import Content, Esp, Ike, Keepalive, Packet
from tests.lab.observe.running import Between, Running, judge_running

VIP, VIP2, PEER, OWN_A = "203.0.113.10", "198.51.100.10", "203.0.113.20", "203.0.113.2"
PORTS = {"a-wan1": "gw-a", "b-wan1": "gw-b"}
ESP = Esp("c0ffee01", 1, in_udp=True)


def ike(exchange: int, spi: str) -> Ike:
    """A request of the initiator."""
    return Ike(spi, "", 2, exchange, 1, response=False, from_initiator=True)


def leaves(gateway: str, at: float, content: Content = ESP, *, source: str = VIP) -> Packet:
    """A packet that leaves a gateway for the peer."""
    return Packet(at, f"{gateway}-wan1", leaving=True, mac="", source=source, destination=PEER, content=content)


def judge(packets: list[Packet], holds: list[Hold], tunnel: Between | None = None) -> Running:
    """The verdict, packets in time order."""
    ordered = sorted(packets, key=lambda packet: packet.at)
    return judge_running(ordered, gateways=PORTS, holds=holds, vips=(VIP, VIP2), tunnel=tunnel or Between())


def takeover(gateway: str, at: float, spi: str) -> list[Packet]:
    """IKE_SA_INIT, IKE_AUTH 10 ms later, ESP 10 ms after that."""
    return [leaves(gateway, at, ike(34, spi)), leaves(gateway, at + 0.01, ike(35, spi)), leaves(gateway, at + 0.02)]


MOVED = [Hold("gw-a", VIP, BEFORE, 10.0), Hold("gw-b", VIP, 10.0)]
STALE = [Hold("gw-a", VIP, BEFORE), Hold("gw-b", VIP, 10.0)]


def test_a_clean_handover_is_no_double_running() -> None:
    """The old master is silent before the new one's IKE_AUTH; its IKE_SA_INIT before that is nothing bad."""
    running = judge([*takeover("a", 1.0, "aa"), leaves("a", 10.005), *takeover("b", 10.001, "bb")], MOVED)

    assert [(run.gateway, run.since) for run in running.runs] == [("gw-a", 1.01), ("gw-b", 10.011)]
    assert running.double_running_s(0, 20) == 0
    assert running.strays == ()


def test_what_the_old_master_sends_after_the_new_ones_auth_is_double_running() -> None:
    """It lasts from the new master's first IKE_AUTH to the old one's last packet, silences included."""
    ghosts = [leaves("a", at) for at in (10.5, 10.6, 11.51)]
    running = judge([*takeover("a", 1.0, "aa"), *takeover("b", 10.0, "bb"), *ghosts], STALE)

    assert math.isclose(running.double_running_s(0, 20), 1.5)
    assert [(burst.packets, burst.since, burst.until) for burst in running.bursts(0, 20)] == [
        (2, 10.5, 10.6),
        (1, 11.51, 11.51),
    ]


def test_a_window_counts_only_what_is_in_it() -> None:
    """A ghost before the mark is another fault's, and a run from before the mark counts from the mark."""
    running = judge([*takeover("b", 10.0, "bb"), leaves("a", 11.0), leaves("a", 15.0)], STALE)

    assert running.double_running_s(16, 20) == 0
    assert math.isclose(running.double_running_s(14, 20), 1.0)


def test_a_tunnel_that_ran_before_the_observation_has_its_runner() -> None:
    """ESP of the only holder is enough to know who runs it, so a ghost on the other gateway is seen at once."""
    running = judge([leaves("a", 1.0), leaves("b", 2.0)], [Hold("gw-a", VIP, BEFORE)])

    assert running.runner_at(3.0) == "gw-a"
    assert [stray.gateway for stray in running.strays] == ["gw-b"]


def test_a_ghost_that_authenticates_anew_does_not_get_the_right() -> None:
    """The stale holder's own IKE_AUTH is one more stray; the rightful master's packets stay rightful."""
    running = judge([*takeover("b", 10.0, "bb"), *takeover("a", 12.0, "a2"), leaves("b", 13.0)], STALE)

    assert running.runner_at(20) == "gw-b"
    assert {stray.gateway for stray in running.strays} == {"gw-a"}
    assert len(running.strays) == 3


def test_a_ghost_that_roams_to_its_own_address_does_not_get_the_right() -> None:
    """An address of its own, which only it can hold, gives a gateway no right to the pair's tunnel."""
    roamed = [leaves("a", 12.0, ike(35, "a2"), source=OWN_A), leaves("a", 12.1, source=OWN_A)]
    running = judge([*takeover("b", 10.0, "bb"), *roamed, leaves("b", 13.0)], MOVED)

    assert running.runner_at(20) == "gw-b"
    assert len(running.strays) == 2


def test_a_retransmitted_auth_begins_nothing() -> None:
    """The old master's IKE_AUTH, sent again after it lost the tunnel, is a stray even where nobody tells who holds."""
    again = leaves("a", 12.0, ike(35, "aa"))
    running = judge([*takeover("a", 1.0, "aa"), *takeover("b", 10.0, "bb"), again], [])

    assert running.runner_at(20) == "gw-b"
    assert [stray.packet for stray in running.strays] == [again]


def test_the_goodbye_of_the_old_master_is_a_stray() -> None:
    """Its IKE_SA took the tunnel once; what that IKE_SA still sends after the new master's IKE_AUTH is too late."""
    running = judge([*takeover("a", 1.0, "aa"), *takeover("b", 10.0, "bb"), leaves("a", 10.2, ike(37, "aa"))], MOVED)

    assert math.isclose(running.double_running_s(0, 20), 0.19)


def test_an_attempt_that_got_no_answer_is_no_stray() -> None:
    """The new master's IKE_SA_INITs before the one that succeeds are its right, since it got the address last."""
    tries = [leaves("b", at, ike(34, f"b{at}")) for at in (10.0, 11.0, 12.0)]
    running = judge([*takeover("a", 1.0, "aa"), *tries, *takeover("b", 13.0, "bb")], STALE)

    assert running.strays == ()


def test_the_right_comes_back_with_the_address() -> None:
    """Preemption: the first gateway gets the address again, and only the other's later packets are strays."""
    holds = [Hold("gw-a", VIP, BEFORE, 10.0), Hold("gw-b", VIP, 10.0, 20.0), Hold("gw-a", VIP, 20.0)]
    packets = [*takeover("a", 1.0, "aa"), *takeover("b", 10.0, "bb"), *takeover("a", 20.0, "a2"), leaves("b", 20.5)]
    running = judge(packets, holds)

    assert [run.gateway for run in running.runs] == ["gw-a", "gw-b", "gw-a"]
    assert [stray.packet.at for stray in running.strays] == [20.5]


def test_where_both_hold_the_address_from_the_start_the_later_auth_is_the_new_master() -> None:
    """Two gateways that were set up alike: nobody's right is newer, the order of their IKE_AUTHs decides."""
    holds = [Hold("gw-a", VIP, BEFORE), Hold("gw-b", VIP, BEFORE)]
    running = judge([*takeover("a", 1.0, "aa"), *takeover("b", 2.0, "bb"), leaves("a", 3.01)], holds)

    assert running.runner_at(9) == "gw-b"
    assert math.isclose(running.double_running_s(0, 9), 1.0)


def test_what_the_peer_sends_to_the_old_master_is_no_stray() -> None:
    """Only what leaves a gateway says that it runs something."""
    answer = replace(leaves("a", 11.0), leaving=False, source=PEER, destination=VIP)
    running = judge([*takeover("b", 10.0, "bb"), answer], STALE)

    assert running.strays == ()


def test_keepalives_are_counted_apart() -> None:
    """State that is left on the old master shows, but a NAT keepalive runs nothing."""
    running = judge([*takeover("b", 10.0, "bb"), leaves("a", 11.0, Keepalive())], STALE)

    assert running.stray_keepalives == 1
    assert running.strays == ()


def test_two_tunnels_on_two_gateways_are_told_apart() -> None:
    """A pair that shares its load is judged tunnel by tunnel."""
    packets = [*takeover("a", 1.0, "aa"), leaves("b", 2.0, ike(35, "bb"), source=VIP2), leaves("b", 3.0, source=VIP2)]
    holds = [Hold("gw-a", VIP, BEFORE), Hold("gw-b", VIP2, BEFORE)]

    for address, gateway in ((VIP, "gw-a"), (VIP2, "gw-b")):
        running = judge(packets, holds, Between(local=address))
        assert (running.runner_at(9), running.strays) == (gateway, ())


def test_overlap_counts_only_two_hosts_within_the_window() -> None:
    """Both-hold time is what two kernels share of the window."""
    holds = [Hold("gw-a", VIP, BEFORE, 12.0), Hold("gw-b", VIP, 10.0), Hold("gw-b", VIP2, BEFORE)]

    assert overlap_s(holds, address=VIP, since=0.0, until=30.0) == 2.0
    assert overlap_s(holds, address=VIP, since=11.0, until=30.0) == 1.0
    assert overlap_s(holds, address=VIP2, since=0.0, until=30.0) == 0.0
