"""A fence never waits for anything that the lane awaits, and is done when nothing can come any more."""

import asyncio
from dataclasses import replace

import pytest

from swanherd.core.facts import CharonConnection, CharonIdentity
from swanherd.core.plan import (
    ReadBack,
    UnloadSecret,
)
from swanherd.runtime.lane import RELEASE_AGAIN_S
from swanherd.runtime.window import Window
from tests.unit.core.settings import ALPHA, BETA
from tests.unit.runtime.following import Around, hold, idle, release, takeover, until

pytestmark = pytest.mark.looptime

FENCE_STARTS_S = 0.005
"""A release is under way within this time, whatever is held open."""


@pytest.mark.parametrize("held", ["load_secret", "load", "install", "initiate", "the window", "the answer"])
async def test_a_fence_starts_at_once_whatever_is_held_open(held: str) -> None:
    """With a takeover held open at any call, at the window or at the handshake, the release is sent within 5 ms."""
    around = Around(window=Window(per_endpoint=1, overall=1))
    if held == "the window":
        await around.window.acquire("somebody else", 0)
    elif held == "the answer":
        around.charon.answers = False
    else:
        around.charon.held[held] = asyncio.Event()
    lane = around.lane()
    lane.follow(takeover(trap=True))
    await until(lambda: lane.facts.queued if held == "the window" else len(around.charon.calls) > 0)
    await asyncio.sleep(0.01)
    assert lane.facts.busy
    started = asyncio.get_running_loop().time()
    lane.follow(release())
    await until(lambda: "unload!" in [call for _, call, _ in around.charon.calls])
    sent = next(at for at, call, _ in around.charon.calls if call == "uninstall!")
    assert sent - started < FENCE_STARTS_S
    for answer in around.charon.held.values():
        assert lane.facts.open  # the read-back waits for its answer
        answer.set()
    await idle(lane)
    assert around.charon.connection("alpha").empty
    assert not lane.facts.touched
    # Its slot has gone on: the next one is free.
    if held != "the window":
        assert around.window.in_flight == 0


async def test_fences_of_many_do_not_wait_for_each_other() -> None:
    """One lane whose unload gets no answer delays no other lane."""
    around = Around()
    one, two = around.lane(ALPHA), around.lane(BETA)
    around.charon.held["unload!"] = asyncio.Event()
    one.follow(release(ALPHA))
    await until(lambda: around.charon.names_of("unload!") == ["alpha"])
    two.follow(release(BETA))
    await until(lambda: around.charon.names_of("unload!") == ["alpha", "beta"])
    around.charon.held["unload!"].set()
    await idle(one)
    await idle(two)


async def test_a_cancelled_load_leaves_a_mark() -> None:
    """Its outcome is unknown: until a read-back has found nothing, something of ours may be there."""
    around = Around()
    around.charon.held["load"] = asyncio.Event()
    lane = around.lane()
    lane.follow(takeover())
    await until(lambda: around.charon.names_of("load") == ["alpha"])
    lane.follow(hold())
    await asyncio.sleep(0)
    assert lane.facts.touched
    lane.follow(release())
    await until(lambda: around.charon.names_of("read") == ["alpha"])
    assert lane.facts.touched
    around.charon.held["load"].set()
    await idle(lane)
    assert not lane.facts.touched


async def test_what_is_open_is_settled_before_anything_is_loaded_again() -> None:
    """An older load could be carried out after the newer one, unseen: a read waits for its answer."""
    around = Around()
    around.charon.held["load_secret"] = asyncio.Event()
    lane = around.lane()
    lane.follow(takeover())
    await until(lambda: around.charon.names_of("load_secret") == ["alpha"])
    first = around.charon.held.pop("load_secret")
    lane.follow(takeover(version="s2"))
    await until(lambda: around.charon.names_of("read") == ["alpha"])
    assert around.charon.names_of("load_secret") == ["alpha"]
    first.set()
    await idle(lane)
    assert [call for _, call, _ in around.charon.calls][:4] == ["load_secret", "read", "load_secret", "load"]


async def test_a_read_back_that_finds_something_is_no_success() -> None:
    """The mark stays, and the lane rests before the next pass plans the release again."""
    around = Around()
    around.charon.here["alpha"] = CharonConnection(traps=frozenset({"of another version"}))
    lane = around.lane()
    lane.follow(takeover())
    await idle(lane)
    started = asyncio.get_running_loop().time()
    lane.follow(release())
    await idle(lane)
    assert lane.facts.touched
    assert asyncio.get_running_loop().time() - started >= RELEASE_AGAIN_S


async def test_another_charon_has_nothing_of_what_was_sent() -> None:
    """All marks go with the old one, but for what a running step may have sent to the new one already."""
    around = Around()
    lane = around.lane()
    lane.met(CharonIdentity(1, 1))
    lane.follow(takeover())
    await idle(lane)
    assert not lane.met(CharonIdentity(1, 1))
    assert lane.facts.touched
    assert lane.met(CharonIdentity(2, 2))
    assert not lane.facts.touched
    assert lane.facts.attempt is None
    around.charon.held["unload!"] = asyncio.Event()
    lane.follow(release())
    assert lane.met(CharonIdentity(3, 3))
    assert lane.facts.touched
    await lane.close()


async def test_an_unanswered_secret_stays_open() -> None:
    """Until its answer comes, or it was unloaded after a read-back, the record must not forget it."""
    around = Around()
    around.charon.held["load_secret"] = asyncio.Event()
    lane = around.lane()
    lane.follow(takeover())
    await until(lambda: around.charon.names_of("load_secret") == ["alpha"])
    lane.follow(hold())
    await asyncio.sleep(0)
    assert lane.facts.secret_sent
    lane.follow(replace(release(), steps=(ReadBack("alpha"), UnloadSecret("swanherd-alpha"))))
    around.charon.held["load_secret"].set()
    await idle(lane)
    assert not lane.facts.secret_sent
