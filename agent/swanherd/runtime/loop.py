"""The loop: take what is due, read the facts, decide, plan, hand over to the lanes, publish. It awaits no world."""

import asyncio
import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from swanherd.core import links
from swanherd.core import plan as planning
from swanherd.core.attempts import Backoff
from swanherd.core.decide import decide
from swanherd.core.decision import Decision
from swanherd.core.evidence import Situation
from swanherd.core.explain import Explanation, explain
from swanherd.core.facts import Known, Pair
from swanherd.core.intent import Connection, Intent
from swanherd.core.orphans import kept_and_lost
from swanherd.core.rhythm import rest_s
from swanherd.core.view import Memory
from swanherd.core.words import Reason
from swanherd.report.published import Transition
from swanherd.runtime.garbage import SURVIVORS, give_back
from swanherd.runtime.kernellane import KernelLane
from swanherd.runtime.lane import Lane
from swanherd.runtime.ledger import Ledger
from swanherd.runtime.linklane import LinkLane
from swanherd.runtime.neighbours import Neighbours
from swanherd.runtime.openinglane import OpeningLane
from swanherd.runtime.stall import StallWatch
from swanherd.runtime.store import Store
from swanherd.runtime.surroundings import Surroundings
from swanherd.runtime.target import WireTarget
from swanherd.runtime.teller import Teller
from swanherd.runtime.wirelane import WireLane

TURN_S: Final = 0.001
"""How long a pass decides before the event loop has another turn: lanes start then, and each call of theirs waits for
one. With 4 ms the first of a hundred tunnels was begun 20 ms later. The first connection, which has the highest
priority, has its turn at once."""

ALIVE_S: Final = 10.0
"""How often there is a pass though nothing happened, which judges the wire, and shows life."""


@dataclass(slots=True)
class Followed:
    """What the loop keeps of one connection between passes; all of it can be lost without harm."""

    lane: Lane
    memory: Memory = field(default_factory=Memory)
    decision: Decision | None = None
    look_at: float | None = None
    kept: frozenset[Pair] = frozenset()
    """Between which addresses it may still run here."""
    lost: frozenset[Pair] = frozenset()
    """Between which it must not."""
    if_id: int = 0
    """Of the XFRM interface that its SAs belong to, as last seen in the settings."""


class Loop:
    """The heart. ``run`` never returns; ``watchdog`` of the teller is fed after each completed pass."""

    def __init__(
        self,
        *,
        store: Store,
        around: Surroundings,
        ledger: Ledger,
        wire_lane: WireLane,
        opening_lane: OpeningLane,
        kernel_lane: KernelLane,
        link_lane: LinkLane,
        neighbours: Neighbours,
        stalls: StallWatch,
        teller: Teller,
        longest_wait_s: float | None = None,
    ) -> None:
        self._store = store
        self._around = around
        self._ledger = ledger
        self._wire_lane = wire_lane
        self._opening_lane = opening_lane
        self._kernel_lane = kernel_lane
        self._link_lane = link_lane
        self._through_links: tuple[Intent | None, tuple[Connection, ...]] = (None, ())
        self._stalls = stalls
        self._teller = teller
        self._connections: dict[str, Followed] = {}
        self._names: frozenset[str] = frozenset()
        self._looks: list[tuple[float, str]] = []
        self._wire_target = WireTarget(store)
        self._sweep_due = False
        self._cut_for: Situation | None = None
        """What the wire was last judged by."""
        self._neighbours = neighbours
        self._full_at = 0.0
        self._throngs = 0
        self._alive_at = 0.0
        self._alive_s = min(ALIVE_S, longest_wait_s or ALIVE_S)
        self.backoff = Backoff()

    async def run(self) -> None:
        """Pass after pass, for ever."""
        clock = self._around.clock
        stalled = None
        self._stalls.begin(clock())
        while True:
            self._stalls.check(clock())
            if (latest := self._stalls.until(0.0)) != stalled:
                stalled = latest
                await _world_first()
            if full := clock() >= self._full_at:
                self._store.all_due()  # though nothing happened: checks the incremental passes
            if clock() >= self._alive_at:
                self._store.wire_due = True
                self._alive_at = clock() + self._alive_s
            self._due_by_time(clock())
            self._neighbours.again(clock(), self._store.intent, self._store.network(), self._store.situation)
            due = self._store.take_due()
            started = clock()
            changes = await self._pass(due)
            self._teller.passed(changes, took_s=clock() - started)
            if full:
                self._full_at = clock() + rest_s(clock() - started)
            if full or self._throngs != self._around.throng.over:
                # What a takeover of many needed is not kept until everything is looked at.
                self._throngs = self._around.throng.over
                SURVIVORS.collect()
                give_back()
            await self._store.changed(self._next_look())

    def stir(self, names: Iterable[str] | None) -> None:
        """Charon has news of *names* (None: of all): lanes that wait for it look again."""
        for name in self._connections if names is None else names:
            known = self._connections.get(name)
            if known is not None:
                known.lane.stir()

    def explain(self, name: str) -> Explanation | None:
        """Why *name* runs from where it does, and calls whom it calls; None: there is no such connection yet."""
        known = self._connections.get(name)
        if known is None or known.decision is None:
            return None
        now = self._around.clock()
        view = self._store.view(name, known.lane.facts, self._store.situation(now), known.memory)
        return explain(view, known.decision, known.memory, self._store.endpoints.answers(name), now)

    async def close(self) -> None:
        """Stop every lane; what they have sent stays sent."""
        await asyncio.gather(*(known.lane.close() for known in self._connections.values()))

    @property
    def released(self) -> bool:
        """Whether nothing that this agent could run is left: what a stop with ``release`` waits for."""
        return all(known.decision is not None and not _left(known) for known in self._connections.values())

    async def _pass(self, due: set[str]) -> Sequence[Transition]:
        """Decide and plan the *due* connections: highest priority first, in slices, the wire before all."""
        situation = self._store.situation(self._around.clock())
        self._neighbours.begin()
        self._cut_wire(situation)
        self._kernel_lane.met(self._around.charon.state)
        changes: list[Transition] = []
        turn_ends, joined = 0.0, False
        waiting = self._ranked(due)
        while waiting:
            changes += self._one(waiting.pop(), situation)
            if self._around.clock() >= turn_ends:
                await asyncio.sleep(0)
                turn_ends = self._around.clock() + TURN_S
                if self._store.wire_due:
                    # A right that was lost meanwhile: the wire does not wait for the rest of a thousand connections.
                    situation = self._store.situation(self._around.clock())
                    self._cut_wire(situation)
                    if not joined:
                        # A right that came meanwhile: the rest of this pass sees it too, and would go before those of a
                        # higher rank. Once in a pass: a flood of events must not keep the lowest waiting for ever.
                        joined, waiting = True, self._ranked({*waiting, *self._store.take_due()})
        self._forget()
        self._sweep()
        self._follow_links()
        return changes

    def _ranked(self, names: Iterable[str]) -> list[str]:
        """*names*, the one of the highest rank last."""
        return sorted(names, key=self._store.rank, reverse=True)

    def _follow_links(self) -> None:
        """Devices of our own are up where a connection runs through them; no lane waits for one."""
        intent = self._store.intent
        if self._through_links[0] is not intent:
            through = tuple(
                each for each in intent.connections.values() if each.xfrm is not None or each.gre is not None
            )
            self._through_links = intent, through
        through = self._through_links[1]
        known = {each.name: self._connections.get(each.name) for each in through}
        decisions = {
            name: each.decision for name, each in known.items() if each is not None and each.decision is not None
        }
        self._link_lane.follow(links.wanted(through, decisions, intent.interfaces))

    def _sweep(self) -> None:
        """After the wire and charon's state, the kernel's: by what was decided just now, without a turn between."""
        if not self._sweep_due and self._kernel_lane.due_at is None:
            return
        self._sweep_due = False
        self._kernel_lane.follow(
            lost=frozenset[Pair]().union(*(known.lost for known in self._connections.values())),
            kept={name: known.kept for name, known in self._connections.items() if known.kept},
            if_ids=frozenset({0, *(known.if_id for known in self._connections.values())}),
        )

    def _forget(self) -> None:
        """Drop those that have left both the settings and the record."""
        names = self._store.names()
        if names is not self._names:
            self._names = names
            for name in set(self._connections) - names:
                self._teller.forget(name)
                self._store.endpoints.probe(name, None, ())
                del self._connections[name]

    def _one(self, name: str, situation: Situation) -> Iterable[Transition]:
        known = self._connections.get(name)
        if known is None:
            known = self._connections[name] = Followed(Lane(name, self._around))
        now = self._around.clock()
        view = self._store.view(name, known.lane.facts, situation, known.memory)
        if isinstance(view.charon, Known):
            self._ledger.met(view.charon.value)
            if known.lane.met(view.charon.value):
                view = self._store.view(name, known.lane.facts, situation, known.memory)
        decision = decide(view, known.memory, now, self.backoff)
        if known.decision is not None and decision.source != known.decision.source:
            self._right_changed(situation)
        self._ledger.consider(view, decision)
        known.kept, known.lost = kept_and_lost(view, decision)
        known.if_id = view.connection.if_id if view.connection is not None else known.if_id
        self._sweep_due |= self._kernel_lane.has_doubts(known.lost)
        self._neighbours.follow(known.decision, decision, self._store.intent, self._store.network())
        if decision.reason is Reason.DISPLACED and (known.decision is None or known.decision.reason != decision.reason):
            self._neighbours.displaced(now)
            self._store.wake()
        known.lane.follow(planning.plan(decision, view))
        if decision.initiate:
            self._store.endpoints.look_up(name)
        self._store.endpoints.probe(name, decision.source, decision.probe)
        before, known.decision, known.memory = known.decision, decision, decision.memory
        if decision.look_again_at is not None and decision.look_again_at != known.look_at:
            heapq.heappush(self._looks, (decision.look_again_at, name))
        known.look_at = decision.look_again_at
        return self._teller.tell(view, before, decision, known.lane)

    def _right_changed(self, situation: Situation) -> None:
        """A right can end, or return, with time alone, in a pass that something else brought: the wire goes first."""
        if self._cut_for is not situation:
            self._store.wire_due = True
            self._cut_wire(situation)

    def _cut_wire(self, situation: Situation) -> None:
        if not self._store.wire_due:
            return
        self._store.wire_due = False
        self._cut_for = situation
        target = self._wire_target.now(situation, self._wire_lane.actual())
        self._wire_lane.follow(target)
        if (openings := self._wire_target.openings(target.fenced)) is not None:
            self._opening_lane.follow(openings)

    def _due_by_time(self, now: float) -> None:
        while self._looks and self._looks[0][0] <= now:
            at, name = heapq.heappop(self._looks)
            known = self._connections.get(name)
            if known is not None and known.look_at == at:
                self._store.due([name])
                self._store.wire_due = True  # a right that ends with time ends for the wire first

    def _next_look(self) -> float:
        # A look that was cancelled meanwhile costs one empty pass.
        looks = [self._full_at, self._alive_at, *(at for at, _ in self._looks[:1])]
        looks += [at for at in (self._neighbours.due_at, self._kernel_lane.due_at) if at is not None]
        return min(looks)


async def _world_first() -> None:
    """Let what waits on the sockets be read before anything is decided.

    A thaw ends the wait for sockets with nothing (``epoll_wait`` is interrupted by SIGCONT, and its time is over), so
    asyncio runs timers, and whoever they wake, on what was known before. Two turns: the first asks the sockets and
    runs their readers behind us.
    """
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def _left(known: Followed) -> bool:
    facts = known.lane.facts
    return facts.touched or facts.busy
