"""The agent: everything put together. With its neighbours in this package the one place that knows everybody."""

import asyncio
import contextlib
import dataclasses
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from swanherd import __version__
from swanherd.app.reloading import Reloader
from swanherd.core.attempts import Backoff
from swanherd.core.evidence import LAG_S
from swanherd.core.facts import Known, NetworkChange
from swanherd.core.intent import IPAddress
from swanherd.report import explained, logs
from swanherd.report.control import ControlServer
from swanherd.report.http import ListenError, WatchServer
from swanherd.report.metrics import Measured
from swanherd.report.published import ConfigReport, Published
from swanherd.runtime.doubts import patience_s
from swanherd.runtime.kernellane import KernelLane
from swanherd.runtime.ledger import Ledger
from swanherd.runtime.linklane import LinkLane
from swanherd.runtime.loop import Loop
from swanherd.runtime.neighbours import Neighbours
from swanherd.runtime.openinglane import OpeningLane
from swanherd.runtime.sources import Sources
from swanherd.runtime.stall import StallWatch, suspended_s
from swanherd.runtime.store import Store
from swanherd.runtime.surroundings import Surroundings
from swanherd.runtime.tasks import run_until
from swanherd.runtime.teller import Teller
from swanherd.runtime.turns import TimedLoop
from swanherd.runtime.vrrp import Evidence
from swanherd.runtime.window import Window
from swanherd.runtime.wirelane import WireLane
from swanherd.settings import Settings
from swanherd.world.announce import Announcer
from swanherd.world.charon import Charon
from swanherd.world.firewall import Firewall, OpeningRules
from swanherd.world.keepalived import Keepalived
from swanherd.world.links import Links
from swanherd.world.neighbours import drop_waiting
from swanherd.world.netlink import NetworkSource, PathSource
from swanherd.world.prober import Prober
from swanherd.world.recordfile import RecordFile
from swanherd.world.resolver import Resolver
from swanherd.world.systemd import Systemd
from swanherd.world.vrrp import VrrpListener
from swanherd.world.xfrm import KernelIpsec

RELEASE_S: Final = 10.0
"""How long a stop with ``on_stop = "release"`` waits for the read-back; below systemd's TimeoutStopSec."""


class Agent:
    """One running agent."""

    def __init__(self, path: Path, settings: Settings, *, stale: str) -> None:
        loop = asyncio.get_running_loop()
        options = settings.options
        self._path = path
        self._settings = settings
        self._stop = asyncio.Event()
        self._measured = Measured()
        if isinstance(loop, TimedLoop):
            loop.turns.on_turn = self._measured.turn
        self._stalls = StallWatch(
            now=loop.time(), on_stall=self._stalled, on_beat=self._measured.loop_latency, suspended_s=suspended_s
        )
        self._systemd = Systemd()
        self._announcer = Announcer()
        self._told_ready = False
        self._told_status = ""
        self._network = NetworkSource(on_change=self._network_changed)
        self._paths = PathSource(on_change=self._paths_changed)
        self._charon = Charon(socket_path=options.vici_socket, on_change=self._charon_changed)
        self._firewall = Firewall(on_change=self._firewall_changed, on_generation=self._ruleset_changed)
        self._listener = VrrpListener(on_change=self._vrrp_changed)
        self._keepalived = Keepalived(
            on_change=self._vrrp_changed, bus_address=options.dbus_address, hint_socket=options.hint_path
        )
        self._evidence = Evidence(self._listener, self._keepalived)
        self._resolver = Resolver(state_dir=Path(options.state_dir), on_change=self._names_changed)
        self._prober = Prober(on_change=lambda name: self._store.due([name]))
        self._kernel_lane = KernelLane(KernelIpsec(), changed=self._kernel_changed, clock=loop.time)
        sources = Sources(
            network=self._network,
            charon=self._charon,
            firewall=self._firewall,
            vrrp=self._evidence,
            names=self._resolver,
            probes=self._prober,
            kernel=self._kernel_lane,
            paths=self._paths,
        )
        self._store: Store = Store(sources, self._stalls)
        self._link_lane = LinkLane(Links(), changed=self._store.wake)
        self._wire_lane = WireLane(
            self._firewall, fenced=lambda seconds: self._measured.fence(seconds, "wire"), clock=loop.time
        )
        self._opening_lane = OpeningLane(OpeningRules(), changed=self._store.wake)
        self._teller = Teller(
            sources=sources,
            wire_lane=self._wire_lane,
            opening_lane=self._opening_lane,
            link_lane=self._link_lane,
            stalls=self._stalls,
            measured=self._measured,
            clock=loop.time,
            on_pass=self._passed,
            counts=self._counts,
        )
        self._window = Window()
        self._ledger = Ledger(
            RecordFile(runtime_dir=Path(options.runtime_dir), state_dir=Path(options.state_dir)), self._store
        )
        self._loop = Loop(
            store=self._store,
            around=Surroundings(
                charon=self._charon,
                window=self._window,
                secret_of=self._secret_of,
                changed=lambda name: self._store.due([name], hurry=False),
                bug=self._bug,
                clock=loop.time,
            ),
            ledger=self._ledger,
            link_lane=self._link_lane,
            wire_lane=self._wire_lane,
            opening_lane=self._opening_lane,
            kernel_lane=self._kernel_lane,
            neighbours=Neighbours(announce=self._announcer.announce, drop_waiting=drop_waiting),
            stalls=self._stalls,
            teller=self._teller,
            longest_wait_s=self._systemd.watchdog_s / 3 if self._systemd.watchdog_s else None,
        )
        self._reloader = Reloader(path, self)
        self.adopt(settings, stale=stale)

    async def run(self) -> None:
        """Serve until told to stop; raises what made an eternal task fail."""
        options = self._settings.options
        for number, act in (
            (signal.SIGTERM, self.stop),
            (signal.SIGINT, self.stop),
            (signal.SIGHUP, self._reloader.by_signal),
        ):
            asyncio.get_running_loop().add_signal_handler(number, act)
        async with contextlib.AsyncExitStack() as stack:
            control = ControlServer(
                options.control_path,
                group=options.control_group,
                latest=lambda: self._teller.latest,
                explain=self._explain,
                commands={"reload": self._reloader.by_command, "look": self._look_by_command},
            )
            await control.start()
            stack.push_async_callback(control.stop)
            await self._serve_metrics(stack)
            stack.callback(self._announcer.close)
            stack.callback(self._prober.close)
            if self._announcer.trouble:
                logs.get("agent").warning("VIPs are not announced", reason=self._announcer.trouble)
            if self._listener.trouble:
                logs.get("agent").warning("adverts are not heard", reason=self._listener.trouble)
            logs.get("agent").info("started", version=__version__, config=str(self._path))
            stack.push_async_callback(self._charon.close)
            stack.push_async_callback(self._loop.close)
            await run_until(
                self._stop,
                {
                    "netlink": self._network.run(),
                    "paths": self._paths.run(),
                    "charon": self._charon.run(),
                    "firewall": self._firewall.run(),
                    "adverts": self._listener.run(),
                    "names": self._resolver.run(),
                    "keepalived": self._keepalived.run(),
                    "wire": self._wire_lane.run(),
                    "links": self._link_lane.run(),
                    "openings": self._opening_lane.run(),
                    "record": self._ledger.run(),
                    "stalls": self._stalls.run(),
                    "loop": self._loop.run(),
                },
            )
        logs.get("agent").info("stopped")

    def stop(self) -> None:
        """Begin to stop; a second call stops without releasing anything."""
        if self._teller.stopping:
            self._stop.set()
            return
        self._teller.stopping = True
        self._systemd.stopping()
        if self._settings.options.on_stop == "leave":
            self._stop.set()
            return
        self._store.stopping = True
        self._store.all_due()
        asyncio.get_running_loop().call_later(RELEASE_S, self._give_up)

    def _give_up(self) -> None:
        logs.get("agent").error("not everything was released in time; the guard holds", waited_s=RELEASE_S)
        self._stop.set()

    async def _serve_metrics(self, stack: contextlib.AsyncExitStack) -> None:
        listen = self._settings.options.metrics
        if listen is None:
            return
        server = WatchServer(latest=lambda: self._teller.latest, measured=self._measured)
        try:
            await server.start(listen.host, listen.port)
        except ListenError as error:
            # Tunnels matter more than their metrics.
            logs.get("agent").error("metrics are not served", error=str(error))
            return
        stack.push_async_callback(server.stop)

    def _bug(self, where: str, error: BaseException) -> None:
        self._measured.bug(where)
        logs.get(where).error("bug", bug=True, exc_info=error)

    def _stalled(self, for_s: float) -> None:
        logs.get("agent").warning("stood still: frozen, suspended, or without a processor", for_s=round(for_s, 3))
        self._store.all_due()

    def _network_changed(self, change: NetworkChange) -> None:
        # First of all: what is decided about this change asks for the routes of now.
        self._paths.look()
        self._store.network_changed(change)
        self._link_lane.look()
        if isinstance(self._network.state, Known):
            self._evidence.network_changed(self._network.state.value)
        if not change.addresses.isdisjoint(self._settings.intent.vips):
            # keepalived's word lags the address; what was read before that contradicts nothing.
            self._keepalived.look()
            asyncio.get_running_loop().call_later(LAG_S, self._keepalived.look)

    def _paths_changed(self, endpoints: frozenset[IPAddress]) -> None:
        self._store.paths_changed(endpoints)

    def _vrrp_changed(self, interfaces: frozenset[str]) -> None:
        self._store.vrrp_changed(interfaces)

    def _firewall_changed(self) -> None:
        self._store.firewall_changed()

    def _names_changed(self, hostnames: frozenset[str]) -> None:
        for name in sorted(hostnames):
            told = {str(family): self._resolver.answer(name, family) for family in (4, 6)}
            logs.get("names").info(
                "resolved",
                name=name,
                addresses={family: sorted(map(str, each.addresses)) for family, each in told.items() if each},
                trouble={family: each.trouble for family, each in told.items() if each and each.trouble},
            )
        self._store.names_changed(hostnames)

    def _ruleset_changed(self) -> None:
        self._opening_lane.heard()

    def _kernel_changed(self) -> None:
        # Who waited for it is fenced now.
        self._store.all_due()

    def _charon_changed(self, names: frozenset[str] | None) -> None:
        self._loop.stir(names)
        self._store.charon_changed(names)

    def _counts(self) -> Mapping[str, Mapping[str, int]]:
        return {
            "netlink": dataclasses.asdict(self._network.counters),
            "keepalived": dataclasses.asdict(self._keepalived.counters),
            "adverts": dict(self._listener.counters),
            "paths": {"questions": self._paths.questions},
        }

    def _secret_of(self, name: str) -> bytes | None:
        secret = self._settings.secrets.get(name)
        return secret.value if secret is not None else None

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._settings

    def refuse(self, problems: str) -> None:
        """New settings are broken: those in force stay, and people are told."""
        self._teller.config = ConfigReport(path=str(self._path), stale=True, why=problems)
        self._store.wake()

    def reloading(self, *, done: bool) -> None:
        """Tell the service manager that a reload begins, or is done with."""
        if done:
            self._systemd.ready()
        else:
            self._systemd.reloading()

    def adopt(self, settings: Settings, *, stale: str = "") -> None:
        """Take *settings* into force; *stale*: why they are not those in the files."""
        self._settings = settings
        options = settings.options
        fifo = Path(options.notify_fifo) if options.notify_fifo is not None else None
        self._evidence.adopt(settings.intent, fifo=fifo, pid_file=Path(options.keepalived_pid_file))
        self._window.per_endpoint, self._window.overall = options.handshakes_per_endpoint, options.handshakes
        self._loop.backoff = Backoff(min_s=options.retry_min_s, max_s=options.retry_max_s)
        self._teller.config = ConfigReport(path=str(self._path), stale=bool(stale), why=stale)
        self._stalls.expect(patience_s(settings.intent.interfaces.values()))
        self._store.adopt(settings.intent, {name: secret.version for name, secret in settings.secrets.items()})

    def _explain(self, name: str) -> Mapping[str, Any] | None:
        told = self._loop.explain(name)
        return None if told is None else explained.document(told)

    async def _look_by_command(self) -> Mapping[str, Any]:
        """A notify script says that something happened: it is only a hint."""
        self._keepalived.look()
        self._store.all_due()
        return {}

    def _passed(self, published: Published) -> None:
        status = f"{published.active} of {len(published.connections)} connections active here"
        if published.ready and not self._told_ready:
            self._told_ready = self._systemd.ready(status)
        elif status != self._told_status:
            self._systemd.status(status)
        self._told_status = status
        self._systemd.watchdog()
        if self._store.stopping and self._loop.released:
            self._stop.set()
