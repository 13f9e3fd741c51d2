"""Which live SAs may stay as they are, and which must be replaced."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from swanherd.core.facts import ChildSa, IkeSa, Known
from swanherd.core.intent import Connection, IPAddress
from swanherd.core.moves import Spare, carried_over, on_way
from swanherd.core.peer import nat_reason, silent
from swanherd.core.record import ChildPrint
from swanherd.core.view import View
from swanherd.core.wire import remotes
from swanherd.core.words import Reason

ATTEMPT_S: Final = 15.0
"""How long a handshake may go unanswered before it is begun anew: three of charon's transmissions (0, 4 and 11.2 s)."""


@dataclass(frozen=True, slots=True)
class Unwanted:
    """IKE_SAs that must go before anything new, by unique id."""

    unique_ids: tuple[int, ...] = ()
    why: Reason | None = None
    """Also while one that is not needed for long goes on until its successor is up."""
    forfeited: tuple[int, ...] = ()
    """Those of them that run from an address to which the right is lost: nothing that is under way may delay it."""


def unwanted(view: View, connection: Connection, source: IPAddress, now: float, *, spare: Spare) -> Unwanted:
    """IKE_SAs that must go before anything new, and why. *spare*: where others may go on until they are replaced.

    A deleting one counts as contact, so that a new handshake would omit INITIAL_CONTACT and leave the peer with two.
    One that was up before the loop stood still may have been replaced at the peer without a sign here; so may one from
    before its virtual address was last put here, since another gateway may have had that meanwhile. A handshake
    that nobody answers is begun anew after ``ATTEMPT_S``, since charon's retransmissions get ever rarer.
    """
    unwanted: list[int] = []
    forfeited: list[int] = []
    why: Reason | None = None
    attempt, digest = view.lane.attempt, view.digests.get(source)
    replaced = carried_over(view.here.sas, connection, source)
    for sa in view.here.sas:
        displaced = _displaced(view, sa)
        moved = not on_way(sa, connection, source)
        outdated = (
            sa.connecting
            and sa.initiator
            and attempt is not None
            and (attempt.digest != digest or now - attempt.started >= ATTEMPT_S)
        )
        changed = sa.established and not _as_agreed(view, connection, sa)
        unheard = silent(view, connection, sa, now)
        behind_nat = nat_reason(connection, sa)
        lost = sa.local is not None and sa.local != source and sa.local not in spare.held
        goes_on = sa.established and not lost and not replaced
        if (
            displaced
            or (moved and not goes_on)
            or outdated
            or changed
            or unheard
            or behind_nat
            or sa.state == "DELETING"
        ):
            unwanted.append(sa.unique_id)
            if lost:
                forfeited.append(sa.unique_id)
        if displaced:
            why = Reason.DISPLACED
        elif moved and why is None:
            why = Reason.MOVING
        elif changed and why is None:
            why = Reason.SETTINGS_CHANGED
        elif why is None:
            why = behind_nat or (Reason.PEER_SILENT if unheard else None)
    return Unwanted(tuple(unwanted), why, tuple(forfeited))


def _displaced(view: View, sa: IkeSa) -> bool:
    """Whether another gateway may have replaced it at the peer. charon keeps an SA whose address leaves and returns."""
    if sa.since is None or sa.local is None:
        return False
    if view.displaced_before is not None and sa.since < view.displaced_before:
        return True
    moved = any(sa.local in interface.vips for interface in view.interfaces.values())
    held = view.network.value.addresses.get(sa.local, ()) if moved and isinstance(view.network, Known) else ()
    # On two devices, it was away only before the first of them had it.
    return bool(held) and all(entry.born is not None and sa.since < entry.born for entry in held)


def _as_agreed(view: View, connection: Connection, sa: IkeSa) -> bool:
    """Whether a live IKE_SA is what the settings ask for today; charon keeps the old ones through every rekey."""
    noted = view.entry.sas.get(sa.unique_id) if view.entry is not None else None
    if noted is not None and noted.ike != connection.agreed:
        return False
    if sa.remote is None or not sa.initiator:
        return True  # who called us was let in by identity
    allowed = remotes(connection)
    return any(sa.remote in network for network in allowed if network.version == sa.remote.version)


def without_outdated(
    view: View, connection: Connection, sas: tuple[IkeSa, ...]
) -> tuple[tuple[IkeSa, ...], tuple[int, ...]]:
    """*sas* without CHILD_SAs that the settings no longer ask for like that, and the unique ids of those."""
    agreed = {child.name: child.agreed for child in connection.children}
    noted = view.entry.sas if view.entry is not None else {}
    kept: list[IkeSa] = []
    outdated: list[int] = []
    for sa in sas:
        prints = noted[sa.unique_id].children if sa.unique_id in noted else {}
        gone = {child.unique_id for child in sa.children if _outdated(child, prints.get(child.name), agreed)}
        outdated += sorted(gone)
        left = tuple(child for child in sa.children if child.unique_id not in gone)
        kept.append(replace(sa, children=left) if gone else sa)
    return tuple(kept), tuple(outdated)


def _outdated(child: ChildSa, noted: ChildPrint | None, agreed: Mapping[str, str]) -> bool:
    if child.name not in agreed:
        return True
    if noted is None or (noted.leaving and noted.unique_id != child.unique_id):
        return False  # new, made under today's settings
    return noted.agreed != agreed[child.name]
