"""The window of handshakes in flight: limits, order, and that a cancelled wait holds nothing."""

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swanherd.runtime.window import Window

ENDPOINTS = ("a", "b", "c")


@dataclass
class Handshakes:
    """Many who want a slot, and what was in flight while they had one."""

    window: Window
    granted: list[tuple[str, int]] = field(default_factory=list)
    now: dict[str, int] = field(default_factory=dict)

    async def one(self, endpoint: str, priority: int, length_s: float) -> None:
        """Wait for a slot, hold it for *length_s*, give it back."""
        await self.window.acquire(endpoint, priority)
        try:
            self.granted.append((endpoint, priority))
            self.now[endpoint] = self.now.get(endpoint, 0) + 1
            assert self.now[endpoint] <= self.window.per_endpoint
            # Some may have been granted a slot and not have had their turn yet.
            assert sum(self.now.values()) <= self.window.in_flight <= self.window.overall
            await asyncio.sleep(length_s)
        finally:
            self.now[endpoint] -= 1
            self.window.release(endpoint)


wishes = st.lists(
    st.tuples(
        st.sampled_from(ENDPOINTS),
        st.integers(0, 3),
        st.sampled_from([0.0, 0.001]),
        st.one_of(st.none(), st.sampled_from([0.0, 0.0005, 0.001])),
    ),
    max_size=12,
)


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(wishes, st.integers(1, 3), st.integers(1, 4))
def test_limits_hold_and_nothing_is_lost(
    wanted: list[tuple[str, int, float, float | None]], per_endpoint: int, overall: int
) -> None:
    """Whoever comes or is cancelled, whenever: never more than the limits; all are served; all slots come back."""

    async def run() -> None:
        handshakes = Handshakes(Window(per_endpoint=per_endpoint, overall=overall))
        loop = asyncio.get_running_loop()
        tasks = []
        for endpoint, priority, length_s, cancelled_after_s in wanted:
            task = asyncio.create_task(handshakes.one(endpoint, priority, length_s))
            if cancelled_after_s is not None:
                loop.call_later(cancelled_after_s, task.cancel)
            tasks.append(task)
        async with asyncio.timeout(5):
            results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(result is None or isinstance(result, asyncio.CancelledError) for result in results)
        assert handshakes.window.in_flight == 0
        # Nobody holds a slot unseen: as many as the limits allow are free again.
        async with asyncio.timeout(1):
            for _ in range(min(per_endpoint, overall)):
                await handshakes.window.acquire("a", 0)

    asyncio.run(run())


async def test_the_highest_priority_goes_first() -> None:
    """Then those who came first; the limit of one endpoint delays no other endpoint."""
    window = Window(per_endpoint=1, overall=2)
    handshakes = Handshakes(window)
    wanted = [("a", 0), ("a", 1), ("a", 5), ("a", 5), ("b", 0)]
    await asyncio.gather(*(handshakes.one(endpoint, priority, 0.0) for endpoint, priority in wanted))
    assert [grant for grant in handshakes.granted if grant[0] == "a"] == [("a", 0), ("a", 5), ("a", 5), ("a", 1)]
    assert handshakes.granted.index(("b", 0)) == 1


async def test_a_slot_granted_to_one_who_leaves_goes_on() -> None:
    """Granted and cancelled in the same turn of the loop: the next in line has it."""
    window = Window(per_endpoint=1, overall=1)
    await window.acquire("a", 0)
    leaves = asyncio.create_task(window.acquire("a", 9))
    waits = asyncio.create_task(window.acquire("a", 0))
    await asyncio.sleep(0)
    window.release("a")
    leaves.cancel()
    async with asyncio.timeout(1):
        await waits
    with pytest.raises(asyncio.CancelledError):
        await leaves
    assert window.in_flight == 1
