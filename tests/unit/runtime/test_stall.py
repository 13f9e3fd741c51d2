"""The agent notices that its own loop stood still, before it decides anything."""

from swanherd.runtime.stall import BEAT_S, LONGEST_BEAT_S, NOTED_S, StallWatch


def test_a_stall_is_noted_with_its_length_and_end() -> None:
    """A pass that comes before the next beat sees it too, and it is told once."""
    told: list[float] = []
    watch = StallWatch(now=10.0, on_stall=told.append)
    watch.beat(10.1)
    watch.check(15.2)
    watch.beat(15.2)
    assert watch.until(4.0) == 15.2
    assert watch.until(5.5) is None
    assert [round(length, 3) for length in told] == [5.0]


def test_what_every_loop_does_is_no_stall() -> None:
    """Late by less than matters to VRRP: nothing is told, and the latency is measured."""
    told: list[float] = []
    watch = StallWatch(now=10.0, on_stall=told.append)
    watch.beat(10.0 + BEAT_S + NOTED_S / 2)
    assert told == []
    assert watch.until(0.0) is None
    assert round(watch.take_worst(), 3) == NOTED_S / 2
    assert watch.take_worst() == 0.0


def test_who_is_patient_is_watched_less_often() -> None:
    """Six beats in the time that matters, two to ten in a second; the beat that is on its way keeps its length.

    Broken by: a new length in force at once, which takes the rest of a longer beat for a standstill.
    """
    told: list[float] = []
    watch = StallWatch(now=10.0, on_stall=told.append)
    for patience_s, beat_s in ((0.03, BEAT_S), (0.3, BEAT_S), (1.8, 0.3), (3.0, LONGEST_BEAT_S), (float("inf"), 0.5)):
        watch.expect(patience_s)
        assert round(watch.beat_s, 3) == beat_s
    watch.beat(10.0)
    watch.expect(0.3)
    watch.beat(10.5)
    assert told == []
    watch.beat(11.5)
    assert [round(length, 3) for length in told] == [0.9]


def test_the_time_before_the_loop_began_is_no_stall() -> None:
    """An agent that takes its time to start, on a machine that does too, doubts no SA for it.

    Broken by: ``StallWatch.begin`` doing nothing.
    """
    suspended = [0.0]
    watch = StallWatch(now=10.0, on_stall=lambda _: None, suspended_s=lambda: suspended[0])
    suspended[0] = 3.0
    watch.begin(12.0)
    watch.check(12.1)
    assert watch.until(0.0) is None


def test_the_latest_stall_that_is_long_enough_counts() -> None:
    """A later, shorter one does not hide it, and a longer one does not lend it its length."""
    watch = StallWatch(now=0.0, on_stall=lambda _: None)
    watch.beat(10.0)
    watch.beat(10.1)
    watch.beat(11.0)
    assert watch.until(0.5) == 11.0
    assert watch.until(3.0) == 10.0


def test_a_suspended_machine_stood_still_though_its_clock_did_too() -> None:
    """What counts is for how long the others went on, not what this machine's monotonic clock shows.

    Broken by: leaving ``suspended_s`` out of ``StallWatch.check``.
    """
    suspended = [0.0]
    stalled: list[float] = []
    watch = StallWatch(now=10.0, on_stall=stalled.append, suspended_s=lambda: suspended[0])

    watch.beat(10.1)
    suspended[0] = 60.0
    watch.check(10.15)

    assert [round(length, 3) for length in stalled] == [59.95]
    assert watch.until(50.0) == 10.15
