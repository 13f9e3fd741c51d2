"""The loop looks when time alone changes something, cuts the wire first, and tells the neighbours who has the VIPs."""

import asyncio
from dataclasses import replace
from itertools import chain, pairwise, repeat

import pytest

from swanherd.core.evidence import VOUCH_INTERVALS, Heard, VrrpFacts
from swanherd.core.facts import Known
from swanherd.core.facts import Link as Device
from swanherd.core.intent import Intent
from swanherd.core.rhythm import SELDOM_S
from swanherd.runtime.garbage import Survivors
from swanherd.runtime.loop import ALIVE_S
from swanherd.runtime.neighbours import ANNOUNCE_AGAIN_S
from swanherd.runtime.throng import CALM_S, MANY
from tests.unit.core.settings import ALPHA, VIP_LTE, VIP_WAN, WAN
from tests.unit.core.views import VERSION, network, sa
from tests.unit.runtime.heart import CAME, DECLARED, INTERVAL_S, Heart, beating

pytestmark = pytest.mark.looptime


async def test_an_sa_is_replaced_when_the_other_gateway_has_been_silent_for_long_enough() -> None:
    """Nothing happens when somebody falls silent: the loop looks by itself, 1.5 advert intervals after the last word.

    Then every VIP that is here is announced again. Broken by: ``decide`` not looking at ``displaced_look_at``; by
    ``_announce_again`` announcing the connection's own VIP alone.
    """
    async with beating() as heart:
        now = asyncio.get_running_loop().time()
        # Ours was the last word, so that no voucher's end brings the look.
        spoke = now - 0.6 * INTERVAL_S
        heart.heard(own_at=now, other_at=spoke)
        quiet_at = spoke + VOUCH_INTERVALS * INTERVAL_S
        await asyncio.sleep(0.9 * (quiet_at - now))
        assert heart.charon.names_of("terminate") == []
        await asyncio.sleep(0.2 * (quiet_at - now))
        (at,) = [at for at, call, _ in heart.charon.calls if call == "terminate"]
        assert at == pytest.approx(quiet_at, abs=0.01)
        assert {address for when, address in heart.announced if when >= at} == {VIP_WAN, VIP_LTE}


async def test_announcements_are_not_repeated_all_the_time() -> None:
    """Two gateways that displace each other tell the neighbours at most every two seconds.

    Broken by: ``_announced_again_at`` not counting.
    """
    async with beating() as heart:
        loop = asyncio.get_running_loop()
        for _ in range(8):
            spoke = loop.time() - VOUCH_INTERVALS * INTERVAL_S - 0.1
            heart.charon.here["alpha"] = replace(
                heart.charon.here["alpha"], sas=(sa("alpha-1", "alpha-2", since=spoke - 0.1),)
            )
            heart.heard(own_at=loop.time(), other_at=spoke)
            await asyncio.sleep(ANNOUNCE_AGAIN_S / 4)
        times = sorted({at for at, address in heart.announced if address == VIP_LTE})
        assert len(times) >= 2
        assert all(later - earlier >= ANNOUNCE_AGAIN_S - 0.01 for earlier, later in pairwise(times))


async def test_an_address_that_is_not_rightful_is_not_announced() -> None:
    """Broken by: announcing every VIP that is here."""
    async with beating() as heart:
        loop = asyncio.get_running_loop()
        spoke = loop.time() - 2 * INTERVAL_S
        ours = VrrpFacts(listener=Known(Heard(own_at=loop.time(), other_at=spoke), 0.0))
        theirs = VrrpFacts(listener=Known(Heard(own_at=spoke - 5, other_at=spoke), 0.0))
        heart.vrrp.known = {"wan": ours, "lte": theirs}
        heart.store.vrrp_changed(frozenset({"wan", "lte"}))
        await asyncio.sleep(0.1)
        assert {address for _, address in heart.announced} == {VIP_WAN}


async def test_a_right_that_ends_in_anybodys_pass_is_cut_on_the_wire_first() -> None:
    """The judgement reads the time: any event can be the one that finds the right gone, and the wire must go with it.

    Broken by: ``_right_changed`` doing nothing (the fence waits for an event that concerns the wire).
    """
    async with beating() as heart:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0.1)
        heart.heard(own_at=loop.time() - 9, other_at=loop.time(), told=False)
        heart.store.charon_changed(["alpha"])
        began = loop.time()
        await asyncio.sleep(0.1)
        assert heart.table.cut_at == {VIP_WAN: began, VIP_LTE: began}
        assert [at for at, call, _ in heart.charon.calls if call == "unload!"] == [began]


async def test_what_a_takeover_of_many_needed_is_given_back_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No full collection comes of its own accord.

    Broken by: ``run`` collecting after a full pass alone, or after each pass.
    """
    collected: list[None] = []
    monkeypatch.setattr(Survivors, "collect", lambda _: collected.append(None))
    async with beating() as heart:
        await asyncio.sleep(CALM_S)
        collected.clear()
        throng = heart.loop._around.throng
        for _ in range(MANY):
            throng.came()
        for _ in range(MANY):
            throng.left()
        await asyncio.sleep(CALM_S + 1.1 * ALIVE_S)
        assert len(collected) == 1
        await asyncio.sleep(2 * ALIVE_S)
        assert len(collected) == 1


async def test_the_wire_is_looked_at_though_nothing_happens() -> None:
    """An address that no connection leaves by is fenced within ``ALIVE_S`` at the latest, though nobody told of it.

    Broken by: ``run`` making the wire due with the connections alone.
    """
    async with beating() as heart:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0.1)
        heart.vrrp.known = {"lte": VrrpFacts(listener=Known(Heard(own_at=loop.time() - 9, other_at=loop.time()), 0.0))}
        await asyncio.sleep(ALIVE_S + 1)
        assert set(heart.table.cut_at) == {VIP_LTE}


async def test_everything_is_decided_anew_though_nothing_happens() -> None:
    """Broken by: ``run`` making nothing due."""
    async with beating() as heart:
        await asyncio.sleep(0.1)
        heart.charon.looked.clear()
        await asyncio.sleep(SELDOM_S)
        assert "alpha" in heart.charon.looked


async def test_an_address_that_is_rightful_again_is_lifted_in_the_same_pass() -> None:
    """Broken by: ``_right_changed`` doing nothing (the connection is called active behind a fence)."""
    async with beating() as heart:
        loop = asyncio.get_running_loop()
        heart.heard(own_at=loop.time() - 9, other_at=loop.time())
        await asyncio.sleep(0.5)
        heart.heard(own_at=loop.time(), other_at=loop.time() - 5, told=False)
        heart.store.charon_changed(["alpha"])
        await asyncio.sleep(0.1)
        state = heart.table.state
        assert isinstance(state, Known)
        assert state.value is not None
        assert state.value.fenced == frozenset()


async def test_what_waits_for_a_neighbour_is_dropped_behind_the_fence_and_once() -> None:
    """Of a VIP that is lost, on its devices and the macvlans above them, for all its connections together.

    Broken by: ``Neighbours.follow`` forgetting what it has dropped in this pass; ``devices_of`` knowing no macvlan.
    """
    async with beating() as heart:
        loop = asyncio.get_running_loop()
        heart.store.adopt(
            Intent(
                {"wan": replace(WAN, vrrp=DECLARED)}, {name: replace(ALPHA, name=name) for name in ("alpha", "beta")}
            ),
            {"alpha": VERSION, "beta": VERSION},
        )
        vmac = Device("vrrp.51", 9, up=True, kind="macvlan", parent="eth0")
        heart.network.state = Known(network((str(VIP_WAN), "eth0"), links=[vmac]), CAME)
        await asyncio.sleep(0.1)
        assert heart.dropped == []
        heart.heard(own_at=loop.time() - 9, other_at=loop.time())
        lost = loop.time()
        await asyncio.sleep(0.1)
        assert heart.table.cut_at[VIP_WAN] == lost
        assert heart.dropped == [(lost, frozenset({"eth0", "vrrp.51"}))]


async def test_an_agent_that_is_slow_to_start_replaces_nothing() -> None:
    """What passes between the making of its parts and its first pass is no standstill.

    Broken by: ``Loop.run`` not telling the stall watch that it begins.
    """
    await asyncio.sleep(10 * INTERVAL_S)
    loop = asyncio.get_running_loop()
    made = chain([loop.time() - 5], repeat(0.0))
    heart = Heart(replace(WAN, vrrp=DECLARED), clock=lambda: next(made) or loop.time())
    await asyncio.sleep(0.1)
    await heart.close()
    assert heart.charon.calls == []
