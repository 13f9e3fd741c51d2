"""A loop that runs in a model of the world, and what it did there."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from swanherd.core.evidence import Heard, VrrpFacts
from swanherd.core.facts import CharonConnection, CharonIdentity, Known, Opening, Pair, Wire
from swanherd.core.intent import ChainName, EvidenceSource, Intent, Interface, IPAddress, VrrpDeclaration
from swanherd.core.links import Link
from swanherd.core.record import Record
from swanherd.report.metrics import Measured
from swanherd.runtime.kernellane import KernelLane
from swanherd.runtime.ledger import Ledger
from swanherd.runtime.linklane import LinkLane
from swanherd.runtime.loop import Loop
from swanherd.runtime.neighbours import Neighbours
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
