"""What a bench is going to do, and for how long: from the runs that were kept, else from a rough rule."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Final

from tests.bench.cases import OLD_EMPTY_S, Case
from tests.bench.contestants import ALWAYS, BEST, NOTIFY, RESTART, SWANHERD, Contestant
from tests.bench.figures import Measured

BUILD_S: Final = 2.0
"""A pair that carries traffic, with one tunnel, and what is measured in it."""
FLIP_S: Final = 0.8
EMULATED: Final = 10.0
"""How many times longer all of it takes on an emulated machine."""
TUNNEL_S: Final = 0.0145
"""A handshake on two cores that do nothing else; a script takes twice as long, a program for each."""
AGENT_S: Final = 3.0
"""More with an agent: its start, and how much it uses when idle."""
STARTS_S: Final = 1.0
"""More where charon is started anew."""
DPD_S: Final = 11.0
"""Until dead peer detection has found out, and some more until the old side is silent."""
LIMITED: Final = 1.5
"""Many tunnels begun all at once to one peer with limits: of the time that is watched, before the fault and after."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one contestant in one case."""

    case: Case
    contestant: Contestant
    turn: int


def runs_of(
    cases: Iterable[Case], *, by: str | None = None, at_most: int | None = None, whole: bool = False
) -> Iterator[Run]:
    """All runs in their order; alternated, since what drifts on the machine drifts for all of them.

    *by* one contestant alone; *at_most* so many of each; *whole* adds those that only the longer matrix has.
    """
    for case in cases:
        contestants = (*case.contestants, *(case.later if whole else ()))
        for turn in range(min(case.runs, at_most or case.runs)):
            order = contestants if turn % 2 == 0 else contestants[::-1]
            yield from (Run(case, each, turn) for each in order if by in {None, each.name})


def expected_s(run: Run, kept: Mapping[str, Measured]) -> float:
    """How long it takes: as long as its like took, else by rule."""
    measured = kept.get(run.case.name)
    took = [each["took_s"] for each in measured.runs(run.contestant.name) if "took_s" in each] if measured else []
    return median(took) if took else _rule_s(run.case, run.contestant)


def _rule_s(case: Case, contestant: Contestant) -> float:
    handshakes = 2 * case.connections * TUNNEL_S * (2 if contestant is BEST else 1)
    # A master is one after three adverts' silence: once at the start, and once more where it dies without a word.
    adverts = case.advert_s * (4 if case.fault in {"keepalived-stop", "flip"} else 8)
    seconds = BUILD_S + case.flips * FLIP_S + adverts + handshakes
    seconds += {SWANHERD: AGENT_S, RESTART: STARTS_S, ALWAYS: DPD_S}.get(contestant, 0.0)
    if case.connections > 1 and contestant in {NOTIFY, ALWAYS}:
        # What these leave in the old gateway is waited for in vain; and they begin all handshakes at once.
        seconds += OLD_EMPTY_S[case.connections] + (LIMITED * case.watch_s if case.limits and case.peers == 1 else 0.0)
    return seconds * (EMULATED if case.xfrm else 1.0)
