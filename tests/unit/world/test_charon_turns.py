"""Turns at charon's connections: in order, as long as anybody is answered, and none is lost."""

import asyncio
from contextlib import suppress

import pytest

from swanherd.world.charon.turns import Turns

pytestmark = pytest.mark.looptime

PATIENCE_S = 2.0


async def _take(turns: Turns, name: str, taken: list[str]) -> None:
    await turns.take()
    taken.append(name)


async def _many(turns: Turns, count: int, taken: list[str]) -> list[asyncio.Task[None]]:
    tasks = [asyncio.create_task(_take(turns, str(number), taken)) for number in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_turns_are_given_in_order_of_asking() -> None:
    """Broken by: the newest being served first."""
    turns, taken = Turns(2, patience_s=PATIENCE_S), list[str]()
    tasks = await _many(turns, 5, taken)
    assert taken == ["0", "1"]
    for _ in range(3):
        turns.give_back(answered=True)
    await asyncio.gather(*tasks)
    assert taken == ["0", "1", "2", "3", "4"]


async def test_who_is_first_goes_before_all_who_wait() -> None:
    """What begins a handshake does not wait for what others load for later ones. Broken by: ``first`` left out."""
    turns, taken = Turns(1, patience_s=PATIENCE_S), list[str]()
    tasks = await _many(turns, 3, taken)

    async def jump() -> None:
        await turns.take(first=True)
        taken.append("first")

    tasks.append(asyncio.create_task(jump()))
    await asyncio.sleep(0)
    for _ in range(3):
        turns.give_back(answered=True)
    await asyncio.gather(*tasks)
    assert taken == ["0", "first", "1", "2"]


async def test_nobody_gives_up_while_others_are_answered() -> None:
    """The last of five waits four times as long as its patience. Broken by: the wait counting from its beginning."""
    turns, taken = Turns(1, patience_s=PATIENCE_S), list[str]()
    tasks = await _many(turns, 5, taken)
    for _ in range(4):
        await asyncio.sleep(PATIENCE_S * 0.9)
        turns.give_back(answered=True)
    await asyncio.gather(*tasks)


async def test_all_give_up_when_nobody_is_answered() -> None:
    """Each after its own patience. Broken by: a turn that came back unanswered counting as an answer."""
    turns, taken = Turns(1, patience_s=PATIENCE_S), list[str]()
    loop = asyncio.get_running_loop()
    began = loop.time()
    first, second, third = await _many(turns, 3, taken)
    await asyncio.sleep(PATIENCE_S / 2)
    late = asyncio.create_task(_take(turns, "late", taken))
    turns.give_back(answered=False)
    await asyncio.gather(first, second)
    for task, after_s in ((third, PATIENCE_S), (late, PATIENCE_S * 1.5)):
        with pytest.raises(TimeoutError):
            await task
        assert loop.time() - began == pytest.approx(after_s, abs=0.01)
    turns.give_back(answered=False)
    await _take(turns, "after", taken)
    assert taken == ["0", "1", "after"]


@pytest.mark.parametrize("given_first", [True, False])
async def test_who_leaves_takes_no_turn_along(*, given_first: bool) -> None:
    """A cancellation just before or just after the turn came. Broken by: not giving it back."""
    turns, taken = Turns(1, patience_s=PATIENCE_S), list[str]()
    await turns.take()
    (leaving, staying) = await _many(turns, 2, taken)
    if given_first:
        turns.give_back(answered=True)
    leaving.cancel()
    if not given_first:
        turns.give_back(answered=True)
    with suppress(asyncio.CancelledError):
        await leaving
    await staying
    assert taken == ["1"]
