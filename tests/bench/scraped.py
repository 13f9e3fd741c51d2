"""What a scrape of the agent says of its event loop between two moments: the differences of its histograms."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

LATENCY: Final = "swanherd_loop_latency_seconds"
_SAMPLE: Final = re.compile(r'^(?P<name>[a-z_]+)(?:\{le="(?P<le>[^"]+)"\})? (?P<value>\S+)$')


@dataclass(frozen=True, slots=True)
class Latencies:
    """How late the loop woke: looked at ten times a second, counted since the agent's start."""

    buckets: Mapping[float, float]
    """Upper bound in seconds to how many were at most so late."""
    total_s: float
    count: float


@dataclass(frozen=True, slots=True)
class Lateness:
    """The same between two scrapes, in milliseconds."""

    mean_ms: float
    most_ms: float
    """No look found it later than that: the bound of the highest bucket that grew. Infinite beyond all of them."""
    looks: int


def read_latencies(text: str) -> Latencies:
    """Read a scrape; KeyError where it has no such histogram."""
    buckets: dict[float, float] = {}
    values: dict[str, float] = {}
    for line in text.splitlines():
        found = _SAMPLE.match(line) if line.startswith(LATENCY) else None
        if found and found["le"]:
            buckets[float(found["le"])] = float(found["value"])
        elif found:
            values[found["name"]] = float(found["value"])
    return Latencies(buckets, values[f"{LATENCY}_sum"], values[f"{LATENCY}_count"])


def lateness(before: Latencies, after: Latencies) -> Lateness | None:
    """What came between; None: nobody looked."""
    looks = int(after.count - before.count)
    if not looks:
        return None
    grown = sorted((bound, count - before.buckets.get(bound, 0.0)) for bound, count in after.buckets.items())
    most_s = next(bound for bound, count in grown if count >= looks)
    return Lateness((after.total_s - before.total_s) / looks * 1000, most_s * 1000, looks)
