"""What two scrapes say of the agent's event loop in between."""

import math

import pytest
from prometheus_client.exposition import generate_latest

from swanherd.report.metrics import Measured
from tests.bench.scraped import lateness, read_latencies


def test_only_what_came_in_between_counts() -> None:
    """A late beat of before (the agent's start is one) is not the takeover's, nor do early ones make up for its own."""
    measured = Measured()
    for seconds in (0.25, 0.0001, 0.0001):
        measured.loop_latency(seconds)
    before = read_latencies(generate_latest(measured.registry).decode())
    measured.loop_latency(0.002)
    measured.loop_latency(0.016)
    after = read_latencies(generate_latest(measured.registry).decode())

    late = lateness(before, after)

    assert late is not None
    assert late.mean_ms == pytest.approx(9)
    assert (late.most_ms, late.looks) == (20, 2)


def test_no_beat_is_no_lateness() -> None:
    """Nothing was looked at, which is not zero."""
    measured = Measured()
    measured.loop_latency(0.25)
    at = read_latencies(generate_latest(measured.registry).decode())

    assert lateness(at, at) is None


def test_later_than_all_buckets_is_without_bound() -> None:
    """It is never made smaller than it was."""
    measured = Measured()
    before = read_latencies(generate_latest(measured.registry).decode())
    measured.loop_latency(60.0)

    late = lateness(before, read_latencies(generate_latest(measured.registry).decode()))

    assert late is not None
    assert math.isinf(late.most_ms)
