"""A lane carries out its latest plan, and what becomes of a takeover."""

import asyncio
from dataclasses import replace

import pytest

from swanherd.core.facts import CharonConnection, ChildSa, IkeSa
from swanherd.core.intent import Part
from swanherd.core.words import Reason
from swanherd.runtime.lane import SILENT_AGAIN_S
from swanherd.runtime.steps import SLOT_S
from swanherd.runtime.window import Window
from swanherd.world.charon import CharonGone, CharonRefused, CharonSilent
from tests.unit.core.charon import expected
from tests.unit.core.settings import ALPHA, VIP_WAN
from tests.unit.runtime.following import Around, hold, idle, release, takeover, until

pytestmark = pytest.mark.looptime


async def test_a_takeover_is_done_in_order() -> None:
    """Secret, configuration, handshake; then the lane tells that its facts changed."""
    around = Around()
    lane = around.lane()
    lane.follow(takeover())
    await idle(lane)
    assert [call for _, call, _ in around.charon.calls] == ["load_secret", "load", "initiate", "initiate"]
    assert around.changed == ["alpha"]
    attempt = lane.facts.attempt
    assert attempt is not None
    assert (attempt.failure, attempt.ended is not None) == (None, True)
    assert lane.facts.touched


async def test_the_same_plan_again_disturbs_nothing() -> None:
    """A pass that decides the same lets the lane go on where it is."""
    around = Around()
    around.charon.held["load"] = asyncio.Event()
    lane = around.lane()
    lane.follow(takeover())
    await until(lambda: around.charon.names_of("load") == ["alpha"])
    lane.follow(takeover())
    around.charon.held["load"].set()
    await idle(lane)
    assert around.charon.names_of("load") == ["alpha"]


async def test_a_silent_charon_is_not_asked_in_a_hot_loop() -> None:
    """After a call without an answer the lane rests."""
    around = Around()
    around.charon.refusals["load"] = CharonSilent("load-conn")
    lane = around.lane()
    started = asyncio.get_running_loop().time()
    lane.follow(takeover())
    await idle(lane)
    assert asyncio.get_running_loop().time() - started >= SILENT_AGAIN_S
    assert lane.facts.touched
    assert lane.facts.refused is None


async def test_a_gone_charon_ends_the_plan() -> None:
    """Nothing is refused and nothing is waited for: the next pass sees that it is gone."""
    around = Around()
    around.charon.refusals["load"] = CharonGone("vici")
    lane = around.lane()
    lane.follow(takeover())
    await idle(lane)
    assert lane.facts.refused is None
    assert around.changed == ["alpha"]


async def test_a_refusal_is_a_fact_until_another_plan_comes() -> None:
    """Holding still, which follows it, is not another plan; the same plan again is none either."""
    around = Around()
    around.charon.refusals["load"] = CharonRefused("invalid proposal")
    lane = around.lane()
    lane.follow(takeover())
    await idle(lane)
    refused = lane.facts.refused
    assert refused is not None
    assert (refused.reason, refused.detail) == (Reason.REJECTED, "invalid proposal")
    lane.follow(hold())
    assert lane.facts.refused == refused
    lane.follow(takeover(version="s2"))
    assert lane.facts.refused is None
    await idle(lane)


async def test_unloaded_by_somebody_meanwhile_is_no_refusal() -> None:
    """``swanctl --load-all`` between our load and our initiation: it is planned again at once, not after a minute."""
    around = Around()
    around.charon.held["initiate"] = asyncio.Event()
    around.charon.refusals["initiate"] = CharonRefused("CHILD_SA config 'alpha-1' not found")
    lane = around.lane()
    lane.follow(takeover())
    await until(lambda: around.charon.names_of("initiate") == ["alpha"])
    around.charon.here["alpha"] = CharonConnection()
    around.charon.held["initiate"].set()
    await idle(lane)
    assert lane.facts.refused is None


async def test_nothing_is_initiated_that_came_up_while_it_waited() -> None:
    """The peer was faster than our slot: no child is made a second time."""
    around = Around(window=Window(per_endpoint=1, overall=1))
    await around.window.acquire("somebody else", 0)
    children = tuple(ChildSa(child.name, 5 + number, "INSTALLED") for number, child in enumerate(ALPHA.children))
    up = IkeSa("alpha", 4, "ESTABLISHED", VIP_WAN, None, initiator=False, since=1.0, children=children)
    around.charon.here["alpha"] = CharonConnection(config=expected(ALPHA, VIP_WAN))
    lane = around.lane()
    initiate = takeover().steps[-1]
    lane.follow(replace(takeover(), steps=(initiate,)))
    await until(lambda: lane.facts.queued)
    around.charon.here["alpha"] = replace(around.charon.here["alpha"], sas=(up,))
    around.window.release("somebody else")
    await idle(lane)
    assert around.charon.names_of("initiate") == []


async def test_an_unanswered_handshake_frees_its_slot() -> None:
    """After the slot's deadline the next one may begin, and the attempt stays open."""
    around = Around(window=Window(per_endpoint=1, overall=1))
    around.charon.answers = False
    lane = around.lane()
    started = asyncio.get_running_loop().time()
    lane.follow(takeover())
    await until(lambda: around.charon.names_of("initiate") != [])
    assert around.window.in_flight == 1
    await until(lambda: around.window.in_flight == 0, within_s=SLOT_S + 1)
    assert asyncio.get_running_loop().time() - started >= SLOT_S
    attempt = lane.facts.attempt
    assert attempt is not None
    assert (attempt.ended, attempt.failure) == (None, None)


async def test_a_fault_of_our_own_stays_in_its_lane() -> None:
    """It is reported, and the lane rests like after a refusal; the loop goes on."""
    around = Around()
    around.charon.refusals["load"] = KeyError("a bug")
    lane = around.lane()
    lane.follow(takeover())
    await idle(lane)
    assert around.bugs
    assert lane.facts.refused is not None


async def test_what_the_lane_ends_itself_is_no_attempt_that_the_peer_closed() -> None:
    """After a release that was interrupted the next takeover starts at once.

    Broken by: keeping ``attempt`` when the lane terminates (the right lost and back within ten seconds then cost a
    pause of a second, as if the peer had closed the SA).
    """
    around = Around()
    lane = around.lane()
    lane.follow(takeover())
    await idle(lane)
    assert lane.facts.attempt is not None
    around.charon.held["terminate!"] = asyncio.Event()
    lane.follow(release())
    await until(lambda: any(call == "terminate!" for _, call, _ in around.charon.calls))
    lane.follow(hold())
    assert lane.facts.attempt is None


async def test_parts_one_after_another() -> None:
    """Parts of a split connection begin in turn; one without an answer is ended before the next has its turn.

    An answer that came late would carry INITIAL_CONTACT, and end the other at the peer. Broken by: leaving the window
    of parts out of ``_steps`` (both begin at once); ``_give_up`` ending nothing.
    """
    around = Around()
    around.charon.answers = False
    parts = [
        replace(ALPHA, name=f"alpha-{number}", children=ALPHA.children[number : number + 1], part=Part("alpha", number))
        for number in (0, 1)
    ]
    lanes = [around.lane(part) for part in parts]
    for lane, part in zip(lanes, parts, strict=True):
        lane.follow(takeover(part))
    await asyncio.sleep(SLOT_S + 1)
    calls = [(call, name) for _, call, name in around.charon.calls if call in {"initiate", "terminate"}]
    assert calls == [("initiate", "alpha-0"), ("terminate", "alpha-0"), ("initiate", "alpha-1")]
    attempt = lanes[0].facts.attempt
    assert attempt is not None
    assert attempt.failure is not None
    assert attempt.failure.reason is Reason.NO_ANSWER
    for lane in lanes:
        await lane.close()
