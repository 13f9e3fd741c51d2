"""The master goes, in four ways; judged by the observer, beside the notify script in the same run.

The notify script's pair stands beside swanherd's, and each fault is made on both in alternation, so that a busy machine
is busy for both. Three times; where swanherd's median is above the script's then, six times more, and all nine judge:
the medians may differ by the interval of a packet, which three rounds do not tell apart.
"""

from collections.abc import Iterator
from statistics import median
from typing import Final

import pytest

from tests.lab.agent_conf import agent_conf
from tests.lab.demo.faults import FAULTS, FLIP_MARGIN_MS, Fault
from tests.lab.observe import Observer, Timeline
from tests.lab.pair import Pair, agent_pair, notify_pair
from tests.lab.runner import Agent

ROUNDS: Final = 3
MORE_ROUNDS: Final = 6
FAULT_BY_NAME: Final = {fault.name: fault for fault in FAULTS}


@pytest.fixture(scope="module")
def ours() -> Iterator[Pair]:
    """A pair that runs by swanherd."""
    conf = agent_conf()
    with agent_pair(conf.text, files=conf.files) as pair:
        yield pair


@pytest.fixture(scope="module")
def theirs() -> Iterator[Pair]:
    """A pair that runs by the notify script."""
    with notify_pair() as pair:
        yield pair


def _once(pair: Pair, fault: Fault) -> Timeline:
    with Observer(pair.lab) as seen:
        seen.wait_through()
        seen.mark("fault")
        fault.make(pair, seen)
        seen.wait_through(by="gw-b", after="fault")
        timeline = seen.timeline(since="fault")
        left = seen.sas("gw-a")["gw-a"] if pair.a.host.up else None
    fault.mend(pair)
    pair.wait_for_master(pair.a)
    pair.wait_for_traffic()
    if left is not None and isinstance(pair.a.runner, Agent):
        assert left.sas == (), "the old master still holds an SA"
    return timeline


class Rounds:
    """One fault, time after time on both pairs in turn."""

    def __init__(self, name: str, ours: Pair, theirs: Pair) -> None:
        self.mine: list[Timeline] = []
        self._script: list[Timeline] = []
        self._fault = FAULT_BY_NAME[name]
        self._pairs = ours, theirs
        self._go_on(ROUNDS)

    def judge_outage(self) -> None:
        """Fail if swanherd's outage is above the script's, after more rounds."""
        if _after_advert_ms(self.mine) > _after_advert_ms(self._script):
            self._go_on(MORE_ROUNDS)
        assert _after_advert_ms(self.mine) <= _after_advert_ms(self._script)

    def _go_on(self, rounds: int) -> None:
        ours, theirs = self._pairs
        for _ in range(rounds):
            self.mine.append(_once(ours, self._fault))
            self._script.append(_once(theirs, self._fault))


def _after_advert_ms(timelines: list[Timeline]) -> float:
    """Median of the outage's part that is in the runner's hands: from the new master's first advert to traffic through.

    What comes before is VRRP's: when in its interval the last advert was sent decides over up to 200 ms, which is more
    than all the rest. Both ends are packets with the kernel's timestamps; that the address came, the observer sees when
    it has its turn: on a busy machine tens of milliseconds late.
    """
    parts = [
        timeline.first_through_ms - timeline.first_advert_ms
        for timeline in timelines
        if timeline.first_through_ms is not None and timeline.first_advert_ms is not None
    ]
    assert len(parts) == len(timelines), "another became master, and traffic came through, in each round"
    return median(parts)


@pytest.mark.parametrize("name", ["keepalived-stop", "wan-down", "power-off"])
def test_takeover_without_double_running(name: str, ours: Pair, theirs: Pair) -> None:
    """One gateway runs the tunnel at any time; the outage from the new master's advert on is not above the script's.

    Broken by: ``decide`` keeping RUN as the goal when no source is held (double running in ``keepalived-stop``);
    ``Store.network_changed`` marking nothing as due (no takeover until the full pass).
    """
    rounds = Rounds(name, ours, theirs)
    rounds.judge_outage()
    assert all(timeline.double_running_ms == 0 for timeline in rounds.mine)


def test_flip_runs_double_no_longer_than_the_address_is(ours: Pair, theirs: Pair) -> None:
    """In a flip both may run for as long as both kernels hold the address and 50 ms more; the outage is not above.

    Broken by: removing ``Terminate`` from ``plan._release`` (the old master goes on while the address is there, and the
    read-back finds its SA).
    """
    rounds = Rounds("flip", ours, theirs)
    rounds.judge_outage()
    for timeline in rounds.mine:
        assert timeline.double_running_ms <= timeline.both_hold_ms + FLIP_MARGIN_MS
