"""A charon that takes calls and does not answer them: SIGSTOP, the harshest of slow charons."""

import asyncio
import errno
import os
import socket
from contextlib import ExitStack, suppress
from dataclasses import replace

import pytest

from swanherd.core.facts import Known
from swanherd.core.intent import Connection
from swanherd.world.charon import CharonError, CharonSilent
from swanherd.world.charon.lanes import READ_LIMIT, RELEASE_LIMIT, TAKEOVER_LIMIT
from tests.component.charon.agents import VERSION, Agent, eventually, running
from tests.component.charon.sites import SECRET, Site, connection

SENT_WITHIN_S = 0.005
"""A fence's first call is on its way to charon this soon, whatever else waits."""


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count, not paths


async def _sent(agent: Agent, calls: int) -> None:
    """Wait until so many calls are on their way to charon since the start."""
    await eventually(lambda: agent.charon.stats.calls >= calls, f"{calls} calls are sent")


async def _fill(agent: Agent, ours: Connection, site: Site) -> list[asyncio.Task[None]]:
    """Have more takeovers under way than there are connections for."""
    many = [replace(ours, name=f"other{number}") for number in range(TAKEOVER_LIMIT * 2)]
    tasks = [asyncio.create_task(agent.charon.load(one, site.ip)) for one in many]
    sent = agent.charon.stats.calls
    await _sent(agent, sent + TAKEOVER_LIMIT)
    return tasks


async def _ended(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError, CharonError):
            await task


async def test_frozen_is_told_and_over_when_it_wakes(sites: tuple[Site, Site]) -> None:
    """A frozen charon is told within two probes; ordinary calls then fail at once; awake, it is known again at once."""
    left, right = sites
    ours = connection(left, right)
    loop = asyncio.get_running_loop()
    async with running(left.socket_path) as here:
        await here.load(ours, left)
        left.freeze()
        assert await here.until_state("frozen") < 2.0
        assert here.here().config is not None  # held on to, for who may
        began = loop.time()
        with pytest.raises(CharonSilent):
            await here.charon.load(ours, left.ip)
        assert loop.time() - began < 0.01
        left.thaw()
        assert await here.until_state("known") < 0.2
        assert isinstance(here.charon.state, Known)
        await here.charon.load(ours, left.ip)


async def test_found_frozen(sites: tuple[Site, Site]) -> None:
    """A charon that is frozen when the agent starts is told as that, not as gone; it is read when it wakes."""
    left, _ = sites
    left.freeze()
    async with running(left.socket_path, wait=False) as here:
        assert await here.until_state("frozen") < 2.0
        left.thaw()
        assert await here.until_state("known") < 0.5


async def test_fence_is_sent_at_once(sites: tuple[Site, Site]) -> None:
    """With every takeover connection waiting for a frozen charon, a fence's call is sent within 5 ms, and ends."""
    left, right = sites
    ours = connection(left, right)
    loop = asyncio.get_running_loop()
    async with running(left.socket_path) as here:
        await here.load(ours, left)
        left.freeze()
        takeovers = await _fill(here, ours, left)
        sent, began = here.charon.stats.calls, loop.time()
        fence = asyncio.create_task(here.charon.unload("office", urgent=True))
        while here.charon.stats.calls == sent:
            await asyncio.sleep(0)
            assert loop.time() - began < SENT_WITHIN_S
        with pytest.raises(CharonSilent):
            await fence
        assert loop.time() - began < 3.0
        await _ended(takeovers)
        left.thaw()
        await here.until(lambda: here.here().config is None, "unloaded after all")


async def test_fence_needs_no_new_connection(sites: tuple[Site, Site]) -> None:
    """A frozen charon whose listen queue is full accepts nobody any more; a fence's call is sent all the same."""
    left, _ = sites
    loop = asyncio.get_running_loop()
    async with running(left.socket_path) as here:
        left.freeze()
        with ExitStack() as callers:
            while True:
                caller = callers.enter_context(socket.socket(socket.AF_UNIX))
                caller.setblocking(False)
                if caller.connect_ex(left.socket_path) == errno.EAGAIN:
                    break
            sent, began = here.charon.stats.calls, loop.time()
            fences = [asyncio.create_task(here.charon.unload(f"office{n}", urgent=True)) for n in range(RELEASE_LIMIT)]
            while here.charon.stats.calls < sent + RELEASE_LIMIT:
                await asyncio.sleep(0)
                assert loop.time() - began < SENT_WITHIN_S
            await _ended(fences)


async def test_read_back_waits_for_what_was_sent_before(sites: tuple[Site, Site]) -> None:
    """A read-back is never older than a command of before.

    Woken, charon runs a load that it was sent before it froze, possibly after our unload.
    """
    left, right = sites
    ours = connection(left, right)
    async with running(left.socket_path) as here:
        await here.charon.load_secret(ours, SECRET, VERSION)
        left.freeze()
        sent = here.charon.stats.calls
        load = asyncio.create_task(here.charon.load(ours, left.ip))
        await _sent(here, sent + 1)
        load.cancel()
        with suppress(asyncio.CancelledError):
            await load
        unload = asyncio.create_task(here.charon.unload("office", urgent=True))
        await _sent(here, sent + 2)
        with pytest.raises(CharonSilent):
            await here.charon.read("office")
        with suppress(CharonSilent):
            await unload
        assert here.charon.stats.unsettled > 0
        left.thaw()
        found = await here.charon.read("office")
        truth = left.vici().get_conns()["conns"]
        assert (found.config is not None) == (b"office" in truth)
        assert here.charon.stats.unsettled == 0
        await here.charon.unload("office", urgent=True)
        assert (await here.charon.read("office")).empty


async def test_calls_without_an_answer_are_bounded(sites: tuple[Site, Site]) -> None:
    """However many calls are given up on, no more connections wait for answers than the lanes allow.

    None is left over when charon wakes; nor when it dies instead.
    """
    left, right = sites
    ours = connection(left, right)
    async with running(left.socket_path) as here:
        await here.load(ours, left)
        await here.charon.read("office")
        before = _descriptors()
        for end in (left.thaw, left.kill):
            left.freeze()
            for _ in range(5):
                calls = [asyncio.create_task(here.charon.unload(f"x{n}", urgent=True)) for n in range(20)]
                calls += [asyncio.create_task(here.charon.load(ours, left.ip)) for _ in range(20)]
                await asyncio.sleep(0.02)
                await _ended(calls)
            limit = TAKEOVER_LIMIT + RELEASE_LIMIT + READ_LIMIT
            assert 0 < here.charon.stats.unsettled <= limit
            assert _descriptors() <= before + limit
            end()
            await eventually(lambda: here.charon.stats.unsettled == 0, "all settled")
            await eventually(lambda: _descriptors() <= before + 1, "no descriptor left over")


async def test_charon_dead_settles_everything(sites: tuple[Site, Site]) -> None:
    """What a frozen charon was sent ends with it: the read-back does not wait for a dead one."""
    left, right = sites
    ours = connection(left, right)
    async with running(left.socket_path) as here:
        left.freeze()
        sent = here.charon.stats.calls
        load = asyncio.create_task(here.charon.load(ours, left.ip))
        await _sent(here, sent + 1)
        await _ended([load])
        left.kill()
        left.start()
        await eventually(lambda: here.charon.stats.unsettled == 0, "settled")
        await here.until_state("known")
        assert (await here.charon.read("office")).empty


async def test_what_was_left_unanswered_is_not_taken_for_what_was_before(sites: tuple[Site, Site]) -> None:
    """A load and a secret that are left while charon is frozen come when it wakes: neither counts as the one before."""
    left, right = sites
    ours = connection(left, right)
    unseen = replace(ours, encap=not ours.encap)
    async with running(left.socket_path) as here:
        await here.load(ours, left)
        before = here.here()
        assert before.config == here.charon.expected(ours, left.ip)
        left.freeze()
        sent = here.charon.stats.calls
        tasks = [
            asyncio.create_task(here.charon.load_secret(ours, b"another", "v2")),
            asyncio.create_task(here.charon.load(unseen, left.ip)),
        ]
        await _sent(here, sent + 2)
        await _ended(tasks)
        left.thaw()
        await here.until(lambda: here.here().secret not in {VERSION, "v2"}, "the secret is of an unknown version")
        await here.until(lambda: here.here().config != before.config, "the configuration is not the one before")
