"""From what the observer saw to what the oracle judges."""

from collections.abc import Iterable, Iterator
from typing import Final

from tests.chaos.oracle import Event, Kind, Late
from tests.lab.keepalived import WAN
from tests.lab.observe.evidence import MAIN, Evidence
from tests.lab.observe.holders import Hold
from tests.lab.observe.packets import Ah, Esp, Ike, Numbered, Other, Packet, Vrrp
from tests.lab.observe.streams import packet_sent
from tests.lab.topology import GATEWAYS, address, nets_of, port, vip

NET: Final = WAN.device
AROUND_S: Final = 0.5
"""A machine that is late is so for a while; the sender sends every 10 ms, and notices only when its own turn comes."""
ICMP: Final = frozenset({1, 58})
_PORTS: Final = {port(gateway, NET): gateway for gateway in GATEWAYS}


def events_of(evidence: Evidence) -> list[Event]:
    """Who held the address, who sent and got adverts, and what IPsec left whom; in no order."""
    return [*_holds(evidence.holds), *_wire(evidence), *_leaks(evidence)]


def lateness_of(evidence: Evidence) -> Late:
    """How late the judge's own sender of the main stream was at worst around a time: the whole machine may be late."""
    main = next(number for number, name in evidence.stream_names.items() if name == MAIN)
    late: list[tuple[float, float]] = []
    for packet in evidence.packets:
        content = packet.content
        if not (packet.leaving and packet.port == evidence.ports.client and isinstance(content, Numbered)):
            continue
        if content.stream == main and not content.echo:
            sent = packet_sent(packet)
            late.append((sent, sent - evidence.report.due(content.sequence)))

    def worst(_: str, since: float, until: float) -> float:
        return max((by for at, by in late if since - AROUND_S <= at <= until + AROUND_S), default=0.0)

    return worst


def _holds(holds: Iterable[Hold]) -> Iterator[Event]:
    for hold in holds:
        if hold.address == vip(NET):
            yield Event(hold.since, hold.host, Kind.HELD)
            yield Event(hold.until, hold.host, Kind.LOST)


def _wire(evidence: Evidence) -> Iterator[Event]:
    for packet in evidence.packets:
        gateway = _PORTS.get(packet.port)
        if gateway is None:
            continue
        if isinstance(packet.content, Vrrp):
            yield from _advert(gateway, packet, packet.content)
        elif packet.leaving and packet.is_ipsec and packet.source not in evidence.peers:
            kind = Kind.SENT if packet.source == vip(NET) else Kind.SENT_FROM_ELSEWHERE
            yield Event(packet.at, gateway, kind, describe(packet))


def _leaks(evidence: Evidence) -> Iterator[Event]:
    for packet in evidence.leaks():
        if _own_error(packet, evidence.wan_ports[packet.port]):
            continue
        what = f"to {packet.destination} from {packet.source}"
        yield Event(packet.at, evidence.wan_ports[packet.port], Kind.SENT_IN_CLEAR, what)


def _own_error(packet: Packet, gateway: str) -> bool:
    """Whether it is ICMP from the gateway's own address, which no tunnel is for: see the design page."""
    own = {address(gateway, net, family) for net in nets_of(gateway) for family in (4, 6)}
    return isinstance(packet.content, Other) and packet.content.protocol in ICMP and packet.source in own


def _advert(gateway: str, packet: Packet, advert: Vrrp) -> Iterator[Event]:
    if advert.vrid != WAN.vrid or advert.priority == 0:
        return
    if packet.leaving:
        yield Event(packet.at, gateway, Kind.OWN_ADVERT, f"priority {advert.priority}")
    elif packet.source != address(gateway, NET):
        yield Event(packet.at, gateway, Kind.OTHER_ADVERT, f"priority {advert.priority}")


def describe(packet: Packet) -> str:
    """An IPsec packet in a few words."""
    content = packet.content
    match content:
        case Ike():
            way = "response" if content.response else "request"
            return f"{content.name} {way} {content.message_id} of {content.initiator_spi} from {packet.source}"
        case Esp() | Ah():
            return f"{type(content).__name__.upper()} {content.spi} number {content.sequence} from {packet.source}"
    return f"{type(content).__name__} from {packet.source}"
