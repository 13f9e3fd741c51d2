"""What charon does not do by itself about an SA: give up a silent peer in time, or refuse one behind a NAT."""

from dataclasses import replace
from typing import Final

from swanherd.core.facts import Failure, IkeSa
from swanherd.core.intent import Connection
from swanherd.core.view import Memory, View
from swanherd.core.words import Reason


def silent(view: View, connection: Connection, sa: IkeSa, now: float) -> bool:
    """Whether the peer has owed an answer on *sa* for the connection's timeout.

    Charon's own timeout is one for all in IKEv2 (165 s of retransmissions); what it asks, and when, is told in its log.
    """
    ends = _ends(view, connection, sa)
    return ends is not None and now >= ends


def silent_at(view: View, connection: Connection) -> float | None:
    """When the next of the SAs will be given up if its peer stays silent."""
    ends = (_ends(view, connection, sa) for sa in view.here.sas)
    return min((end for end in ends if end is not None), default=None)


def _ends(view: View, connection: Connection, sa: IkeSa) -> float | None:
    asked = view.here.asked.get(sa.unique_id)
    if connection.dpd_timeout_s is None or asked is None or not sa.established:
        return None
    return asked + connection.dpd_timeout_s


def nat_reason(connection: Connection, sa: IkeSa) -> Reason | None:
    """Why *sa* must not be where a NAT was found on its way; None: it may."""
    return _forbidden(connection) if sa.nat and sa.established else None


def nat_noted(memory: Memory, reason: Reason, *, now: float, again_s: float) -> Memory:
    """*memory* with the NAT as the latest failure: a NAT stays, so that another attempt is made rarely."""
    failure = Failure(reason, _NAT[reason], now, nat=True)
    return replace(memory, failures=memory.failures + 1, failure=failure, retry_at=now + again_s)


def nat_blamed(connection: Connection, memory: Memory, *, again_s: float) -> Memory:
    """*memory*, whose latest failure is due to the NAT that was found on its way, if there must be none.

    A peer that cannot have an SA through it may refuse before there is an IKE_SA to look at: with 6.0, whose kernel
    refuses AH in UDP, it answers without having proven who it is.
    """
    failure, reason = memory.failure, _forbidden(connection)
    if failure is None or not failure.nat or reason is None or failure.reason is reason:
        return memory
    blamed = Failure(reason, f"{_NAT[reason]} ({failure.detail})", failure.at, nat=True)
    return replace(memory, failure=blamed, retry_at=failure.at + again_s)


_NAT: Final = {
    Reason.AH_BEHIND_NAT: "a NAT is on the way to the peer, and AH cannot pass it",
    Reason.NAT_FOUND: "a NAT is on the way to the peer, and nat_traversal is off",
}


def _forbidden(connection: Connection) -> Reason | None:
    if any(child.ah_proposals for child in connection.children):
        return Reason.AH_BEHIND_NAT
    return Reason.NAT_FOUND if connection.refuse_nat else None
