"""A pass decides by rank, whatever comes in its midst."""

import asyncio
from dataclasses import replace
from itertools import count
from typing import Final

import pytest

from swanherd.core.facts import CharonIdentity, Known, NetworkChange
from swanherd.core.intent import Intent
from swanherd.core.record import Record
from swanherd.runtime.loop import TURN_S
from tests.unit.core.settings import ALPHA, WAN
from tests.unit.core.views import VERSION, entry, network
from tests.unit.runtime.heart import BOTH_HERE, CAME, Heart, beating

pytestmark = pytest.mark.looptime


class Ranks:
    """Six connections by the WAN's VIP, which is not here yet."""

    NAMES: Final = tuple(f"rank-{number}" for number in range(6))

    def __init__(self, heart: Heart) -> None:
        self.heart = heart
        self.looked = heart.charon.looked
        connections = [replace(ALPHA, name=name, priority=9 - at) for at, name in enumerate(self.NAMES)]
        heart.network.state = Known(network(), CAME)
        heart.store.adopt(
            Intent({"wan": WAN}, {each.name: each for each in connections}), dict.fromkeys(self.NAMES, VERSION)
        )
        heart.store.recorded(Record(CharonIdentity(1, 1), {each.name: entry(each) for each in connections}))

    def arrives(self) -> None:
        """Let the VIP come, or say so once more."""
        self.heart.network.state = Known(BOTH_HERE, CAME)
        self.heart.store.network_changed(NetworkChange(everything=True))

    async def until_looked_at(self, name: str) -> None:
        """Wait for the turn that a pass leaves to others behind *name*."""
        for _ in range(1000):
            if name in self.looked:
                return
            await asyncio.sleep(0)
        raise AssertionError(self.looked)


async def test_an_address_that_comes_in_mid_pass_is_used_by_rank() -> None:
    """What is left of a pass that began before sees the address too, and must not go before the most urgent ones.

    Broken by: ``_pass`` not taking in what is due when the wire is.
    """
    async with beating() as heart:
        ranks = Ranks(heart)
        await asyncio.sleep(0.1)
        ranks.looked.clear()
        heart.store.due(ranks.NAMES[3:])
        await ranks.until_looked_at("rank-3")
        ranks.arrives()
        await asyncio.sleep(0.1)
        assert heart.charon.names_of("load") == list(ranks.NAMES)


async def test_a_flood_of_events_does_not_keep_the_lowest_waiting() -> None:
    """Broken by: ``_pass`` beginning anew whenever the wire is due."""
    began, spent = asyncio.get_running_loop().time(), count()

    def slow() -> float:
        """Each look at the clock finds a whole turn spent."""
        return began + next(spent) * TURN_S

    heart = Heart(WAN, clock=slow)
    ranks = Ranks(heart)
    for _ in range(30):
        ranks.arrives()
        await asyncio.sleep(0)
    looked = list(ranks.looked)
    await heart.close()
    assert "rank-5" in looked
