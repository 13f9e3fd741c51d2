"""Charon's pulse: doubted after a silence with something to answer, and never otherwise."""

import asyncio

import pytest

from swanherd.world.charon.pulse import SILENT_S, Pulse

pytestmark = pytest.mark.looptime


async def _doubted_after_s(pulse: Pulse) -> float:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.wait_for(pulse.doubted.wait(), 100)
    return loop.time() - began


async def test_a_question_without_an_answer() -> None:
    """It is in doubt after that time, and no longer with the first answer. Broken by: ``asked`` without a timer."""
    pulse = Pulse()
    pulse.asked()
    assert await _doubted_after_s(pulse) == pytest.approx(SILENT_S)
    pulse.ended(answered=True)
    assert not pulse.doubted.is_set()


async def test_any_answer_begins_the_silence_anew() -> None:
    """A command that takes long does not matter while others are answered.

    Broken by: ``beats`` that does not cancel; ``beats`` that does not listen again.
    """
    pulse = Pulse()
    pulse.asked()
    for _ in range(5):
        await asyncio.sleep(SILENT_S * 0.9)
        pulse.asked()
        pulse.ended(answered=True)
        assert not pulse.doubted.is_set()
    assert await _doubted_after_s(pulse) == pytest.approx(SILENT_S)


async def test_nothing_to_answer() -> None:
    """Whoever is asked nothing may be silent, and an end without an answer is none.

    Broken by: ``ended`` that takes a lost connection for an answer; ``beats`` that listens though nothing is open.
    """
    pulse = Pulse()
    for _ in range(2):
        pulse.asked()
    await asyncio.sleep(SILENT_S * 0.9)
    pulse.ended(answered=False)
    await asyncio.sleep(SILENT_S * 0.2)
    assert pulse.doubted.is_set()
    pulse.ended(answered=False)
    assert not pulse.doubted.is_set()
    await asyncio.sleep(SILENT_S * 2)
    assert not pulse.doubted.is_set()
