"""The peer's end of a connection: its endpoints as addresses, which of them is the aim, and when another becomes it.

Endpoints are in the order of the settings, a name's addresses in the order of their numbers: an answer that only has
another order changes nothing. The aim stays where the tunnel works; a failed attempt goes on to the next one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from swanherd.core.facts import Answer, Failure, IkeSa
from swanherd.core.intent import Connection, IPAddress
from swanherd.core.literal import literal
from swanherd.core.view import Attempt, Memory, Target, View
from swanherd.core.words import Reason

ADDRESSES_OF_A_NAME: Final = 8
"""A name with more records is cut: each costs an attempt before the next endpoint has its turn."""

RETURN_AGAIN_S: Final = 60.0
"""After a preferred endpoint has answered a probe and then did not let us in, it is not tried again for this long."""


@dataclass(frozen=True, slots=True)
class Targets:
    """The endpoints of a connection, resolved as far as they can be."""

    known: tuple[Target, ...] = ()
    unresolved: tuple[str, ...] = ()
    """Names without any address now."""


def is_name(endpoint: str) -> bool:
    """Whether *endpoint* is a hostname."""
    return literal(endpoint) is None


def names(connection: Connection) -> tuple[str, ...]:
    """The hostnames among the endpoints."""
    return tuple(endpoint for endpoint in connection.remote if is_name(endpoint))


def resolved(connection: Connection, answers: Mapping[str, Answer | None]) -> Targets:
    """The endpoints of *connection* as addresses of its IP family; none of them is ``0.0.0.0`` or ``::``."""
    known: dict[IPAddress, Target] = {}
    unresolved: list[str] = []
    for rank, endpoint in enumerate(connection.remote):
        addresses: Iterable[IPAddress]
        if (address := literal(endpoint)) is not None:
            addresses = (address,)
        else:
            answer = answers.get(endpoint)
            addresses = sorted(answer.addresses, key=int)[:ADDRESSES_OF_A_NAME] if answer is not None else ()
            if not addresses:
                unresolved.append(endpoint)
        for address in addresses:
            if address.version == connection.ip_version and not address.is_unspecified:
                known.setdefault(address, Target(endpoint, rank, address))
    return Targets(tuple(known.values()), tuple(unresolved))


def aim_of(targets: tuple[Target, ...], sas: Iterable[IkeSa], remembered: IPAddress | None) -> IPAddress | None:
    """The address to call: the one that is remembered, else the one that a live SA of ours leads to, else the first."""
    addresses = {target.address for target in targets}
    if remembered in addresses:
        return remembered
    live = (sa.remote for sa in sas if sa.established and sa.initiator and sa.remote in addresses)
    return next(live, targets[0].address if targets else None)


def aimed(connection: Connection, targets: tuple[Target, ...], aim: IPAddress | None) -> Connection:
    """*connection* with literal endpoints, *aim* first: charon calls the first and answers all of them.

    A peer with a name may call before DNS tells where it has moved to, so any address is answered then; who it is, it
    proves. Without a name this is the connection as it is set, or in another order.
    """
    others = [str(target.address) for target in targets if target.address != aim]
    first = [] if aim is None else [str(aim)]
    anywhere = "0.0.0.0" if connection.ip_version == 4 else "::"
    if names(connection):
        return replace(connection, remote=(*first, *others, anywhere))
    if len(targets) < 2:
        return connection
    return replace(connection, remote=(*first, *others))


def gone_on(view: View, memory: Memory, attempt: Attempt | None, now: float) -> Memory:
    """*memory* with another aim, where the one of now has just proved not to work. *memory* counts the attempt already.

    Only once every endpoint was tried does the pause between attempts begin.
    """
    if len(view.targets) < 2 or view.connection is None:
        return memory
    here = aim_of(view.targets, (), memory.aim)
    up = [sa.remote for sa in view.here.sas if sa.established and sa.initiator and sa.remote != here]
    order = [target.address for target in view.targets]
    if (known := next((remote for remote in up if remote in order), None)) is not None:
        # It was on its way back to a better one; what works is still there.
        return replace(memory, aim=known, tried=0, not_back_before=now + RETURN_AGAIN_S, retry_at=None)
    at = order.index(here) if here in order else -1
    tried = memory.tried + 1
    memory = replace(memory, aim=order[(at + 1) % len(order)], tried=tried % len(order), aimed_at=now)
    if attempt is not None:
        memory = replace(memory, counted=attempt.started)
    return memory if tried >= len(order) else replace(memory, retry_at=None)


def out_of_time(view: View, connection: Connection, attempt: Attempt | None, now: float) -> Failure | None:
    """That the attempt under way has had its time, where there is another endpoint to try."""
    if attempt is None or attempt.ended is not None or len(view.targets) < 2:
        return None
    if now - attempt.started < connection.attempt_s:
        return None
    return Failure(Reason.NO_ANSWER, f"{connection.remote[0]} has not answered within {connection.attempt_s:g} s", now)


def lost(view: View, attempt: Attempt | None) -> bool:
    """Whether what *attempt* brought up is gone because the peer answers no more: the next endpoint has its turn."""
    failure = view.here.failure
    return (
        len(view.targets) > 1
        and attempt is not None
        and attempt.ended is not None
        and attempt.failure is None
        and failure is not None
        and failure.reason is Reason.NO_ANSWER
        and failure.at > attempt.ended
    )


def preferred(view: View, connection: Connection, memory: Memory) -> tuple[IPAddress, ...]:
    """The addresses of the first endpoint, while the tunnel runs to a later one and should return when it can."""
    if not connection.prefer_first or len(view.targets) < 2:
        return ()
    aim = aim_of(view.targets, (), memory.aim)
    best = view.targets[0].rank
    if any(target.address == aim and target.rank == best for target in view.targets):
        return ()
    return tuple(target.address for target in view.targets if target.rank == best)


def back_to_first(
    view: View, connection: Connection, memory: Memory, now: float
) -> tuple[Memory, tuple[IPAddress, ...], float | None]:
    """*memory* with the first endpoint as the aim, if it answers probes; whom to probe; and when to look again.

    Called while everything is up. It stays for ``move_hold_s`` where it has gone to, as with every move.
    """
    wanted = preferred(view, connection, memory)
    if not wanted:
        return memory, (), None
    earliest = max(memory.not_back_before, memory.aimed_at + connection.move_hold_s)
    alive = next((address for address in wanted if address in view.answering), None)
    if now < earliest:
        return memory, wanted, earliest
    if alive is None:
        return memory, wanted, None
    return replace(memory, aim=alive, tried=0, aimed_at=now), wanted, now
