"""The loop looks when time alone changes something, cuts the wire first, and tells the neighbours who has the VIPs."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import chain, count, pairwise, repeat
from pathlib import Path
from typing import Final

import pytest

from swanherd.core.evidence import VOUCH_INTERVALS, Heard, VrrpFacts
from swanherd.core.facts import CharonConnection, CharonIdentity, Known, NetworkChange, Opening, Pair, Wire
from swanherd.core.facts import Link as Device
from swanherd.core.intent import ChainName, EvidenceSource, Intent, Interface, IPAddress, VrrpDeclaration
from swanherd.core.links import Link
from swanherd.core.record import Record
from swanherd.report.metrics import Measured
from swanherd.runtime.kernellane import KernelLane
from swanherd.runtime.ledger import Ledger
from swanherd.runtime.linklane import LinkLane
from swanherd.runtime.loop import ALIVE_S, FULL_PASS_S, TURN_S, Loop
from swanherd.runtime.neighbours import ANNOUNCE_AGAIN_S, Neighbours
from swanherd.runtime.openinglane import OpeningLane
from swanherd.runtime.sources import Sources
from swanherd.runtime.stall import StallWatch
from swanherd.runtime.store import Store
from swanherd.runtime.surroundings import Surroundings
from swanherd.runtime.teller import Teller
from swanherd.runtime.window import Window
from swanherd.runtime.wirelane import WireLane
from swanherd.world.recordfile import RecordFile
from tests.unit.core.charon import expected
from tests.unit.core.settings import ALPHA, LTE, VIP_LTE, VIP_WAN, WAN
from tests.unit.core.views import VERSION, entry, network, sa
from tests.unit.runtime.model import ModelCharon, ModelFirewall, ModelNetwork

pytestmark = pytest.mark.looptime

CAME: Final = 1.0
"""When the VIPs came, as ``views.network`` has it."""
INTERVAL_S: Final = 1.0
DECLARED: Final = VrrpDeclaration(vrid=51, evidence=frozenset({EvidenceSource.ADVERTS}), advert_interval_s=INTERVAL_S)
BOTH_HERE: Final = network((str(VIP_WAN), "eth0"), (str(VIP_LTE), "eth1"))


@dataclass(slots=True)
class ModelTable(ModelFirewall):
    """The table, and what is done to it."""

    store: Store | None = None
    cut_at: dict[IPAddress, float] = field(default_factory=dict)

    async def apply(self, wire: Wire, /) -> None:
        """It is so."""
        self._set(wire)

    def fence(self, *, addresses: Iterable[IPAddress] = (), pairs: Iterable[Pair] = ()) -> None:
        """It is cut."""
        now = asyncio.get_running_loop().time()
        self.cut_at |= dict.fromkeys(addresses, now)
        wire = self.state.value if isinstance(self.state, Known) and self.state.value is not None else Wire()
        self._set(replace(wire, fenced=wire.fenced | set(addresses), fenced_pairs=wire.fenced_pairs | set(pairs)))

    def stopped(self) -> dict[str, int]:
        """Nothing was."""
        return {}

    def _set(self, wire: Wire) -> None:
        self.state = Known(wire, asyncio.get_running_loop().time())
        if self.store is not None:
            self.store.firewall_changed()


@dataclass(slots=True)
class ModelVrrp:
    """Evidence that a test sets."""

    known: dict[str, VrrpFacts] = field(default_factory=dict)
    failures: tuple[str, ...] = ()

    @property
    def interfaces(self) -> tuple[str, ...]:
        """Those that anything was set for."""
        return tuple(self.known)

    def facts(self, interface: str, /) -> VrrpFacts:
        """What was set."""
        return self.known.get(interface, VrrpFacts())


class ModelOpenings:
    """Nobody has chains for us."""

    def close(self) -> None:
        """Nothing to close."""

    def apply(self, _chain: ChainName, _wanted: Sequence[Opening], /) -> str:
        """There is no chain."""
        return "no such chain"

    def everywhere(self) -> frozenset[ChainName]:
        """Nowhere."""
        return frozenset()


class ModelIpsec:
    """A kernel without IPsec."""

    def sweep(self, _pairs: Collection[Pair], _if_ids: Collection[int], /) -> int:
        """Nothing is there."""
        return 0


class ModelDevices:
    """A kernel that makes every device."""

    def apply(self, _wanted: Mapping[str, Link], /) -> dict[str, str]:
        """Nothing is wrong."""
        return {}


class Heart:
    """A loop that runs in a model of the world, in which ALPHA is up from the WAN's VIP."""

    def __init__(self, *interfaces: Interface, clock: Callable[[], float] | None = None) -> None:
        clock = clock or asyncio.get_running_loop().time
        self.network = ModelNetwork(Known(BOTH_HERE, CAME))
        self.charon = ModelCharon()
        self.table = ModelTable(state=Known(Wire(), 0.0))
        self.vrrp = ModelVrrp()
        self.announced: list[tuple[float, IPAddress]] = []
        self.dropped: list[tuple[float, frozenset[str]]] = []
        sources = Sources(network=self.network, charon=self.charon, firewall=self.table, vrrp=self.vrrp)
        stalls = StallWatch(now=clock(), on_stall=lambda _: None)
        self.store = self.table.store = Store(sources, stalls)
        wire_lane = WireLane(self.table, fenced=lambda _: None, clock=clock)
        opening_lane = OpeningLane(ModelOpenings(), changed=lambda: None)
        link_lane = LinkLane(ModelDevices(), changed=lambda: None)
        nowhere = Path("/nowhere")
        self.loop = Loop(
            store=self.store,
            around=Surroundings(
                charon=self.charon,
                window=Window(),
                secret_of=lambda _: b"0123",
                changed=lambda name: self.store.due([name]),
                bug=self._bug,
                clock=clock,
            ),
            ledger=Ledger(RecordFile(runtime_dir=nowhere, state_dir=nowhere), self.store),
            wire_lane=wire_lane,
            opening_lane=opening_lane,
            link_lane=link_lane,
            kernel_lane=KernelLane(ModelIpsec(), changed=lambda: None, clock=clock),
            neighbours=Neighbours(announce=self._announce, drop_waiting=self._drop_waiting),
            stalls=stalls,
            teller=Teller(
                sources=sources,
                wire_lane=wire_lane,
                opening_lane=opening_lane,
                link_lane=link_lane,
                stalls=stalls,
                measured=Measured(),
                clock=clock,
                on_pass=lambda _: None,
            ),
        )
        self.charon.here["alpha"] = CharonConnection(
            config=expected(ALPHA, VIP_WAN), secret=VERSION, sas=(sa("alpha-1", "alpha-2", since=CAME),)
        )
        self.store.adopt(Intent({each.name: each for each in interfaces}, {"alpha": ALPHA}), {"alpha": VERSION})
        # As the ledger would have written it, had it a disk.
        self.store.recorded(Record(CharonIdentity(1, 1), {"alpha": entry()}))
        self._tasks = [asyncio.create_task(self.loop.run()), asyncio.create_task(wire_lane.run())]

    def _announce(self, address: IPAddress, _device: str) -> bool:
        self.announced.append((asyncio.get_running_loop().time(), address))
        return True

    def _drop_waiting(self, devices: Collection[str]) -> str:
        self.dropped.append((asyncio.get_running_loop().time(), frozenset(devices)))
        return ""

    @staticmethod
    def _bug(where: str, error: BaseException) -> None:
        raise AssertionError(where) from error

    def heard(self, *, told: bool = True, **times: float) -> None:
        """The listener hears this on both WANs, and tells so or not."""
        facts = VrrpFacts(listener=Known(Heard(**times), 0.0))  # type: ignore[arg-type]  # each names a time
        self.vrrp.known = {"wan": facts, "lte": facts}
        if told:
            self.store.vrrp_changed(frozenset(self.vrrp.known))

    async def close(self) -> None:
        """End it."""
        assert not any(task.done() for task in self._tasks), self._tasks
        await self.loop.close()
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@asynccontextmanager
async def beating() -> AsyncIterator[Heart]:
    """Yield one in which both VIPs' adverts are evidence; no fixture, since those run by another clock."""
    await asyncio.sleep(10 * INTERVAL_S)
    heart = Heart(replace(WAN, vrrp=DECLARED), replace(LTE, vrrp=DECLARED))
    yield heart
    await heart.close()


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
        await asyncio.sleep(FULL_PASS_S)
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
