"""Moving a connection that goes on to be run here: to another source, or to another endpoint.

A move is no fence: the right is kept. Where the way that carries the connection now still works, the new one is made
first and the old one taken away when it carries everything (make before break); where it has died, the old one goes at
once. After a move the connection stays for a while, so that a way that comes and goes does not take it along each time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from swanherd.core.facts import IkeSa, Network
from swanherd.core.intent import Child, Connection, IPAddress
from swanherd.core.literal import literal
from swanherd.core.source import Choice, Holding, living
from swanherd.core.view import Memory, View
from swanherd.core.words import Start


@dataclass(frozen=True, slots=True)
class Spare:
    """Sources other than the chosen one from which live SAs of the connection may go on for now."""

    held: Mapping[IPAddress, Holding] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def look_again_at(self) -> float | None:
        """When time alone may end the right to one of them."""
        return min((held.look_again_at for held in self.held.values() if held.look_again_at is not None), default=None)


def settle(
    view: View, connection: Connection, choice: Choice, memory: Memory, network: Network, now: float
) -> tuple[Choice, Memory]:
    """*choice*, or the source to which *connection* moved so lately that it stays there; and what is remembered."""
    before = memory.source
    if before is None or choice.source == before:
        return choice, memory if choice.source == before else replace(memory, source=choice.source)
    stays_until = memory.moved_at + connection.move_hold_s if memory.moved_at is not None else now
    if now < stays_until and any(sa.established and sa.local == before for sa in view.here.sas):
        held = living(before, connection, view.interfaces, network, view.situation, view.path)
        if held is not None:
            look = min(stays_until, held.look_again_at or stays_until)
            detail = f"{choice.detail}; stays with {before} for now, to which it has just moved (move_hold_s)"
            return Choice(before, choice.reason, detail, look, held.two_masters), memory
    return choice, replace(memory, source=choice.source, moved_at=now)


def unmoved(view: View, connection: Connection, choice: Choice, memory: Memory, network: Network) -> Choice:
    """*choice*; while no route has ever been told, what runs from an address that is held stays there instead."""
    if not choice.undecided:
        return choice
    running = (sa.local for sa in view.here.sas if sa.established)
    for address in dict.fromkeys([memory.source, *running]):
        held = None
        if address is not None:
            held = living(address, connection, view.interfaces, network, view.situation, view.path)
        if held is not None:
            return Choice(address, held.reason, choice.detail, held.look_again_at, held.two_masters)
    return choice


def spare(view: View, connection: Connection, source: IPAddress, network: Network) -> Spare:
    """Where SAs from another source than *source* may go on until its own are up."""
    found: dict[IPAddress, Holding] = {}
    for sa in view.here.sas:
        if sa.local is not None and sa.local != source and sa.local not in found:
            held = living(sa.local, connection, view.interfaces, network, view.situation, view.path)
            if held is not None:
                found[sa.local] = held
    return Spare(found)


def endpoint_of(connection: Connection) -> IPAddress | None:
    """The address that charon calls; None where the peer calls, or where it is charon that looks the name up."""
    first = literal(connection.remote[0])
    return None if first is None or first.is_unspecified else first


def on_way(sa: IkeSa, connection: Connection, source: IPAddress) -> bool:
    """Whether *sa* is on the way that *connection* has to take now: from *source* to its first endpoint.

    Whoever called us may have called from anywhere. With one endpoint, another address means that MOBIKE has moved it.
    """
    if sa.local is not None and sa.local != source:
        return False
    if not sa.initiator or sa.remote is None or sa.remote.is_unspecified or len(connection.remote) == 1:
        return True
    aim = endpoint_of(connection)
    return aim is None or sa.remote == aim


def up_on_way(sas: Iterable[IkeSa], connection: Connection, source: IPAddress) -> frozenset[str]:
    """Names of the children that are up on the way to take."""
    mine = (sa for sa in sas if sa.established and on_way(sa, connection, source))
    return frozenset(child.name for sa in mine for child in sa.children if child.installed)


def wanted_up(sas: Iterable[IkeSa], connection: Connection, source: IPAddress) -> tuple[Child, ...]:
    """The children that must come up on the way to take.

    Those that connect, and those that a packet has brought up on another way: they have traffic now. Who only answers
    has none: the peer must notice that the old way is gone.
    """
    elsewhere = {
        child.name
        for sa in sas
        if sa.established and not on_way(sa, connection, source)
        for child in sa.children
        if child.installed
    }
    starts = ((child, connection.start_of(child)) for child in connection.children)
    return tuple(
        child
        for child, start in starts
        if start is Start.CONNECT or (start is Start.ON_DEMAND and child.name in elsewhere)
    )


def carried_over(sas: Iterable[IkeSa], connection: Connection, source: IPAddress) -> bool:
    """Whether everything that should be up is up on the way to take, so that nothing else is needed."""
    sas = tuple(sas)
    up = up_on_way(sas, connection, source)
    return all(child.name in up for child in wanted_up(sas, connection, source))
