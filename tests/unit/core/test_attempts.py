"""Handshakes: each failure counts once, backoff delays only what is acquired, and no peer can make a hot loop."""

from dataclasses import dataclass, replace

import pytest

from swanherd.core.attempts import STABLE_S, Backoff
from swanherd.core.decide import decide
from swanherd.core.decision import Decision, Goal
from swanherd.core.facts import CharonConnection, Failure, Known
from swanherd.core.handshake import ended
from swanherd.core.plan import Initiate, plan
from swanherd.core.sas import ATTEMPT_S
from swanherd.core.view import Attempt, LaneFacts, Memory
from swanherd.core.words import Reason, Role
from tests.unit.core.settings import ALPHA, VIP_WAN
from tests.unit.core.views import BACKUP, LOADED, MASTER, NOW, RUNNING, digest, sa, view

HERE = Known(MASTER, 1.0)
REFUSED = Failure(Reason.AUTH_FAILED, "received AUTHENTICATION_FAILED notify error", NOW - 0.1)
BACKOFF = Backoff(min_s=1.0, max_s=60.0)


def failed(number: int, failure: Failure = REFUSED) -> Attempt:
    """The attempt with this number: over, without success."""
    return Attempt(started=float(number), digest=digest(), ended=NOW - 0.1, failure=failure)


def came_up(*, ago_s: float) -> Attempt:
    """An attempt that ended well."""
    return Attempt(started=NOW - ago_s - 0.05, digest=digest(), ended=NOW - ago_s)


def decided(attempt: Attempt | None, here: CharonConnection = LOADED, memory: Memory | None = None) -> Decision:
    """The decision about ALPHA, loaded from its VIP, after *attempt*."""
    seen = view(network=HERE, here=here, lane=LaneFacts(touched=True, attempt=attempt))
    return decide(seen, memory or Memory(digest=digest()), NOW, BACKOFF)


def test_a_failure_is_counted_once() -> None:
    """Deciding again on the same facts adds nothing, and does not push the retry away."""
    first = decided(failed(1))
    assert first.memory.failures == 1
    assert first.memory.retry_at == pytest.approx(NOW - 0.1 + 1.0)
    assert decided(failed(1), memory=first.memory).memory == first.memory


def test_failures_double_the_delay_up_to_the_limit() -> None:
    """1, 2, 4 ... 60 s, each with the reason that charon told."""
    memory = Memory(digest=digest())
    delays = []
    for number in range(1, 9):
        decision = decided(failed(number), memory=memory)
        memory = decision.memory
        assert decision.reason is Reason.AUTH_FAILED
        assert decision.initiate == ()
        assert decision.look_again_at == memory.retry_at
        delays.append(round((memory.retry_at or 0) - (NOW - 0.1)))
    assert delays == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_silent_peer_is_not_backed_off_from() -> None:
    """It has cost its own waiting time already."""
    memory = Memory(digest=digest(), failures=7)
    silent = Failure(Reason.NO_ANSWER, "", NOW)
    assert decided(failed(1, silent), memory=memory).memory.retry_at == pytest.approx(NOW - 0.1 + 1.0)


def test_after_the_delay_it_is_tried_again() -> None:
    """The retry comes by itself, and what failed stays counted."""
    memory = replace(decided(failed(1)).memory, retry_at=NOW)
    decision = decided(failed(1), memory=memory)
    assert decision.initiate == ALPHA.children
    assert decision.memory.failures == 1


def test_success_ends_the_backoff() -> None:
    """Once it has lasted: everything up for long enough forgets what failed before."""
    memory = Memory(digest=digest(), failures=5, failure=REFUSED, retry_at=NOW + 30)
    decision = decided(came_up(ago_s=STABLE_S), RUNNING, memory)
    assert decision.reason is Reason.UP
    assert (decision.memory.failures, decision.memory.retry_at, decision.memory.failure) == (0, None, None)


def test_a_new_takeover_begins_without_the_old_backoff() -> None:
    """Losing the right forgets all failures."""
    memory = Memory(digest=digest(), failures=5, failure=REFUSED, retry_at=NOW + 30)
    lost = decide(view(here=RUNNING, network=Known(BACKUP, 1.0)), memory, NOW)
    assert lost.role is Role.STANDBY
    assert (lost.memory.failures, lost.memory.retry_at) == (0, None)


def test_other_settings_begin_without_the_old_backoff() -> None:
    """What failed with another configuration says nothing about this one."""
    memory = Memory(digest="another", failures=5, failure=REFUSED, retry_at=NOW + 30)
    assert decided(None, memory=memory).initiate == ALPHA.children


def test_backoff_never_delays_a_release() -> None:
    """Damping only ever delays what is acquired."""
    memory = Memory(digest=digest(), failures=5, failure=REFUSED, retry_at=NOW + 30)
    seen = view(here=RUNNING, lane=LaneFacts(touched=True, attempt=failed(1)))
    decision = decide(seen, memory, NOW)
    assert decision.goal is Goal.RELEASE
    assert plan(decision, seen).steps


@dataclass
class FlappingPeer:
    """Lets us in each time and deletes the SA at once; every round trip is 50 ms."""

    now: float = NOW
    handshakes: int = 0

    def run(self, seconds: float, *, only_a_child: bool) -> None:
        """Decide, again and again, for *seconds*."""
        memory, attempt = Memory(digest=digest()), None
        until = self.now + seconds
        gone = replace(RUNNING, sas=(sa("alpha-1"),)) if only_a_child else LOADED
        while self.now < until:
            seen = view(network=HERE, here=gone, lane=LaneFacts(touched=True, attempt=attempt))
            decision = decide(seen, memory, self.now, BACKOFF)
            memory = decision.memory
            if decision.initiate:
                self.handshakes += 1
                attempt = Attempt(self.now, digest(), ended=self.now + 0.05)
                up = view(network=HERE, here=RUNNING, lane=LaneFacts(touched=True, attempt=attempt))
                memory = decide(up, memory, self.now + 0.05, BACKOFF).memory
            self.now += 0.1


@pytest.mark.parametrize("only_a_child", [True, False])
def test_a_peer_that_closes_at_once_is_no_hot_loop(*, only_a_child: bool) -> None:
    """An SA, or one child of it, that is deleted as soon as it is up is made anew with growing delays."""
    peer = FlappingPeer()
    peer.run(120.0, only_a_child=only_a_child)
    assert 5 <= peer.handshakes <= 8  # at 0, 1, 3, 7, 15, 31, 63 s


def test_a_peer_that_closes_at_once_is_told_as_such() -> None:
    """The reason in force until the retry is peer-closed."""
    decision = decided(came_up(ago_s=0.2))
    assert decision.reason is Reason.PEER_CLOSED
    assert decision.initiate == ()


def test_a_tunnel_that_was_up_for_long_is_made_anew_at_once() -> None:
    """A peer that deletes after a good while (its restart) costs no delay."""
    decision = decided(came_up(ago_s=STABLE_S + 1), memory=Memory(digest=digest(), failures=3))
    assert decision.initiate == ALPHA.children
    assert decision.memory.failures == 0


def test_what_came_up_late_is_no_failure_when_it_ends() -> None:
    """A handshake that outlived its slot and succeeded is over when everything is up."""
    late = Attempt(started=NOW - 100, digest=digest())
    memory = decided(late, RUNNING).memory
    assert decided(late, memory=memory).memory.failures == 0


def test_one_in_flight_is_left_alone() -> None:
    """While the handshake is under way nothing is begun, and it is looked at again."""
    here = replace(LOADED, sas=(sa(state="CONNECTING", since=None),))
    decision = decided(Attempt(NOW - 1, digest()), here)
    assert (decision.reason, decision.initiate, decision.terminate) == (Reason.CONNECTING, (), ())
    assert decision.look_again_at is not None


def test_an_unanswered_one_says_so() -> None:
    """After a few seconds the reason is no-answer, though charon still retransmits."""
    here = replace(LOADED, sas=(sa(state="CONNECTING", since=None),))
    assert decided(Attempt(NOW - 4, digest()), here).reason is Reason.NO_ANSWER


def test_an_unanswered_one_is_begun_anew() -> None:
    """Before charon's retransmissions get rare: the old one goes, and the shortest delay later a new one begins."""
    here = replace(LOADED, sas=(sa(state="CONNECTING", since=None),))
    decision = decided(Attempt(NOW - ATTEMPT_S, digest()), here)
    assert decision.terminate == (1,)
    assert decision.look_again_at == NOW + BACKOFF.min_s


def test_one_from_another_source_is_no_failure() -> None:
    """The source or the settings changed while it was under way: it goes, and the new one begins in the same plan."""
    here = replace(LOADED, sas=(sa(state="CONNECTING", since=None),))
    decision = decided(Attempt(NOW - 1, "another"), here, Memory(digest="another"))
    assert decision.terminate == (1,)
    assert decision.initiate == ALPHA.children
    assert decision.memory.failures == 0


def test_a_refusal_is_tried_rarely_and_holds_still() -> None:
    """Charon would refuse the same again: nothing is done until the longest delay is over, and then it is tried."""
    refused = Failure(Reason.REJECTED, "invalid proposal", NOW)
    seen = view(network=HERE, here=CharonConnection(), lane=LaneFacts(touched=True, refused=refused))
    decision = decide(seen, Memory(), NOW + 1, BACKOFF)
    assert (decision.goal, decision.reason, decision.detail) == (Goal.HOLD, Reason.REJECTED, "invalid proposal")
    assert decision.look_again_at == NOW + BACKOFF.max_s
    assert decide(seen, Memory(), NOW + BACKOFF.max_s, BACKOFF).goal is Goal.RUN


def test_a_refusal_never_stops_a_release() -> None:
    """The right is lost: what is there goes, whatever charon refused before."""
    refused = Failure(Reason.REJECTED, "invalid proposal", NOW)
    seen = view(here=RUNNING, lane=LaneFacts(touched=True, refused=refused))
    assert decide(seen, Memory(), NOW, BACKOFF).goal is Goal.RELEASE


def test_only_what_is_missing_is_initiated() -> None:
    """A live child is not begun a second time."""
    here = replace(LOADED, sas=(sa("alpha-1"),))
    assert [child.name for child in decided(None, here).initiate] == ["alpha-2"]


def test_a_deleting_sa_goes_before_anything_is_initiated() -> None:
    """It would count as contact, and the new handshake would omit INITIAL_CONTACT."""
    here = replace(LOADED, sas=(sa("alpha-1", "alpha-2", state="DELETING"),))
    seen = view(network=HERE, here=here)
    decision = decide(seen, Memory(), NOW)
    kinds = [type(step).__name__ for step in plan(decision, seen).steps]
    assert kinds == ["Terminate", "Initiate"]
    assert decision.terminate == (1,)


def test_the_children_of_an_initiation_are_those_of_the_decision() -> None:
    """The plan adds none and drops none."""
    seen = view(network=HERE, here=LOADED)
    steps = plan(decide(seen, Memory(), NOW), seen).steps
    assert steps == (Initiate(ALPHA, VIP_WAN, ALPHA.children, digest()),)


ENDS = {
    "everything up": (RUNNING, True, None),
    "one child is missing": (replace(LOADED, sas=(sa("alpha-1"),)), False, None),
    "under way": (replace(LOADED, sas=(sa(state="CONNECTING", since=None),)), False, None),
    "under way, and an older failure is known": (
        replace(LOADED, sas=(sa(state="CONNECTING", since=None),), failure=replace(REFUSED, at=NOW - 60)), False, None,
    ),
    "told to have failed": (replace(LOADED, failure=replace(REFUSED, at=NOW)), True, Reason.AUTH_FAILED),
    "told of an older one": (replace(LOADED, failure=replace(REFUSED, at=NOW - 60)), True, Reason.NO_ANSWER),
    "vanished": (LOADED, True, Reason.NO_ANSWER),
}  # fmt: skip


@pytest.mark.parametrize("row", ENDS)
def test_end_of_a_handshake(row: str) -> None:
    """Each row: what is listed after an SA was seen, whether the handshake is over, and why it failed."""
    here, over, reason = ENDS[row]
    end = ended(ALPHA.children, here, ALPHA, VIP_WAN, started=NOW - 1, seen=True)
    assert (end is not None) == over
    if end is not None:
        assert (end.failure.reason if end.failure is not None else None) is reason


def test_what_was_never_listed_has_not_vanished() -> None:
    """The listing lags behind the call that begins a handshake."""
    assert ended(ALPHA.children, LOADED, ALPHA, VIP_WAN, started=NOW - 1, seen=False) is None
