"""Whether a handshake that this gateway began is over, and how."""

from collections.abc import Iterable
from dataclasses import dataclass

from swanherd.core.facts import CharonConnection, Failure
from swanherd.core.intent import Child, Connection, IPAddress
from swanherd.core.moves import on_way, up_on_way
from swanherd.core.words import Reason


@dataclass(frozen=True, slots=True)
class End:
    """The end of a handshake; no failure: every child came up."""

    failure: Failure | None


def ended(
    children: Iterable[Child],
    here: CharonConnection,
    connection: Connection,
    source: IPAddress,
    *,
    started: float,
    seen: bool,
) -> End | None:
    """How the handshake for *children* that began at *started* ended; None while it is under way.

    Only SAs on the way from *source* are looked at: the connection may still run from another one. *seen*: an SA of it
    was listed before. A listing may lag behind the call that began it, so an SA that was never seen is not yet one that
    has vanished.
    """
    sas = [sa for sa in here.sas if on_way(sa, connection, source)]
    up = up_on_way(sas, connection, source)
    if all(child.name in up for child in children):
        return End(None)
    if any(sa.connecting for sa in sas):
        return None
    if here.failure is not None and here.failure.at >= started:
        return End(here.failure)
    if seen and not sas:
        return End(Failure(Reason.NO_ANSWER, "the handshake ended without an answer", started))
    return None
