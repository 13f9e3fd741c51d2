"""The lane of our own devices: what it is told, and what it tells of them."""

import asyncio
from collections.abc import Mapping

import pytest

from swanherd.core.links import Link, XfrmLink
from swanherd.runtime.linklane import CHECK_S, LinkLane

pytestmark = pytest.mark.looptime

DEVICE = {"ipsec-a": Link("ipsec-a", XfrmLink(7), up=True)}


class Kernel:
    """Devices that come into trouble, and out of it."""

    def __init__(self) -> None:
        self.troubles: dict[str, str] = {}
        self.applied = 0

    def apply(self, _wanted: Mapping[str, Link], /) -> dict[str, str]:
        """What is wrong now."""
        self.applied += 1
        return dict(self.troubles)


async def test_trouble_is_told_when_it_comes_and_when_it_goes() -> None:
    """A device that cannot be as it should be is told at once, and so is the end of it; the same again is no news.

    Broken by: ``_tell`` that never calls ``changed`` (the status would show it with the next pass only).
    """
    kernel, told = Kernel(), list[Mapping[str, str]]()
    lane = LinkLane(kernel, changed=lambda: told.append(lane.troubles))
    task = asyncio.create_task(lane.run())
    kernel.troubles = {"ipsec-a": "it is somebody else's"}
    lane.follow(DEVICE)
    await asyncio.sleep(CHECK_S / 2)
    assert lane.wanted == DEVICE
    assert told == [kernel.troubles]
    await asyncio.sleep(CHECK_S)
    assert (kernel.applied, len(told)) == (2, 1)
    kernel.troubles = {}
    lane.look()
    await asyncio.sleep(CHECK_S / 2)
    assert told[1:] == [{}]
    task.cancel()
