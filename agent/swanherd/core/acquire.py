"""What an active connection does next: from what charon has of it to all that it wants up, and on from what failed."""

from dataclasses import replace
from typing import Final

from swanherd.core import aims
from swanherd.core.attempts import Backoff, calm, closed_soon, counted, failed
from swanherd.core.decision import Decision, Goal, looking
from swanherd.core.facts import Failure, IkeSa, Network, Unknown
from swanherd.core.intent import Connection, IPAddress
from swanherd.core.moves import endpoint_of, on_way, spare, up_on_way, wanted_up
from swanherd.core.peer import nat_blamed, nat_noted, silent_at
from swanherd.core.sas import unwanted, without_outdated
from swanherd.core.source import Choice
from swanherd.core.view import Memory, View
from swanherd.core.words import Reason, Role, Start

CONNECTING_LOOK_S: Final = 1.0
"""How soon to look again at a handshake that is under way, should charon's events tell nothing."""

SILENT_AFTER_S: Final = 3.0
"""A handshake that has run this long is reported as unanswered; charon's first retransmission comes after 4 s."""

_CHARON_REASONS: Final = {"not-read": Reason.STARTING, "frozen": Reason.CHARON_FROZEN, "gone": Reason.CHARON_GONE}


def acquire(
    view: View,
    connection: Connection,
    choice: Choice,
    network: Network,
    memory: Memory,
    now: float,
    backoff: Backoff,
) -> Decision:
    """What *connection*, which has the right to *choice*'s source, does at *now*; ValueError where that has none."""
    source = choice.source
    if source is None:
        raise ValueError("nobody is active without a source")
    if isinstance(view.charon, Unknown):
        reason = _CHARON_REASONS.get(view.charon.why, Reason.CHARON_GONE)
        detail = "loads as soon as charon answers"
        return Decision(view.name, Role.ACTIVE, Goal.HOLD, reason, detail, source, memory=memory)
    digest = view.digests.get(source)
    memory = _about(view, connection, source, memory)
    failures_before = memory.failures
    others = spare(view, connection, source, network)
    bad = unwanted(view, connection, source, now, spare=others)
    good = tuple(sa for sa in view.here.sas if sa.unique_id not in bad.unique_ids)
    if bad.why in {Reason.NAT_FOUND, Reason.AH_BEHIND_NAT}:
        memory = nat_noted(memory, bad.why, now=now, again_s=backoff.max_s)
    counted_before = memory.counted
    memory = counted(view, tuple(sa for sa in good if on_way(sa, connection, source)), memory, now, backoff)
    if memory.counted != counted_before:
        memory = nat_blamed(connection, memory, again_s=backoff.max_s)
    good, outdated = without_outdated(view, connection, good)
    refused = view.lane.refused is not None and not view.lane.busy
    reason, detail = Reason.LOADING, ""
    if not refused:
        if view.here.config is None or view.here.config.digest != digest:
            reason = Reason.UNLOADED_BY_OTHER if memory.ran_in == view.charon.value else Reason.LOADING
        else:
            reason = Reason.UP
            memory = memory if memory.ran_in == view.charon.value else replace(memory, ran_in=view.charon.value)
        if bad.why is not None:
            reason, detail = bad.why, choice.detail if bad.why is Reason.MOVING else ""
    base = Decision(
        view.name,
        Role.ACTIVE,
        Goal.RUN,
        reason,
        detail,
        source,
        terminate=bad.unique_ids,
        forfeited=bad.forfeited,
        terminate_children=outdated,
        memory=memory,
    )
    if refused and view.lane.refused is not None:
        return _refused(base, view.lane.refused, now, backoff)
    decision = _children(view, connection, base, good, now, backoff)
    decision = _aiming(view, connection, decision, now, backoff, had_failed=decision.memory.failures > failures_before)
    return looking(looking(decision, others.look_again_at), silent_at(view, connection))


def _about(view: View, connection: Connection, source: IPAddress, memory: Memory) -> Memory:
    """*memory* of today's settings, source and endpoints: what failed or ran under others says nothing about now."""
    digest = view.digests.get(source)
    basis = (digest, source) if len(view.targets) < 2 else (*view.basis, source)
    if memory.basis != basis:
        memory = replace(
            memory, basis=basis, failures=0, retry_at=None, counted=None, failure=None, ran_in=None, tried=0
        )
    aim = endpoint_of(connection) if view.targets else None
    return memory if (memory.digest, memory.aim) == (digest, aim) else replace(memory, digest=digest, aim=aim)


def _aiming(
    view: View, connection: Connection, decision: Decision, now: float, backoff: Backoff, *, had_failed: bool
) -> Decision:
    """*decision* with another endpoint as the aim, where that is due; the next pass, at once, is about that one.

    *had_failed*: an attempt was counted in this pass.
    """
    memory, attempt = decision.memory, view.lane.attempt
    if len(view.targets) < 2 or connection.start is Start.RESPOND:
        return decision
    fresh = attempt is not None and attempt.digest == memory.digest
    if decision.reason is Reason.UP:
        memory, probe, look = aims.back_to_first(view, connection, replace(memory, tried=0), now)
        decision = looking(replace(decision, memory=memory, probe=probe), look)
    elif had_failed or (fresh and decision.initiate and aims.lost(view, attempt)):
        memory = aims.gone_on(view, memory, attempt, now)
    elif fresh and attempt is not None and attempt.started != memory.counted:
        expired = aims.out_of_time(view, connection, attempt, now)
        if expired is not None:
            memory = aims.gone_on(view, failed(memory, attempt, expired, now, backoff), attempt, now)
    if memory.aim == decision.memory.aim and decision.reason is not Reason.UP:
        return replace(decision, memory=memory)
    if memory.aim == endpoint_of(connection):
        return decision
    return replace(decision, memory=memory, initiate=(), look_again_at=now)


def _children(
    view: View, connection: Connection, base: Decision, sas: tuple[IkeSa, ...], now: float, backoff: Backoff
) -> Decision:
    """Which children are missing, and what to do about it now. *base*'s reason is UP where all else is settled."""
    if base.source is None:
        raise ValueError("nobody is active without a source")
    up = up_on_way(sas, connection, base.source)
    missing = tuple(child for child in wanted_up(sas, connection, base.source) if child.name not in up)
    starts = {connection.start_of(child) for child in connection.children}
    settled = base.reason is Reason.UP
    if not missing:
        if settled and not up and Start.CONNECT not in starts:
            trapped = Start.ON_DEMAND in starts
            return replace(base, reason=Reason.TRAPPED if trapped else Reason.WAITING_FOR_PEER)
        return replace(base, memory=calm(view, base.memory, now) if settled else base.memory)
    here = tuple(sa for sa in sas if on_way(sa, connection, base.source))
    by_us = bool(base.terminate or base.terminate_children)
    memory = closed_soon(view, base.memory, now, backoff, by_us=by_us)
    base = base if memory is base.memory else replace(base, memory=memory)
    if memory.retry_at is not None and now < memory.retry_at and memory.failure is not None:
        return replace(base, reason=memory.failure.reason, detail=memory.failure.detail, look_again_at=memory.retry_at)
    if endpoint_of(connection) is None and view.unresolved:
        return replace(base, reason=Reason.UNRESOLVED, detail=f"no address is known for {', '.join(view.unresolved)}")
    if view.lane.queued or (not base.terminate and any(sa.connecting for sa in here)):
        return _connecting(view, base, now)
    reason = Reason.CONNECTING if settled else base.reason
    return replace(base, reason=reason, initiate=missing, look_again_at=now + CONNECTING_LOOK_S)


def _connecting(view: View, base: Decision, now: float) -> Decision:
    attempt = view.lane.attempt
    started = attempt.started if attempt is not None else now
    if view.lane.queued:
        reason, detail = Reason.QUEUED, "waits for a slot in the window of handshakes"
    elif now - started >= SILENT_AFTER_S:
        reason, detail = Reason.NO_ANSWER, f"the peer has not answered for {now - started:.0f} s"
    else:
        reason, detail = Reason.CONNECTING, ""
    look = now + CONNECTING_LOOK_S
    if attempt is not None and len(view.targets) > 1 and view.connection is not None:
        look = min(look, max(now, started + view.connection.attempt_s))
    if reason is Reason.QUEUED:
        # The lane tells when its turn has come. A thousand that looked every second meanwhile cost more than the rest.
        return replace(base, reason=reason, detail=detail)
    return replace(base, reason=reason, detail=detail, look_again_at=look)


def _refused(base: Decision, refused: Failure, now: float, backoff: Backoff) -> Decision:
    """Charon refused a step: the same again would be refused again, so it is tried rarely."""
    retry_at = refused.at + backoff.max_s
    if now >= retry_at:
        return base
    return replace(
        base, goal=Goal.HOLD, reason=refused.reason, detail=refused.detail, look_again_at=retry_at, terminate=()
    )
