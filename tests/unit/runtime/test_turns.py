"""A turn of the loop is measured in computing time: waiting, for events or for a processor, is none."""

import asyncio
import time

from swanherd.runtime.turns import TimedLoop

COMPUTES_S = 0.03


def test_a_turn_that_computes_is_told_and_one_that_waits_is_not() -> None:
    """Thirty milliseconds of work are one long turn; ten times as much of sleep is none.

    Broken by: taking the wall clock instead of the thread's (the blocking sleep counts).
    """
    turns: list[float] = []

    async def work() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, TimedLoop)
        loop.turns.on_turn = turns.append
        await asyncio.sleep(0)
        time.sleep(10 * COMPUTES_S)  # noqa: ASYNC251 - a processor that somebody else has
        await asyncio.sleep(0)
        ends = time.thread_time() + COMPUTES_S
        while time.thread_time() < ends:
            pass
        await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=TimedLoop) as runner:
        runner.run(work())
    assert COMPUTES_S <= max(turns) < 3 * COMPUTES_S
    assert len([turn for turn in turns if turn > COMPUTES_S / 2]) == 1
