"""Stamps of the wall clock in the loop's time, whatever somebody does to the wall clock."""

from dataclasses import dataclass

import pytest

from swanherd.world.vrrp.clock import KernelClock


@dataclass
class Clocks:
    """Two clocks that a test sets."""

    monotonic_s: float = 1000.0
    difference_s: float = 1.7e9

    @property
    def wall_s(self) -> float:
        """What the kernel stamps."""
        return self.monotonic_s + self.difference_s

    def of_kernel(self) -> KernelClock:
        """A converter on them."""
        return KernelClock(monotonic=lambda: self.monotonic_s, wall=lambda: self.wall_s)


def test_a_packet_is_dated_when_it_came_not_when_it_was_read() -> None:
    """The agent stood still for half a minute: what queued first is half a minute old."""
    clocks = Clocks()
    clock = clocks.of_kernel()
    stamp_s = clocks.wall_s + 0.5
    clocks.monotonic_s += 30
    clock.look()
    assert clock.date(stamp_s, empty_at=1000.0) == pytest.approx(1000.5)


@pytest.mark.parametrize("step_s", [3600.0, -3600.0, 60.0, -60.0])
def test_a_step_changes_no_date(step_s: float) -> None:
    """The wall clock is stepped between two packets that are read together: both keep their times, again and again."""
    clocks = Clocks()
    clock = clocks.of_kernel()
    for start in (1000.0, 1004.0, 1008.0):
        clocks.monotonic_s = start + 1
        before_s = clocks.wall_s
        clocks.difference_s += step_s
        clocks.monotonic_s = start + 2
        after_s = clocks.wall_s
        clocks.monotonic_s = start + 3
        clock.look()
        assert clock.date(before_s, empty_at=start) == pytest.approx(start + 1)
        assert clock.date(after_s, empty_at=start) == pytest.approx(start + 2)
        clocks.monotonic_s = start + 4
        clock.look()
        assert clock.date(clocks.wall_s - 0.5, empty_at=start + 3) == pytest.approx(start + 3.5)


def test_two_steps_between_two_looks_give_the_time_of_the_look() -> None:
    """A stamp that fits nothing must not reach into the past or the future."""
    clocks = Clocks()
    clock = clocks.of_kernel()
    clocks.difference_s += 3600
    clocks.monotonic_s += 1
    lost_s = clocks.wall_s
    clocks.difference_s += 3600
    clocks.monotonic_s += 1
    clock.look()
    assert clock.date(lost_s, empty_at=1000.0) == 1002.0


def test_no_packet_is_from_the_future() -> None:
    """Loop time is never earlier than the packet, nor the packet later than loop time."""
    clocks = Clocks()
    clock = clocks.of_kernel()
    clock.look()
    assert clock.date(clocks.wall_s + 0.005, empty_at=999.0) == 1000.0


def test_a_slewed_clock_is_followed() -> None:
    """Half a millisecond a second, for a day: dates stay right."""
    clocks = Clocks()
    clock = clocks.of_kernel()
    for _ in range(86_400):
        empty_at = clocks.monotonic_s
        clocks.monotonic_s += 1
        clocks.difference_s += 0.0005
        clock.look()
        assert clock.date(clocks.wall_s, empty_at=empty_at) == pytest.approx(clocks.monotonic_s, abs=0.001)
