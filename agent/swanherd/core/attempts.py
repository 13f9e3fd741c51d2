"""What the attempts to bring a connection up have come to, and when the next one may begin."""

from dataclasses import dataclass, replace
from typing import Final

from swanherd.core.facts import Failure, IkeSa
from swanherd.core.view import Attempt, Memory, View
from swanherd.core.words import Reason

STABLE_S: Final = 10.0
"""A peer that deletes what came up within this time is retried with backoff; later that is no failure."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait after a failed handshake: doubles from *min_s* to *max_s*."""

    min_s: float = 1.0
    max_s: float = 60.0

    def delay_s(self, failures: int) -> float:
        """Seconds to wait after *failures* in a row (1 or more)."""
        return min(self.max_s, self.min_s * 2.0 ** (min(failures, 30) - 1))


def counted(view: View, sas: tuple[IkeSa, ...], memory: Memory, now: float, backoff: Backoff) -> Memory:
    """Take the latest attempt into account once, when it is over."""
    attempt = view.lane.attempt
    if attempt is None or attempt.started == memory.counted or view.lane.busy:
        return memory
    if attempt.digest != memory.digest:
        return memory  # of another source or other settings: it delays nothing now
    failure = attempt.failure
    ended = attempt.ended if attempt.ended is not None else now
    if failure is None and attempt.ended is None:
        if any(sa.connecting or sa.established for sa in sas):
            return memory
        # The lane stopped waiting and the handshake has vanished since.
        failure = view.here.failure or Failure(Reason.NO_ANSWER, "the peer did not answer", now)
    if failure is None:
        return memory
    return failed(memory, attempt, failure, ended, backoff)


def calm(view: View, memory: Memory, now: float) -> Memory:
    """Everything is up: past failures count no more, once it has lasted."""
    attempt = view.lane.attempt
    settled = attempt is None or attempt.ended is not None or memory.counted == attempt.started
    if settled and not memory.failures and memory.retry_at is None and memory.failure is None:
        return memory
    if attempt is None:
        return replace(memory, failures=0, retry_at=None, failure=None)
    if attempt.ended is None:
        # It came up after the lane had stopped waiting: its end, some day, is no failure of the handshake.
        return replace(memory, failures=0, retry_at=None, failure=None, counted=attempt.started)
    failures = memory.failures if now - attempt.ended < STABLE_S else 0
    return replace(memory, failures=failures, retry_at=None, failure=None)


def closed_soon(view: View, memory: Memory, now: float, backoff: Backoff, *, by_us: bool) -> Memory:
    """Take into account, once, that what came up is gone again although nobody here took it away (*by_us*)."""
    attempt = view.lane.attempt
    if attempt is None or attempt.ended is None or attempt.failure is not None or attempt.started == memory.counted:
        return memory
    if view.lane.busy or by_us or attempt.digest != memory.digest:
        return memory
    if now - attempt.ended >= STABLE_S:
        return replace(memory, failures=0, counted=attempt.started)
    told = view.here.failure
    if told is None or told.at < attempt.started:
        told = Failure(Reason.PEER_CLOSED, "the peer closed it as soon as it was up", now)
    return failed(memory, attempt, told, now, backoff)


def failed(memory: Memory, attempt: Attempt, failure: Failure, ended: float, backoff: Backoff) -> Memory:
    """Count *attempt*, which *ended* with *failure*: the next one waits for its turn."""
    failures = memory.failures + 1
    # A silent peer has cost its own waiting time already; backing off would only delay its return.
    delay_s = backoff.min_s if failure.reason is Reason.NO_ANSWER else backoff.delay_s(failures)
    return replace(memory, failures=failures, counted=attempt.started, failure=failure, retry_at=ended + delay_s)
