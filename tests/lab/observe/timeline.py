"""The verdict on one fault: what happened when, in milliseconds since it, and whether an invariant broke."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.lab.observe.evidence import MAIN, Evidence
from tests.lab.observe.holders import Hold, overlap_s
from tests.lab.observe.packets import IKE_SA_INIT, Ah, Arp, Esp, Ike, Packet, Vrrp
from tests.lab.observe.running import Between, Burst
from tests.lab.observe.streams import StreamResult, carried_by, judge_stream, receipts


@dataclass(frozen=True, slots=True)
class Timeline:
    """One fault. All `_ms` but durations count from the mark; None: it was not seen in the window."""

    since: str
    window_ms: float
    vip: str
    """The tunnel's virtual address, which the times below are about."""
    old: str | None
    """Who ran the tunnel at the mark."""
    new: str | None
    """Who runs it at the end; equal to `old` where the fault moved nothing."""
    old_died_ms: float | None
    """When the old gateway lost power."""
    vip_removed_ms: float | None
    vip_added_ms: float | None
    first_advert_ms: float | None
    """The new gateway's first VRRP advertisement with a priority above 0, on any of its WANs."""
    announced_ms: float | None
    """Its first gratuitous ARP for the virtual address."""
    first_init_ms: float | None
    """Its first IKE_SA_INIT as initiator."""
    first_auth_ms: float | None
    """Its first IKE_AUTH of a new IKE_SA: from here on nobody else may send."""
    auth_answered_ms: float | None
    """The last answer in that IKE_SA's IKE_AUTH: it brings the first CHILD_SA. Where the peer began, it is our own."""
    first_esp_ms: float | None
    """Its first ESP or AH after that; without one of these IKE_AUTHs, its first at all."""
    first_through_ms: float | None
    """Receipt at the server of the first `main` packet that was handed to the new gateway; where the fault moved
    nothing, the end of the longest silence."""
    last_of_old_ms: float | None
    """The old gateway's last IKE, ESP or AH; below 0 where it was silent from the mark on."""
    both_hold_ms: float
    """For how long both kernels held the virtual address."""
    double_running_ms: float
    """From the new master's first IKE_AUTH to the last IKE, ESP or AH of the other gateway; invariant 1 wants 0."""
    stray_packets: int
    stray_bursts: tuple[Burst, ...]
    """When exactly the other gateway sent; here in ms since the mark."""
    stray_keepalives: int
    """NAT keepalives, over the whole observation: state was left behind, but ran nothing."""
    retransmits: int
    """IKE messages that a gateway sent again (an IKE_SA_INIT repeated with a cookie counts too)."""
    leaked: int
    """Packets in clear on a gateway's WAN, from or to an inner network."""
    streams: Mapping[str, StreamResult] = field(default_factory=dict)

    @property
    def main(self) -> StreamResult:
        """The stream that goes by the virtual address."""
        return self.streams[MAIN]

    @property
    def outage_ms(self) -> float:
        """The longest silence of the main stream at the server."""
        return self.main.outage_ms

    @property
    def sender_late_ms(self) -> float:
        """By how much the judge's own sender of the main stream was late at worst."""
        return self.main.late_ms

    @property
    def lost(self) -> int:
        """Packets of the main stream that the server never got."""
        return self.main.lost

    @property
    def takeover_ms(self) -> float | None:
        """From the address to the answer that brings the first CHILD_SA."""
        return _between(self.vip_added_ms, self.auth_answered_ms)

    def as_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`, the derived numbers included."""
        return {
            **asdict(self),
            "streams": {name: asdict(result) for name, result in self.streams.items()},
            "outage_ms": self.outage_ms,
            "lost": self.lost,
            "sender_late_ms": self.sender_late_ms,
            "takeover_ms": self.takeover_ms,
        }


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else end - start


class _Window:
    """Seconds of CLOCK_MONOTONIC to milliseconds since the mark, and the search in between."""

    def __init__(self, since: float, until: float) -> None:
        self.since, self.until = since, until

    def ms(self, at: float | None) -> float | None:
        return None if at is None else (at - self.since) * 1000

    def has(self, at: float) -> bool:
        return self.since <= at <= self.until

    def first(self, packets: list[Packet], wanted: Callable[[Packet], bool]) -> Packet | None:
        return next((packet for packet in packets if self.has(packet.at) and wanted(packet)), None)

    def first_at(self, times: list[float]) -> float | None:
        return min((at for at in times if self.has(at)), default=None)


def draw_timeline(
    evidence: Evidence, *, since: str, start: float, end: float, tunnel: Between, vip: str | None
) -> Timeline:
    """Draw the verdict for the window from `start` to `end`; `vip` defaults to the tunnel's source at the mark."""
    window = _Window(start, end)
    running = evidence.judge_running(tunnel)
    sent = evidence.sent(tunnel)
    address = vip or tunnel.local or _source(sent, start, evidence.vips)
    old = running.runner_at(start) or _holder(evidence.holds, address, start)
    new = running.runner_at(end) or _holder(evidence.holds, address, end)
    taken = [run for run in running.runs if window.has(run.since)]
    if not taken:  # nobody authenticated: whoever holds the address at the end is as far as it got
        new = _holder(evidence.holds, address, end) or new
    by_new = [packet for gateway, packet in sent if gateway == new]
    init = window.first(by_new, _is_init)
    auth = window.first(by_new, _new_auth(by_new, start))
    esp = window.first(by_new, lambda p: isinstance(p.content, Esp | Ah) and p.at >= (auth.at if auth else start))
    new_ports = {port for port, gateway in evidence.wan_ports.items() if gateway == new}
    leaving_new = [packet for packet in evidence.packets if packet.leaving and packet.port in new_ports]
    advert = window.first(leaving_new, lambda p: isinstance(p.content, Vrrp) and p.content.priority > 0)
    announced = window.first(leaving_new, lambda p: _announces(p, address))
    bursts = running.bursts(start, end)
    streams = {
        name: judge_stream(
            evidence.packets,
            ports=evidence.ports,
            report=evidence.report,
            stream=number,
            name=name,
            since=start,
            until=end,
            observed_until=evidence.until,
        )
        for number, name in evidence.stream_names.items()
    }
    return Timeline(
        since=since,
        window_ms=(end - start) * 1000,
        vip=address,
        old=old,
        new=new,
        old_died_ms=window.ms(_within(window, evidence.deaths.get(old or ""))),
        vip_removed_ms=window.ms(
            window.first_at([h.until for h in evidence.holds if h.host == old and h.address == address])
        ),
        vip_added_ms=window.ms(
            window.first_at([h.since for h in evidence.holds if h.host == new and h.address == address])
        ),
        first_advert_ms=_at(window, advert if old != new else None),
        announced_ms=_at(window, announced),
        first_init_ms=_at(window, init),
        first_auth_ms=_at(window, auth),
        auth_answered_ms=window.ms(_answer(evidence, auth, end)),
        first_esp_ms=_at(window, esp),
        first_through_ms=streams[MAIN].outage_to_ms if old == new else window.ms(_first_through(evidence, window, new)),
        last_of_old_ms=window.ms(
            max((packet.at for gateway, packet in sent if gateway == old and packet.at <= end), default=None)
            if old != new
            else None
        ),
        both_hold_ms=1000 * overlap_s(evidence.holds, address=address, since=start, until=end),
        double_running_ms=1000 * running.double_running_s(start, end),
        stray_packets=len(running.strays_between(start, end)),
        stray_bursts=tuple(
            Burst(b.gateway, (b.since - start) * 1000, (b.until - start) * 1000, b.packets) for b in bursts
        ),
        stray_keepalives=running.stray_keepalives,
        retransmits=_retransmits(sent, window),
        leaked=sum(window.has(packet.at) for packet in evidence.leaks()),
        streams=streams,
    )


def _at(window: _Window, packet: Packet | None) -> float | None:
    return window.ms(packet.at) if packet else None


def _within(window: _Window, at: float | None) -> float | None:
    return at if at is not None and window.has(at) else None


def _is_init(packet: Packet) -> bool:
    content = packet.content
    return isinstance(content, Ike) and content.exchange == IKE_SA_INIT and not content.response


def _new_auth(sent: list[Packet], start: float) -> Callable[[Packet], bool]:
    """An IKE_AUTH of an IKE_SA that the gateway had not begun before the window (a retransmission began earlier)."""
    known = {
        packet.content.initiator_spi
        for packet in sent
        if packet.at < start and isinstance(packet.content, Ike) and packet.content.begins_tunnel
    }

    def wanted(packet: Packet) -> bool:
        content = packet.content
        return isinstance(content, Ike) and content.begins_tunnel and content.initiator_spi not in known

    return wanted


def _announces(packet: Packet, address: str) -> bool:
    content = packet.content
    return isinstance(content, Arp) and content.gratuitous and content.sender == address


def _answer(evidence: Evidence, auth: Packet | None, end: float) -> float | None:
    if auth is None or not isinstance(auth.content, Ike):
        return None
    answers = [
        packet.at
        for packet in evidence.packets
        if packet.port == auth.port
        and auth.at <= packet.at <= end
        and isinstance(packet.content, Ike)
        and packet.content.begins_tunnel
        and packet.content.response
        and packet.content.initiator_spi == auth.content.initiator_spi
    ]
    return max(answers, default=None)


def _first_through(evidence: Evidence, window: _Window, new: str | None) -> float | None:
    stream = next(number for number, name in evidence.stream_names.items() if name == MAIN)
    if new is None:
        return None
    within = [packet for packet in evidence.packets if window.has(packet.at)]
    carried = carried_by(within, lan_port=evidence.lan_ports[new], stream=stream)
    got = receipts(evidence.packets, ports=evidence.ports, stream=stream)
    return window.first_at([packet.at for number, packet in got.items() if number in carried])


def _source(sent: list[tuple[str, Packet]], start: float, vips: tuple[str, ...]) -> str:
    """The virtual address that the tunnel uses: its last source before the mark, else its first after it."""
    used = [packet for _, packet in sent if packet.source in vips]
    before = [packet for packet in used if packet.at < start]
    chosen = before[-1] if before else (used[0] if used else None)
    return chosen.source if chosen else vips[0]


def _holder(holds: list[Hold], address: str, at: float) -> str | None:
    """Who holds the address at a time; of two, the later one."""
    holding = [hold for hold in holds if hold.address == address and hold.covers(at)]
    return max(holding, key=lambda hold: hold.since, default=Hold("", address, -math.inf)).host or None


def _retransmits(sent: list[tuple[str, Packet]], window: _Window) -> int:
    seen: set[tuple[str, Ike]] = set()
    again = 0
    for gateway, packet in sent:
        if isinstance(packet.content, Ike):
            key = (gateway, packet.content)
            again += key in seen and window.has(packet.at)
            seen.add(key)
    return again
