"""What became of the numbered traffic in a window: judged one way, by receipt at the server."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from tests.lab.observe.packets import Numbered, Packet
from tests.lab.observe.traffic import Report

IN_FLIGHT_S = 0.1
"""Packets due this shortly before the observation's end may still be under way: they are not judged. A round trip in
the lab takes about 1 ms, a busy machine's scheduler tens of them."""


@dataclass(frozen=True, slots=True)
class StreamResult:
    """One stream in one window. Times are in ms from the window's start; None: it did not happen."""

    name: str
    sent: int
    """Packets that were due in the window, whether or not the client's kernel took them."""
    received: int
    """How many of those reached the server."""
    lost: int
    returned: int
    """How many echoes of those came back to the client."""
    outage_ms: float
    """The longest time in which the server received nothing; without any loss it is about one sending interval."""
    outage_from_ms: float
    outage_to_ms: float | None
    """When the longest silence ended; None: it lasted to the window's end."""
    round_trip_ms: float | None
    """Median."""
    late_ms: float
    """By how much the judge's own sender was late at worst: an outage is not known better than this."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the traffic enters and leaves: the client's and the server's port of the switch."""

    client: str
    server: str


def _of(packets: Iterable[Packet], *, port: str, leaving: bool, stream: int, echo: bool) -> dict[int, Packet]:
    """First sighting of each sequence number."""
    found: dict[int, Packet] = {}
    for packet in packets:
        content = packet.content
        if (
            packet.port == port
            and packet.leaving == leaving
            and isinstance(content, Numbered)
            and content.stream == stream
            and content.echo == echo
        ):
            found.setdefault(content.sequence, packet)
    return found


def receipts(packets: Iterable[Packet], *, ports: Ports, stream: int) -> dict[int, Packet]:
    """What the server got: sequence number to packet."""
    return _of(packets, port=ports.server, leaving=False, stream=stream, echo=False)


def carried_by(packets: Iterable[Packet], *, lan_port: str, stream: int) -> set[int]:
    """Sequence numbers that were handed to the gateway behind a LAN port."""
    return set(_of(packets, port=lan_port, leaving=False, stream=stream, echo=False))


def judge_stream(
    packets: list[Packet],
    *,
    ports: Ports,
    report: Report,
    stream: int,
    name: str,
    since: float,
    until: float,
    observed_until: float,
) -> StreamResult:
    """Judge one stream in a window: what was due in it, wherever in the observation it arrived."""
    due = report.due_between(stream, since, min(until, observed_until - IN_FLIGHT_S))
    got = receipts(packets, ports=ports, stream=stream)
    out = _of(packets, port=ports.client, leaving=True, stream=stream, echo=False)
    back = _of(packets, port=ports.client, leaving=False, stream=stream, echo=True)
    received = [number for number in due if number in got]
    returned = [number for number in due if number in back]
    trips = [back[number].at - packet_sent(back[number]) for number in returned]
    start, end = _longest_silence([packet.at for packet in got.values()], since, until)
    return StreamResult(
        name=name,
        sent=len(due),
        received=len(received),
        lost=len(due) - len(received),
        returned=len(returned),
        outage_ms=(end - start) * 1000,
        outage_from_ms=(start - since) * 1000,
        outage_to_ms=None if end >= until else (end - since) * 1000,
        late_ms=max((packet_sent(out[number]) - report.due(number) for number in due if number in out), default=0.0)
        * 1000,
        round_trip_ms=median(trips) * 1000 if trips else None,
    )


def packet_sent(packet: Packet) -> float:
    """When the client sent a numbered packet or the one that it echoes (CLOCK_MONOTONIC)."""
    assert isinstance(packet.content, Numbered)
    return packet.content.sent_ns / 1e9


def _longest_silence(times: list[float], since: float, until: float) -> tuple[float, float]:
    """The longest stretch of the window without a receipt; it may have begun with the last one before the window."""
    before = max((at for at in times if at <= since), default=since)
    edges = [before, *sorted(at for at in times if since < at <= until), until]
    return max(pairwise(edges), key=lambda gap: gap[1] - gap[0])
