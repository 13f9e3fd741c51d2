"""Runs episodes on a pair, judges after every step, and stops at the first thing that is wrong."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from tests.chaos.oracle import Event, Kind, Violation, judge
from tests.chaos.sequence import Episode, Step
from tests.chaos.settled import Settled
from tests.chaos.sightings import events_of, lateness_of
from tests.chaos.site import Site
from tests.chaos.state import expected_runner
from tests.lab.keepalived import Vrrp
from tests.lab.observe import Observer
from tests.lab.waiting import wait_until

MEANWHILE_S: Final = 12.0
"""For so long a runner that is promised while faults are in force may be away: a takeover, a refused try, and DPD."""
TOLD_BEFORE_S: Final = 3.0
"""How much of the time before a violation is shown."""

LOGS: Final = ("swanherd.log", "keepalived.log", "charon.log")
TAIL_LINES: Final = 40
"""Of each log, beside a failure."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Done:
    """A step, as it was made."""

    step: Step
    began: float
    ended: float


@dataclass
class Failure(Exception):  # noqa: N818 - what a run answers, by way of its steps
    """What went wrong, and what had been done."""

    what: str
    done: list[Done]
    around: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return self.what


class Run:
    """One pair's way through its episodes."""

    def __init__(self, site: Site, tell: Tell) -> None:
        self._site = site
        self._tell = tell
        self._settled = Settled(site)
        self.back_s: list[float] = []
        """How long traffic took to be back after each healing."""

    def episode(self, episode: Episode) -> None:
        """Make its steps, heal, and judge; Failure at the first thing that is wrong."""
        done: list[Done] = []
        with Observer(self._site.pair.lab) as seen:
            seen.wait_through(by="gw-a")
            began = seen.mark("episode")
            self._site.notes.clear()
            for step in chain(episode.steps, episode.healing):
                self._make(step, done, seen, began)
            self._guarded(lambda: self.back_s.append(self._settled.expect(seen)), done, seen, began)
            self._judge(done, seen, began)
        self._tell(f"      all well, traffic after {self.back_s[-1]:.1f} s")

    def _make(self, step: Step, done: list[Done], seen: Observer, began: float) -> None:
        at = time.monotonic()
        self._guarded(lambda: _act(self._site, step), [*done, Done(step, at, at)], seen, began)
        done.append(Done(step, at, time.monotonic()))
        self._tell(f" {step.number or '':>4} {at - began:7.2f} s  {step}")
        until = time.monotonic() + step.pause_s
        wait_until(lambda: time.monotonic() >= until, "the pause ends")
        runner = expected_runner(step.state)
        if runner is not None and step.pause_s >= 0.6:
            self._guarded(lambda: self._settled.expect_traffic(seen, runner, within_s=MEANWHILE_S), done, seen, began)
        self._judge(done, seen, began)

    def _guarded(self, act: Callable[[], object], done: list[Done], seen: Observer, began: float) -> None:
        """Do something that fails where the pair is not as it must be."""
        try:
            act()
        except AssertionError as error:
            raise Failure(f"{type(error).__name__}: {error}", done, self._around(seen, began, None, done)) from error

    def _judge(self, done: list[Done], seen: Observer, began: float) -> None:
        evidence = seen.evidence()
        events = [*events_of(evidence), *self._site.notes]
        waited, late = self._site.processor.waited_s, lateness_of(evidence)
        wrong = judge(events, advert_s=Vrrp().advert_s, since=began, late=lambda *when: waited(*when) + late(*when))
        if wrong:
            what = "\n".join(tell_violation(violation, began) for violation in wrong)
            raise Failure(what, done, self._around(seen, began, wrong[0], done))

    def _around(self, seen: Observer, began: float, wrong: Violation | None, done: list[Done]) -> list[str]:
        """The timeline around what went wrong, for people."""
        end = wrong.until if wrong else time.monotonic()
        start = (max(wrong.lost_at, wrong.since - TOLD_BEFORE_S) if wrong else end - 2 * TOLD_BEFORE_S) - 0.5
        events = [*events_of(seen.evidence()), *self._site.notes]
        told = [(event.at, f"{event.gateway}: {event.kind.value} {event.what}".rstrip(), event) for event in events]
        steps = [(each.began, f"STEP {each.step}", None) for each in done]
        shown = [(at, text, event) for at, text, event in sorted([*told, *steps], key=lambda one: one[0])]
        lines = [
            (at, text, event)
            for at, text, event in shown
            if start <= at <= end + 0.2 or (began <= at < start and not _goes_on(event, text))
        ]
        return [*_thinned(lines, began), *self._logs(seen)]

    def _logs(self, seen: Observer) -> Iterator[str]:
        """The end of what the daemons of both gateways wrote; their clock is the wall's."""
        began = time.strftime("%H:%M:%S", time.gmtime(seen.wall(seen.marked("episode"))))
        yield f"\nlogs (the episode began at {began} UTC)"
        for gateway in self._site.pair.gateways:
            for name in LOGS:
                log = gateway.host.log(name)
                if log.exists():
                    yield f"--- {gateway.name} {name}"
                    yield from log.read_text(errors="replace").splitlines()[-TAIL_LINES:]


def _act(site: Site, step: Step) -> None:
    act = step.fault.heal if step.heals else step.fault.make
    assert act is not None
    act(site, site.gateway(step.where))


def _goes_on(event: Event | None, text: str) -> bool:
    """Whether it is one of a stream of the same, worth a line only near what went wrong."""
    streams = {Kind.SENT, Kind.OWN_ADVERT, Kind.OTHER_ADVERT, Kind.SENT_IN_CLEAR}
    return event is not None and event.kind in streams and "IKE" not in text


def _thinned(lines: Iterable[tuple[float, str, Event | None]], began: float) -> Iterator[str]:
    """One line a thing; ESP and adverts that only go on are counted."""
    last: dict[tuple[str, Kind], float] = {}
    skipped = 0
    for at, text, event in lines:
        if event is not None and _goes_on(event, text):
            key = (event.gateway, event.kind)
            before, last[key] = last.get(key, 0.0), at
            if at - before < (0.1 if event.kind is Kind.SENT else 0.35):
                skipped += 1
                continue
        if skipped:
            yield f"{'':>10}     ... {skipped} more of what went on"
            skipped = 0
        yield f"{at - began:10.3f} s   {text}"


def tell_violation(violation: Violation, began: float) -> str:
    """One violation in a sentence."""
    late = f", until {violation.late_ms:.0f} ms after it lost the right" if violation.lost_at >= began - 1 else ""
    return (
        f"{violation.gateway} sent {violation.packets} packets {violation.why}{late}, "
        f"at {violation.since - began:.3f} to {violation.until - began:.3f} s; the first: {violation.what}"
    )
