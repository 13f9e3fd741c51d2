"""Turns decisions into what people are told: the published snapshot, transitions, takeover and fence times."""

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from swanherd import __version__
from swanherd.core.decision import Decision
from swanherd.core.facts import Known, Unknown
from swanherd.core.intent import Connection
from swanherd.core.view import View
from swanherd.core.words import Fence, Reason, Role, Start
from swanherd.report import logs
from swanherd.report.metrics import Measured
from swanherd.report.published import (
    ChildReport,
    ConfigReport,
    ConnectionReport,
    DeviceReport,
    FirewallReport,
    FirewallRuleReport,
    LoopReport,
    Published,
    SaReport,
    Transition,
)
from swanherd.runtime.gathered import NEEDED, Gathered
from swanherd.runtime.lane import Lane
from swanherd.runtime.linklane import LinkLane
from swanherd.runtime.openinglane import OpeningLane
from swanherd.runtime.sources import Sources
from swanherd.runtime.stall import StallWatch
from swanherd.runtime.wirelane import WireLane

FAILURES: Final = frozenset(
    {Reason.AUTH_FAILED, Reason.NO_PROPOSAL, Reason.TS_UNACCEPTABLE, Reason.NO_ANSWER, Reason.LOCAL_ERROR,
     Reason.REJECTED, Reason.PEER_CLOSED, Reason.UNRESOLVED, Reason.NAT_FOUND, Reason.AH_BEHIND_NAT}
)  # fmt: skip

TASKS_EVERY_S: Final = 1.0
"""How often the agent's tasks are counted: a thousand cost a third of a millisecond."""

Counts = Mapping[str, Mapping[str, int]]
"""By source, then by what was counted."""


class Teller:
    """Keeps one report per connection and publishes all of them after each pass."""

    def __init__(
        self,
        *,
        sources: Sources,
        wire_lane: WireLane,
        opening_lane: OpeningLane,
        link_lane: LinkLane,
        stalls: StallWatch,
        measured: Measured,
        clock: Callable[[], float],
        on_pass: Callable[[Published], None],
        counts: Callable[[], Counts] = dict,
    ) -> None:
        self._sources = sources
        self._gathered = Gathered(sources, clock=clock, on_return=measured.reconnect)
        self._counts = counts
        self._wire_lane = wire_lane
        self._opening_lane = opening_lane
        self._link_lane = link_lane
        self._stalls = stalls
        self._measured = measured
        self._clock = clock
        self._on_pass = on_pass
        self._started_at = clock()
        self._reports: dict[str, ConnectionReport] = {}
        self._active: set[str] = set()
        self._taking: dict[str, float] = {}
        self._fencing: dict[str, float] = {}
        self._passes = 0
        self._longest_s = 0.0
        self._tasks = 0
        self._tasks_counted_at = -TASKS_EVERY_S
        self._ready = False
        self.config = ConfigReport(path="")
        self.stopping = False
        self.latest: Published | None = None

    def tell(self, view: View, before: Decision | None, now: Decision, lane: Lane) -> Iterable[Transition]:
        """Note what was decided about one connection; yields its transition if it has changed."""
        self._time(view, before, now, lane)
        self._reports[view.name] = _report(view, now)
        if now.role is Role.ACTIVE:
            self._active.add(view.name)
        else:
            self._active.discard(view.name)
        if before is not None and (before.role, before.reason, before.fence) == (now.role, now.reason, now.fence):
            return
        transition = Transition(
            connection=view.name,
            role=now.role,
            reason=now.reason,
            fence=now.fence,
            was_role=before.role if before is not None else None,
            was_reason=before.reason if before is not None else None,
            was_fence=before.fence if before is not None else None,
            detail=now.detail,
            source=now.source,
            endpoint=_endpoint(view),
        )
        if before is None or before.role is not now.role or before.reason is not now.reason:
            self._measured.transition(transition)
        yield transition

    def forget(self, name: str) -> None:
        """The connection has left the settings, and nothing of it is left here."""
        self._active.discard(name)
        for book in (self._reports, self._taking, self._fencing):
            book.pop(name, None)

    def passed(self, changes: Sequence[Transition], *, took_s: float) -> None:
        """A pass is complete: log, count, publish."""
        self._passes += 1
        self._longest_s = max(self._longest_s, took_s)
        self._measured.reconcile(took_s, "changed" if changes else "same")
        logs.log_pass(changes, number=self._passes, took_s=took_s)
        self.publish(took_s)

    def publish(self, took_s: float = 0.0) -> None:
        """Replace the snapshot by what is known now."""
        sources = self._gathered.sources()
        self._ready = self._ready or all(source.synced for source in sources if source.name in NEEDED)
        self.latest = Published(
            at=self._clock(),
            wall=time.time(),
            version=__version__,
            config=self.config,
            started_at=self._started_at,
            pid=os.getpid(),
            ready=self._ready,
            stopping=self.stopping,
            sources=sources,
            connections=tuple(self._reports.values()),
            active=len(self._active),
            firewall=self._firewall(),
            firewall_rules=self._firewall_rules(),
            devices=self._devices(),
            loop=LoopReport(self._passes, took_s, self._longest_s, self._stalls.take_worst(), self._count_tasks()),
            evidence=self._gathered.evidence(),
            counts=self._counts(),
        )
        self._on_pass(self.latest)

    def _time(self, view: View, before: Decision | None, now: Decision, lane: Lane) -> None:
        """Takeover: address seen to first child up, or to the first failure. Fence: right lost to read back."""
        clock = self._clock()
        name = view.name
        if now.role is not Role.ACTIVE:
            self._taking.pop(name, None)
        elif before is not None and before.role is not Role.ACTIVE and before.reason is not Reason.STARTING:
            # From standby: an agent that starts on a master finds its tunnels, and takes nothing over.
            self._taking[name] = _seen(view, now, clock)
        if name in self._taking and (now.reason is Reason.UP or now.reason in FAILURES):
            seen = self._taking.pop(name)
            outcome = "up" if now.reason is Reason.UP else str(now.reason)
            self._measured.takeover(clock - seen, outcome)
            self._log_takeover(name, seen, clock, outcome, lane)
        if now.fence is Fence.PENDING:
            self._fencing.setdefault(name, clock)
        elif (started := self._fencing.pop(name, None)) is not None and now.fence is Fence.FENCED:
            self._measured.fence(clock - started, "state")

    @staticmethod
    def _log_takeover(name: str, seen: float, up: float, outcome: str, lane: Lane) -> None:
        def after_ms(moment: float | None) -> float | None:
            return None if moment is None or moment < seen else round((moment - seen) * 1000, 2)

        logs.get("takeover").info(
            "takeover",
            connection=name,
            outcome=outcome,
            address_seen_at=round(seen, 6),
            loaded_after_ms=after_ms(lane.marks.loaded),
            initiated_after_ms=after_ms(lane.marks.initiated),
            ended_after_ms=after_ms(up),
        )

    def _count_tasks(self) -> int:
        now = self._clock()
        if now - self._tasks_counted_at >= TASKS_EVERY_S:
            self._tasks, self._tasks_counted_at = len(asyncio.all_tasks()), now
        return self._tasks

    def _firewall_rules(self) -> tuple[FirewallRuleReport, ...]:
        lane = self._opening_lane
        return tuple(
            FirewallRuleReport(
                chain=str(chain),
                connections=tuple(dict.fromkeys(name for opening in rules for name in opening.names)),
                trouble=lane.troubles.get(chain, ""),
            )
            for chain, rules in lane.target.items()
        )

    def _devices(self) -> tuple[DeviceReport, ...]:
        lane = self._link_lane
        return tuple(
            DeviceReport(name=name, up=link.up, trouble=lane.troubles.get(name, ""))
            for name, link in lane.wanted.items()
        )

    def _firewall(self) -> FirewallReport:
        state = self._sources.firewall.state
        if isinstance(state, Unknown):
            return FirewallReport(present=None, since=state.since, detail=self._wire_lane.trouble or state.why)
        wire = state.value
        if wire is None:
            return FirewallReport(present=False, since=state.since, detail=self._wire_lane.trouble)
        return FirewallReport(
            present=True,
            since=state.since,
            guarded=wire.guarded,
            fenced=wire.fenced,
            fenced_pairs=wire.fenced_pairs,
            ours=len(wire.ours),
            dropped=self._wire_lane.dropped(),
            leaks=wire.leaks,
            chains=tuple(rule.chain for rule in self._firewall_rules() if rule.connections and not rule.trouble),
        )


def _seen(view: View, decision: Decision, now: float) -> float:
    """When the source's address came; now where it was here before the right was."""
    if not isinstance(view.network, Known) or decision.source is None:
        return now
    held = view.network.value.addresses.get(decision.source, ())
    return max((entry.since for entry in held), default=now)


def _expires(connection: Connection | None) -> float | None:
    certificates = connection.certificates if connection is not None else None
    return certificates.not_after if certificates is not None else None


def _endpoint(view: View) -> str | None:
    return view.connection.remote[0] if view.connection is not None else None


def _report(view: View, decision: Decision) -> ConnectionReport:
    connection = view.connection
    memory = decision.memory
    up = {child.name for sa in view.here.sas if sa.established for child in sa.children if child.installed}
    wanted = 0
    if connection is not None and decision.role is Role.ACTIVE:
        wanted = sum(connection.start_of(child) is Start.CONNECT for child in connection.children)
    return ConnectionReport(
        name=view.name,
        role=decision.role,
        reason=decision.reason,
        since=memory.reason_since or 0.0,
        fence=decision.fence,
        detail=decision.detail,
        source=decision.source,
        endpoint=_endpoint(view),
        children_up=len(up) if isinstance(view.charon, Known) else None,
        children_wanted=wanted,
        sas=tuple(
            SaReport(
                unique_id=sa.unique_id,
                state=sa.state,
                local=sa.local,
                remote=sa.remote,
                since=sa.since,
                children=tuple(ChildReport(child.name, child.state) for child in sa.children),
            )
            for sa in view.here.sas
        ),
        next_look_at=decision.look_again_at,
        attempts=memory.failures,
        certificate_expires=_expires(connection),
        notices=decision.notices,
    )
