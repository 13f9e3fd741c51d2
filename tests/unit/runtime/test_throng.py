"""Charon's log is not listened to while many lanes are at work, as long as all goes well."""

import asyncio
from dataclasses import replace

import pytest

from swanherd.core.facts import CharonConnection, IkeSa
from swanherd.core.intent import Connection
from swanherd.runtime.steps import SLOT_S, UNHEARD_S
from swanherd.runtime.throng import AGAIN_S, CALM_S, FEW, MANY, Throng
from swanherd.runtime.window import Window
from tests.unit.core.charon import expected
from tests.unit.core.settings import ALPHA, VIP_WAN
from tests.unit.runtime.following import Around, idle, takeover, until
from tests.unit.runtime.model import ModelCharon

pytestmark = pytest.mark.looptime


def _many(number: int) -> list[Connection]:
    return [replace(ALPHA, name=f"c{each}") for each in range(number)]


def _around() -> Around:
    return Around(window=Window(per_endpoint=MANY, overall=MANY))


async def test_nobody_listens_while_many_are_at_work() -> None:
    """Until it has been calm for a while. Broken by: ``Lane.follow`` not telling; ``left`` not telling."""
    around = _around()
    around.charon.held["initiate"] = asyncio.Event()
    lanes = [around.lane(each) for each in _many(MANY)]
    for lane in lanes[:-1]:
        lane.follow(takeover(replace(ALPHA, name=lane.name)))
    assert around.charon.hears
    lanes[-1].follow(takeover(replace(ALPHA, name=lanes[-1].name)))
    assert not around.charon.hears
    around.charon.held["initiate"].set()
    for lane in lanes:
        await idle(lane)
    assert not around.charon.hears, "two bursts in a row are one"
    await asyncio.sleep(CALM_S * 1.1)
    assert around.charon.hears


async def test_a_lane_that_is_cancelled_before_its_first_turn_is_not_at_work() -> None:
    """It has no turn in which it could say so. Broken by: ``left`` at the end of ``_carry_out``."""
    around = _around()
    for each in _many(FEW * MANY):
        lane = around.lane(each)
        lane.follow(takeover(each))
        await lane.close()
    assert around.charon.hears
    assert around.charon.calls == []


async def test_a_handshake_of_which_nothing_was_heard_is_made_again() -> None:
    """It has failed, as a look shows, and nobody was told why: all listen then, and it counts for nothing.

    Broken by: ``_await_outcome`` waiting for the slot's deadline.
    """
    around = _around()
    around.charon.hears = False
    around.charon.answers = False
    lane = around.lane()
    began = asyncio.get_running_loop().time()
    lane.follow(takeover())
    await until(lambda: around.charon.names_of("initiate") != [])
    around.charon.here["alpha"] = replace(around.charon.here["alpha"], sas=())
    await idle(lane)
    assert UNHEARD_S[0] <= asyncio.get_running_loop().time() - began < SLOT_S
    assert around.charon.hears
    assert lane.facts.attempt is None


@pytest.mark.parametrize("heard", [False, True])
async def test_what_a_listing_shows_to_have_vanished_has_no_reason_unheard(*, heard: bool) -> None:
    """Whoever lists it first: it has not merely had no answer. Broken by: ``_note`` not asking ``heard_since``."""
    around = _around()
    around.charon.hears = heard
    around.charon.answers = False
    lane = around.lane()
    lane.follow(takeover())
    await until(lambda: len(around.charon.names_of("initiate")) == len(ALPHA.children))
    await asyncio.sleep(UNHEARD_S[0] / 2)
    around.charon.here["alpha"] = replace(around.charon.here["alpha"], sas=())
    lane.stir()
    await until(lambda: not lane.facts.busy, within_s=UNHEARD_S[0] / 4)
    assert around.charon.hears
    assert (lane.facts.attempt is not None) is heard


async def test_one_that_is_under_way_is_left_alone() -> None:
    """A peer may be slow: its handshake is not begun anew. Broken by: ``_on_way`` not asked."""
    around = _around()
    around.charon.hears = False
    around.charon.answers = False
    lane = around.lane()
    lane.follow(takeover())
    await idle(lane, within_s=SLOT_S + 1)
    assert around.charon.names_of("initiate") == ["alpha"] * len(ALPHA.children)
    assert lane.facts.attempt is not None


async def test_an_sa_without_its_children_is_made_whole_at_the_slots_end() -> None:
    """The peer refused the children, and nobody heard it. Broken by: the second ``_make_again``."""
    around = _around()
    around.charon.hears = False
    childless = IkeSa("alpha", 1, "ESTABLISHED", VIP_WAN, None, initiator=True, since=0.0, children=())
    around.charon.held["initiate"] = asyncio.Event()
    lane = around.lane()
    lane.follow(takeover())
    await until(lambda: around.charon.names_of("initiate") != [])
    around.charon.answers = False
    around.charon.held["initiate"].set()
    await until(lambda: len(around.charon.names_of("initiate")) == len(ALPHA.children))
    around.charon.here["alpha"] = CharonConnection(config=expected(ALPHA, VIP_WAN), sas=(childless,))
    around.charon.heard_before = False
    await idle(lane, within_s=SLOT_S + 1)
    assert lane.facts.attempt is None


async def test_one_slow_handshake_is_listened_to_while_it_lasts() -> None:
    """And a little longer, since all of charon is read when it is heard again; a failed one, as long as the throng is.

    Broken by: ``waiting`` that ends at once, or never; ``_over`` that keeps what has failed before.
    """
    charon = ModelCharon()
    throng = Throng(charon)
    for _ in range(MANY):
        throng.came()
    assert not charon.hears
    with throng.waiting():
        assert charon.hears
    await asyncio.sleep(AGAIN_S / 2)
    with throng.waiting():
        await asyncio.sleep(AGAIN_S * 0.7)
    await asyncio.sleep(AGAIN_S / 2)
    assert charon.hears
    await asyncio.sleep(AGAIN_S * 0.6)
    assert not charon.hears
    throng.failed()
    await asyncio.sleep(AGAIN_S * 2)
    assert charon.hears
    for _ in range(MANY):
        throng.left()
    await asyncio.sleep(CALM_S * 1.1)
    assert charon.hears
    for _ in range(MANY):
        throng.came()
    assert not charon.hears


async def test_where_the_log_is_heard_nobody_looks() -> None:
    """The line that tells of a failure would have come. Broken by: ``heard_since`` not asked."""
    around = _around()
    around.charon.answers = False
    lane = around.lane()
    lane.follow(takeover())
    await idle(lane, within_s=SLOT_S + 1)
    assert len(around.charon.names_of("read")) == 1, "at the slot's deadline"
