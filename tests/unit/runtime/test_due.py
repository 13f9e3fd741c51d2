"""When the next pass is: at once for what may take a right away, gathered for what charon and the lanes tell."""

import asyncio
from functools import partial

import pytest

from swanherd.runtime.due import GATHER_S, Due


async def _passed(due: Due) -> float:
    """The loop's time when a pass that has something to do begins."""
    await due.wait(None)
    due.take()
    return asyncio.get_running_loop().time()


@pytest.fixture
def due() -> Due:
    """Nothing is due."""
    return Due()


@pytest.mark.looptime
async def test_the_first_after_a_pause_is_at_once(due: Due) -> None:
    """A takeover of one tunnel waits for nothing.

    Broken by: waiting ``GATHER_S`` from the waking on, not from the last pass.
    """
    await _passed_with(due, hurry=True)
    await asyncio.sleep(1.0)
    began = asyncio.get_running_loop().time()
    due.add(["one"], hurry=False)
    assert await _passed(due) == began


@pytest.mark.looptime
async def test_what_is_in_no_hurry_is_gathered(due: Due) -> None:
    """Ten tellings within the time are one pass, which knows of them all.

    Broken by: ``Due.wait`` not waiting for the hurry.
    """
    began = await _passed_with(due, hurry=True)
    for number in range(10):
        tell = partial(due.add, [str(number)], hurry=False)
        asyncio.get_running_loop().call_later(number * GATHER_S / 20, tell)
    await due.wait(None)
    assert asyncio.get_running_loop().time() == pytest.approx(began + GATHER_S)
    assert due.take() == {str(number) for number in range(10)}


@pytest.mark.looptime
async def test_a_hurry_ends_the_gathering(due: Due) -> None:
    """A right that may be lost waits for nobody; without one the pass comes when the time is over.

    Broken by: ``Due.add`` never setting ``_hurried``; ``take`` not clearing it.
    """
    began = await _passed_with(due, hurry=True)
    due.add(["slow"], hurry=False)
    assert await _passed(due) == pytest.approx(began + GATHER_S)
    due.add(["slow"], hurry=False)
    asyncio.get_running_loop().call_later(GATHER_S / 5, due.add, ["urgent"])
    await due.wait(None)
    assert asyncio.get_running_loop().time() == pytest.approx(began + GATHER_S + GATHER_S / 5)
    assert due.take() == {"slow", "urgent"}


@pytest.mark.looptime
async def test_a_look_that_is_due_does_not_wait_for_the_gathering(due: Due) -> None:
    """A right that ends with time ends then. Broken by: leaving ``until`` out of the second wait."""
    began = await _passed_with(due, hurry=True)
    due.add(["slow"], hurry=False)
    await due.wait(began + GATHER_S / 2)
    assert asyncio.get_running_loop().time() == pytest.approx(began + GATHER_S / 2)


@pytest.mark.looptime
async def test_nothing_is_due(due: Due) -> None:
    """The wait ends with the look."""
    await due.wait(3.0)
    assert asyncio.get_running_loop().time() == pytest.approx(3.0)
    assert due.take() == set()


async def _passed_with(due: Due, *, hurry: bool) -> float:
    due.add(["before"], hurry=hurry)
    return await _passed(due)
