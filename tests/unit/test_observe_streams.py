"""What the observer says of numbered traffic."""

import math

from tests.lab.observe.packets import Numbered, Packet
from tests.lab.observe.streams import Ports, StreamResult, judge_stream
from tests.lab.observe.traffic import Report

PORTS = Ports(client="c-lan", server="s-far")
INTERVAL_S = 0.01


def result(
    got: list[int], *, sent: int = 1000, since: float = 0.0, until: float = 10.1, late_s: float = 0.0
) -> StreamResult:
    """Packet n is due at n * 10 ms; those in `got` arrive 1 ms later and their echoes after another 1 ms."""
    packets = []
    for number in got:
        due = number * INTERVAL_S
        sent_at = due + late_s
        seen_at = ((0.0, "c-lan", True, False), (0.001, "s-far", False, False), (0.002, "c-lan", False, True))
        for after, port, leaving, echo in seen_at:
            content = Numbered(1, number, int(sent_at * 1e9), echo)
            packets.append(Packet(sent_at + after, port, leaving, mac="", source="", destination="", content=content))
    report = Report(start=0.0, interval_s=INTERVAL_S, sent={1: sent}, refused={1: 0})
    return judge_stream(
        packets, ports=PORTS, report=report, stream=1, name="main", since=since, until=until, observed_until=until
    )


def test_nothing_lost_is_an_outage_of_one_interval() -> None:
    """Without a fault the longest silence is the sending interval."""
    seen = result(list(range(1000)), until=9.99)

    assert (seen.lost, seen.sent, seen.returned) == (0, 990, 990)
    assert math.isclose(seen.outage_ms, 10, abs_tol=0.01)
    assert seen.round_trip_ms is not None
    assert math.isclose(seen.round_trip_ms, 2, abs_tol=0.01)


def test_a_hole_is_its_losses_and_the_silence_between_two_receipts() -> None:
    """Fifty packets missing are 510 ms in which the server received nothing."""
    seen = result([n for n in range(1000) if not 300 <= n < 350], since=1.0, until=9.99)

    assert seen.lost == 50
    assert math.isclose(seen.outage_ms, 510, abs_tol=0.01)
    assert math.isclose(seen.outage_from_ms, 1991, abs_tol=0.01)
    assert seen.outage_to_ms is not None
    assert math.isclose(seen.outage_to_ms, 2501, abs_tol=0.01)


def test_an_outage_that_does_not_end_lasts_to_the_windows_end() -> None:
    """A stream that never comes back is not a short outage."""
    seen = result(list(range(100)), until=9.0)

    assert seen.outage_to_ms is None
    assert math.isclose(seen.outage_ms, 9000 - 991, abs_tol=0.01)
    assert seen.lost == seen.sent - 100


def test_an_outage_that_begins_at_the_mark_counts_from_the_last_receipt_before_it() -> None:
    """The silence is the server's, wherever somebody set a mark."""
    seen = result([n for n in range(1000) if not 100 <= n < 200], since=1.0, until=9.99)

    assert math.isclose(seen.outage_ms, 1010, abs_tol=0.01)


def test_packets_under_way_at_the_end_are_not_lost() -> None:
    """An observation that ends now does not blame the network for the present."""
    assert result(list(range(995)), until=9.99).lost == 0


def test_a_packet_that_the_clients_kernel_refused_is_lost_too() -> None:
    """Numbers that never left count as sent: nobody got them."""
    seen = result([], sent=500, until=4.005)

    assert (seen.sent, seen.lost) == (391, 391)


def test_a_late_sender_is_told_apart_from_a_slow_network() -> None:
    """The packets themselves say when they were sent, and that is not when they were due."""
    assert math.isclose(result(list(range(1000)), late_s=0.05).late_ms, 50, abs_tol=0.01)
    assert math.isclose(result(list(range(1000))).late_ms, 0, abs_tol=0.01)
