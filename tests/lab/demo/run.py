"""Runs one fault on one pair, and says what an operator wants to know of it."""

import json
from dataclasses import dataclass
from typing import Any

from tests.lab.demo.faults import WATCH_S, Fault
from tests.lab.observe import Observer, Timeline
from tests.lab.pair import Pair
from tests.lab.runner import Agent
from tests.lab.waiting import NotInTimeError


@dataclass(frozen=True, slots=True)
class Takeover:
    """What the agent logged of its takeover, in milliseconds since it saw the address: for the breakdown only."""

    loaded_ms: float | None
    initiated_ms: float | None


@dataclass(frozen=True, slots=True)
class Result:
    """One fault, on one pair."""

    fault: Fault
    by: str
    """``swanherd`` or ``notify``."""
    seen: Timeline
    """What the observer saw; it asks nobody."""
    takeover: Takeover | None
    """None where no agent took over."""
    back: bool
    """Whether traffic came back while the demo watched."""
    broken: tuple[str, ...]
    """Promises that were broken; only swanherd makes any."""


def run(fault: Fault, pair: Pair, by: str) -> Result:
    """Make *fault* on a pair that is well, watch, judge, and make the pair well again."""
    with Observer(pair.lab) as seen:
        seen.wait_through()
        logged = {gateway.name: _takeovers(gateway.runner) for gateway in pair.gateways}
        seen.mark("fault")
        fault.make(pair, seen)
        back = _traffic_back(seen, fault)
        timeline = seen.timeline(since="fault")
        takeover = _latest(pair, logged)
    fault.mend(pair)
    pair.wait_for_master(pair.a)
    pair.wait_for_traffic()
    broken = tuple(fault.broken(timeline)) if by == "swanherd" else ()
    return Result(fault, by, timeline, takeover, back, broken)


def _traffic_back(seen: Observer, fault: Fault) -> bool:
    """Wait until a packet gets through: by the other gateway if the fault moves the VIP, else by any, sent from now."""
    by = "gw-b" if fault.moves else None
    try:
        seen.wait_through(by=by, after="fault" if fault.moves else seen.mark("made"), within_s=WATCH_S)
    except NotInTimeError:
        return False
    return True


def _takeovers(runner: object) -> list[dict[str, Any]]:
    if not isinstance(runner, Agent):
        return []
    lines = (line for line in runner.said().splitlines() if '"takeover"' in line)
    return [json.loads(line) for line in lines]


def _latest(pair: Pair, before: dict[str, list[dict[str, Any]]]) -> Takeover | None:
    for gateway in pair.gateways:
        new = _takeovers(gateway.runner)[len(before[gateway.name]) :]
        if new:
            return Takeover(new[0].get("loaded_after_ms"), new[0].get("initiated_after_ms"))
    return None
