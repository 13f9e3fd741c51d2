"""Since when an SA that looks well may be dead at the peer: this gateway stood still, or another router spoke."""

from collections.abc import Iterable, Iterator
from typing import Final

from swanherd.core.evidence import Situation, VrrpFacts, displaced_before, displaced_look_at
from swanherd.core.facts import HeldAddress, Network
from swanherd.core.intent import Connection, Intent, Interface, VrrpDeclaration
from swanherd.runtime.stall import StallWatch

VRRP_MISSES: Final = 3
"""Adverts that a backup misses before it takes over (the master-down interval of RFC 5798, without the skew)."""
UNDECLARED_INTERVAL_S: Final = 1.0
"""Between adverts of which nothing is declared: keepalived's default."""


class Doubts:
    """What makes SAs of before a moment doubtful; the peer is never asked."""

    def __init__(self, stalls: StallWatch) -> None:
        self._stalls = stalls

    def before(
        self, connection: Connection, intent: Intent, network: Network | None, situation: Situation
    ) -> float | None:
        """The latest moment that makes an SA of *connection* doubtful: our own standstill, or another router's word."""
        own = (intent.interfaces[name] for name in connection.interfaces if name in intent.interfaces)
        moments = [self._stalls.until(patience_s(own))]
        moments += [
            displaced_before(*spoken, situation.now) for spoken in _spoken(connection, intent, network, situation)
        ]
        return max((moment for moment in moments if moment is not None), default=None)

    def look_at(
        self, connection: Connection, intent: Intent, network: Network | None, situation: Situation
    ) -> float | None:
        """When another router's word, which is too fresh yet, makes an SA of *connection* doubtful."""
        looks = [
            displaced_look_at(*spoken, situation.now) for spoken in _spoken(connection, intent, network, situation)
        ]
        return min((look for look in looks if look is not None), default=None)


def _spoken(
    connection: Connection, intent: Intent, network: Network | None, situation: Situation
) -> Iterator[tuple[VrrpDeclaration | None, VrrpFacts, HeldAddress]]:
    """For each VIP of *connection* that is here: what is declared and known about it, and the address."""
    for name in connection.interfaces if network is not None else ():
        interface = intent.interfaces.get(name)
        facts = situation.vrrp.get(name)
        if interface is None or facts is None or network is None:
            continue
        for vip in interface.vips:
            for entry in network.addresses.get(vip, ()):
                yield interface.vrrp, facts, entry


def patience_s(interfaces: Iterable[Interface]) -> float:
    """How long this gateway may stand still before another one takes a VIP of *interfaces*; infinity: none has one."""
    intervals = (
        interface.vrrp.advert_interval_s if interface.vrrp is not None else UNDECLARED_INTERVAL_S
        for interface in interfaces
        if interface.vips
    )
    return VRRP_MISSES * min(intervals, default=float("inf"))
