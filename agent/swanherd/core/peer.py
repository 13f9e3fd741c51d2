"""What charon does not do by itself about an SA: give up a silent peer in time, or refuse one behind a NAT."""

from dataclasses import replace

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
    if not (sa.nat and sa.established):
        return None
    if any(child.ah_proposals for child in connection.children):
        return Reason.AH_BEHIND_NAT
    return Reason.NAT_FOUND if connection.refuse_nat else None


def nat_noted(memory: Memory, reason: Reason, *, now: float, again_s: float) -> Memory:
    """*memory* with the NAT as the latest failure: a NAT stays, so that another attempt is made rarely."""
    detail = "AH cannot pass it" if reason is Reason.AH_BEHIND_NAT else "nat_traversal is off"
    failure = Failure(reason, f"a NAT is on the way to the peer, and {detail}", now)
    return replace(memory, failures=memory.failures + 1, failure=failure, retry_at=now + again_s)
