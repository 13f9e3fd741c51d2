"""A listener under test, fed with the network by the real netlink source, as the agent feeds it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address

from swanherd.core.evidence import Heard
from swanherd.core.facts import Known, Network, NetworkChange
from swanherd.world.netlink import NetworkSource
from swanherd.world.vrrp import VrrpListener, Watched
from swanherd.world.vrrp.listener import HEARD
from tests.component.vrrp.gateways import ADVERT_S, VRID, Vrrp

DEADLINE_S = 8.0


def wrong(counters: Counter[str]) -> Counter[str]:
    """Of what a listener counted, that which was wrong with a packet."""
    return +Counter({reason: count for reason, count in counters.items() if reason != HEARD})


class Listening:
    """A running listener, and all that it told."""

    def __init__(self) -> None:
        self.told: list[tuple[float, frozenset[str], Heard]] = []
        """When, of which interfaces, and what was heard of ``wan`` then."""
        self.listener = VrrpListener(on_change=self._note)
        self.network = NetworkSource(on_change=self._network_changed)

    def _network_changed(self, _change: NetworkChange) -> None:
        state = self.network.state
        if isinstance(state, Known):
            self.listener.network_changed(state.value)

    def _note(self, names: frozenset[str]) -> None:
        self.told.append((asyncio.get_running_loop().time(), names, self.last()))

    def last(self, name: str = "wan") -> Heard:
        """What was heard, also where it is not known to be all."""
        state = self.listener.heard(name)
        if isinstance(state, Known):
            return state.value
        return getattr(state, "last", None) or Heard()

    @property
    def heard(self) -> Heard:
        """What was heard of ``wan``, which must be known."""
        state = self.listener.heard("wan")
        assert isinstance(state, Known), state
        return state.value

    @property
    def known_network(self) -> Network:
        """The network, which must be known."""
        state = self.network.state
        assert isinstance(state, Known), state
        return state.value

    async def until(self, condition: Callable[[], object], *, deadline_s: float = DEADLINE_S) -> None:
        """Wait until *condition* holds."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + deadline_s
        while not condition():
            assert loop.time() < deadline, f"never came true; {self.last()}, {dict(self.listener.counters)}"
            await asyncio.sleep(0.002)


def watched(vrrp: Vrrp, *peers: str) -> Watched:
    """What to listen to for an instance of the pair."""
    return Watched(
        device="wan",
        vrid=VRID,
        family=4 if vrrp.family == 4 else 6,
        vips=(ip_address(vrrp.vip),),
        unicast_peers=tuple(map(ip_address, peers)),
        advert_interval_s=ADVERT_S if vrrp.advert_s < 1 else 1.0,
    )


@asynccontextmanager
async def listening(interfaces: dict[str, Watched]) -> AsyncIterator[Listening]:
    """A listener that runs and knows the network."""
    it = Listening()
    it.listener.watch(interfaces)
    running = [asyncio.create_task(it.network.run()), asyncio.create_task(it.listener.run())]
    try:
        await it.until(lambda: isinstance(it.network.state, Known) or any(task.done() for task in running))
        yield it
        assert not any(task.done() for task in running), running
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
