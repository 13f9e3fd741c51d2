"""Probes, answered by a real charon: whether it lives, without anything left behind in it."""

import asyncio
import ctypes
import os
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from swanherd.world.prober import Prober
from tests.component.charon.sites import Site

CLONE_NEWNET = 0x40000000


@pytest.fixture
def here(sites: tuple[Site, Site]) -> Iterator[Site]:
    """The test's thread is in the left site's network; the right one's charon is the one that is probed."""
    left, right = sites
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    libc = ctypes.CDLL(None, use_errno=True)
    there = os.open(f"/var/run/netns/{left.netns}", os.O_RDONLY | os.O_CLOEXEC)
    assert libc.setns(there, CLONE_NEWNET) == 0
    os.close(there)
    try:
        yield right
    finally:
        assert libc.setns(home, CLONE_NEWNET) == 0
        os.close(home)


async def test_a_charon_answers_and_keeps_nothing(sites: tuple[Site, Site], here: Site) -> None:
    """A living charon answers probes, and has no IKE_SA of them; a frozen and a dead one do not; and back again.

    Broken by: a wrong length in ``prober.probe`` (nobody answers); proposing AES (charon keeps half an IKE_SA).
    """
    changes: list[str] = []
    prober = Prober(on_change=changes.append, every_s=0.3)
    left, right = ip_address(str(sites[0].ip)), ip_address(str(here.ip))

    async def until(*, lives: bool) -> None:
        async with asyncio.timeout(20):
            while prober.answering("office") != ({right} if lives else set()):  # noqa: ASYNC110  # nothing tells
                await asyncio.sleep(0.01)

    prober.follow("office", left, (right,))
    try:
        await until(lives=True)
        assert changes == ["office"]
        assert list(here.vici().list_sas()) == []
        here.freeze()
        await until(lives=False)
        here.thaw()
        await until(lives=True)
        here.kill()
        await until(lives=False)
        prober.follow("office", left, ())
        assert prober.answering("office") == frozenset()
    finally:
        prober.close()
