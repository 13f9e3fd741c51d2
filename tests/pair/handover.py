"""What tests of a keepalived that leaves its addresses behind share: one gateway runs the tunnel all the same.

The old master keeps the tunnel until the other gateway's first advert, and from then on nothing may leave it. A
stand-in there sends IPsec from the VIP all the time: charon's own silence would prove nothing.
"""

from statistics import median
from typing import Final

from tests.lab.observe import Between, Observer, Timeline
from tests.lab.observe.packets import Numbered, Packet, Vrrp
from tests.lab.observe.streams import packet_sent
from tests.lab.pair import Pair
from tests.lab.standin import StandIn
from tests.lab.topology import port
from tests.lab.waiting import wait_until

FENCE_S: Final = 0.05
"""How long after the other's first advert on its own port the old master may still be heard."""
FENCE_MS: Final = FENCE_S * 1000
"""By how much longer than both kernels hold the VIP both gateways may run the tunnel in a flip."""
FLUSHES: Final = 10
"""A neighbour cache believes who answers first: by chance, one flush could find the right gateway."""
ROUNDS: Final = 2
SLOWER: Final = 2.0
SLOWER_MS: Final = 100.0
"""A machine that others use makes one takeover 100 ms slower than the next; what is not event-driven costs seconds."""
TICK_S: Final = 0.01
"""The interval of the numbered traffic."""
TRIES: Final = 100
"""Packets that the stand-in must have tried to send before a silence counts."""


def assert_fails_over(pair: Pair, seen: Observer) -> None:
    """Flip to gw-b and back: traffic by the new master each time, and never two runners for longer than two holders."""
    for mark, move, gateway in (
        ("there", pair.a.keepalived.demote, pair.b),
        ("back", pair.a.keepalived.promote, pair.a),
    ):
        seen.mark(mark)
        move()
        pair.wait_for_master(gateway)
        seen.wait_through(by=gateway.name, after=seen.mark("moved"))
        assert_one_ran(seen, mark)


def assert_one_ran(seen: Observer, since: str) -> None:
    """Both may have the VIP for the moment in which they have not heard each other: what has it runs, and no longer."""
    verdict = seen.timeline(since=since)
    assert verdict.double_running_ms <= verdict.both_hold_ms + FENCE_MS


def wait_for_tries(ghost: StandIn) -> None:
    """Wait until the stand-in has tried to send often enough."""
    before = ghost.tries
    wait_until(lambda: ghost.tries - before >= TRIES, "the stand-in tries to send")


def sent(seen: Observer, gateway: str, since: str | float, *, source: str | None = None) -> list[Packet]:
    """IPsec of a gateway's own, a stand-in's included, that left by one of its WANs."""
    ports = {port(gateway, net) for net in ("wan1", "wan2")}
    leaving = [packet for packet in seen.packets(leaving=True, since=since) if packet.port in ports]
    return [packet for packet in leaving if packet.is_ipsec and source in {None, packet.source}]


def advert_of_b(seen: Observer, since: str, *, net: str = "wan1", vrid: int = 51) -> float | None:
    """When gw-b's first advert of a VRRP instance since a mark was on gw-a's port."""
    arriving = seen.packets(port=port("gw-a", net), leaving=False, content=Vrrp, since=since)
    told = (p.at for p in arriving if p.content.vrid == vrid and p.content.priority > 0)  # type: ignore[union-attr]  # narrowed by content=
    return next(told, None)


def assert_handed_over(seen: Observer, *, net: str = "wan1", vrid: int = 51, source: str | None = None) -> Timeline:
    """gw-b alone has run the tunnel (that from *source*, or all of them) since 50 ms after its first advert."""
    heard = advert_of_b(seen, "fault", net=net, vrid=vrid)
    assert heard is not None
    late = [packet.at - heard for packet in sent(seen, "gw-a", heard + FENCE_S, source=source)]
    assert late == [], "the old master was heard after the other's first advert"
    verdict = seen.timeline(since="fault", tunnel=Between(local=source))
    assert verdict.new == "gw-b"
    assert verdict.double_running_ms <= 1000 * FENCE_S
    return verdict


def assert_not_misled(seen: Observer, *instances: tuple[str, int]) -> None:
    """The switch delivers to gw-b from its first advert of each instance (device, VRID) on.

    It learns where a MAC is from each frame, and a virtual MAC is on both gateways: none of gw-a's may bear it then.
    """
    for net, vrid in instances:
        heard = advert_of_b(seen, "fault", net=net, vrid=vrid)
        assert heard is not None
        adverts = seen.packets(port=port("gw-b", net), leaving=True, content=Vrrp, since="fault")
        macs = {packet.mac for packet in adverts}
        late = [p for p in seen.packets(port=port("gw-a", net), leaving=True, since=heard) if p.mac in macs]
        assert late == [], "the old master spoke with the new one's MAC"


def assert_no_outage_before(seen: Observer, *, vrids: frozenset[int] = frozenset({51, 52})) -> None:
    """Nothing was lost between the fault and the takeover: gw-b's first advert of one of *vrids*, or its first address.

    The LAN's may come before the WAN's, and moves the traffic.
    """
    fault = seen.marked("fault")
    adverts = [
        packet.at
        for packet in seen.packets(leaving=True, content=Vrrp, since=fault)
        if packet.port.startswith("b-") and packet.content.vrid in vrids  # type: ignore[union-attr]  # narrowed by content=
    ]
    came = [hold.since for hold in seen.holds() if hold.host == "gw-b" and hold.since > fault]
    # A packet may be on its way when the takeover begins.
    began = min(adverts + came) - 2 * TICK_S
    assert seen.timeline(since="fault", until=began).lost == 0, "an outage before the takeover's"


def upgraded(pair: Pair) -> list[Timeline]:
    """Stop and start the master's keepalived, as in an upgrade, some times: the takeovers to gw-b and back."""
    verdicts = []
    for _ in range(ROUNDS):
        with Observer(pair.lab) as seen:
            seen.wait_through(by="gw-a")
            seen.mark("fault")
            pair.a.keepalived.stop()
            seen.wait_through(by="gw-b", after="fault")
            verdicts.append(seen.timeline(since="fault"))
            seen.mark("fault")
            pair.a.keepalived.start()
            pair.wait_for_master(pair.a)
            seen.wait_through(by="gw-a", after=seen.mark("back"))
            verdicts.append(seen.timeline(since="fault"))
    return verdicts


def after_vip_ms(*timelines: Timeline) -> float:
    """Median of the agent's part of the takeovers: from the VIP's arrival to the first packet through."""
    parts = [
        timeline.first_through_ms - timeline.vip_added_ms
        for timeline in timelines
        if timeline.first_through_ms is not None and timeline.vip_added_ms is not None
    ]
    assert len(parts) == len(timelines), "the VIP moved, and traffic came through, in each of them"
    return median(parts)


def assert_as_fast(plain_ms: float, *timelines: Timeline) -> None:
    """The takeovers took about as long as those in the plain layout."""
    assert after_vip_ms(*timelines) <= SLOWER * plain_ms + SLOWER_MS


def _answered(seen: Observer, after: float) -> bool:
    """Whether the client got an echo of something that it sent after a time."""
    back = seen.packets(port=port("client", "lan"), leaving=False, content=Numbered, since=after)
    return any(packet_sent(packet) > after for packet in back)


def flush_neighbours(pair: Pair, seen: Observer) -> None:
    """Make client and peer ask anew who has the VIPs, several times: whoever answers first is believed."""
    seen.mark("flushed")
    for _ in range(FLUSHES):
        pair.lab.flush_neighbours()
        # Until a whole round trip after both: a flush throws away what waits for a neighbour's answer.
        flushed = seen.mark("turn")
        seen.wait_through(by="gw-b", after=flushed)
        seen.wait_for(lambda flushed=flushed: _answered(seen, flushed), "an echo at the client")  # type: ignore[misc]  # a bound default
    verdict = seen.timeline(since="flushed")
    assert verdict.lost == 0
    assert verdict.main.returned == verdict.main.sent
