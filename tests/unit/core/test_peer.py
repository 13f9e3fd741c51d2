"""An SA of a silent peer is given up at its timeout and made anew; one behind a NAT that must not be is not run."""

from dataclasses import replace

import pytest

from swanherd.core.attempts import Backoff
from swanherd.core.decide import decide
from swanherd.core.decision import Decision
from swanherd.core.facts import CharonConnection, Failure, Known
from swanherd.core.intent import Connection
from swanherd.core.view import Attempt, LaneFacts, Memory
from swanherd.core.words import Reason, Start
from tests.unit.core.settings import ALPHA
from tests.unit.core.views import MASTER, NOW, RUNNING, digest, view

BACKOFF = Backoff(min_s=1.0, max_s=60.0)
TIMEOUT_S = 30


def decided(connection: Connection, here: CharonConnection) -> Decision:
    """The decision about a connection whose address is here."""
    seen = view(network=Known(MASTER, 1.0), here=here, connection=connection)
    return decide(seen, Memory(digest=digest()), NOW, BACKOFF)


@pytest.mark.parametrize(("since_s", "gone"), [(TIMEOUT_S, True), (TIMEOUT_S - 1, False)])
def test_silent(since_s: int, gone: bool) -> None:  # noqa: FBT001 - a column of the table
    """Exactly at the timeout, not before, and nobody has to come and look: the decision names the moment."""
    decision = decided(replace(ALPHA, dpd_timeout_s=TIMEOUT_S), replace(RUNNING, asked={1: NOW - since_s}))
    assert decision.terminate == ((1,) if gone else ())
    if gone:
        assert decision.reason is Reason.PEER_SILENT
        assert {child.name for child in decision.initiate} == {"alpha-1", "alpha-2"}
    else:
        assert decision.reason is Reason.UP
        assert decision.look_again_at == NOW + 1


def test_silent_without_a_timeout() -> None:
    """Without a timeout of its own charon's schedule decides."""
    assert decided(ALPHA, replace(RUNNING, asked={1: NOW - 1000})).terminate == ()


def test_silent_responder() -> None:
    """A responder's SA goes as well; it then waits for the peer, and never initiates."""
    waiting = replace(ALPHA, dpd_timeout_s=TIMEOUT_S, start=Start.RESPOND)
    decision = decided(waiting, replace(RUNNING, asked={1: NOW - TIMEOUT_S}))
    assert decision.terminate == (1,)
    assert decision.initiate == ()


BEHIND = replace(RUNNING, sas=(replace(RUNNING.sas[0], nat=True),))
AH = replace(ALPHA, children=tuple(replace(child, ah_proposals=("sha256",)) for child in ALPHA.children))


@pytest.mark.parametrize(
    ("connection", "reason"),
    [(replace(ALPHA, refuse_nat=True), Reason.NAT_FOUND), (AH, Reason.AH_BEHIND_NAT)],
    ids=["nat-found", "ah-behind-nat"],
)
def test_behind_a_nat(connection: Connection, reason: Reason) -> None:
    """It is torn down, and tried again as rarely as can be: a NAT does not go away by trying."""
    decision = decided(connection, BEHIND)
    assert decision.terminate == (1,)
    assert decision.reason is reason
    assert decision.initiate == ()
    assert decision.look_again_at == NOW + BACKOFF.max_s
    gone = decide(
        view(network=Known(MASTER, 1.0), here=replace(RUNNING, sas=()), connection=connection),
        decision.memory, NOW + 1, BACKOFF,
    )  # fmt: skip
    assert (gone.reason, gone.initiate) == (reason, ())


def test_behind_a_nat_that_may_be() -> None:
    """Others run through it; and without a NAT there is nothing to refuse."""
    assert decided(ALPHA, BEHIND).reason is Reason.UP
    assert decided(replace(ALPHA, refuse_nat=True), RUNNING).reason is Reason.UP


REFUSED = Failure(Reason.AUTH_FAILED, "IDr payload missing", NOW, nat=True)


def failed_with(connection: Connection, failure: Failure) -> Decision:
    """The decision just after a handshake of *connection* has failed."""
    attempt = Attempt(started=NOW - 1, digest=digest(), ended=NOW, failure=failure)
    seen = view(
        network=Known(MASTER, 1.0),
        here=replace(RUNNING, sas=(), failure=failure),
        connection=connection,
        lane=LaneFacts(attempt=attempt),
    )
    return decide(seen, Memory(digest=digest()), NOW, BACKOFF)


@pytest.mark.parametrize(
    ("connection", "reason"),
    [(replace(ALPHA, refuse_nat=True), Reason.NAT_FOUND), (AH, Reason.AH_BEHIND_NAT)],
    ids=["nat-found", "ah-behind-nat"],
)
def test_refused_behind_a_nat(connection: Connection, reason: Reason) -> None:
    """A peer that refuses before there is an SA: the NAT is to blame, and it is tried again as rarely as can be.

    Broken by: ``nat_blamed`` doing nothing (a peer of 6.0 is called again and again, with a reason that helps nobody).
    """
    decision = failed_with(connection, REFUSED)
    assert (decision.reason, decision.initiate) == (reason, ())
    assert "IDr payload missing" in decision.detail
    assert decision.look_again_at == NOW + BACKOFF.max_s


def test_refused_for_another_reason() -> None:
    """Who may run through a NAT, or has none on its way, has failed for what charon told."""
    assert failed_with(ALPHA, REFUSED).reason is Reason.AUTH_FAILED
    assert failed_with(AH, replace(REFUSED, nat=False)).reason is Reason.AUTH_FAILED
