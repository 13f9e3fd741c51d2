"""One run of one contestant: the fault is made, the observer judges, and the figures come out as plain numbers."""

import errno
import math
import os
import socket
import time
from contextlib import suppress
from functools import partial
from typing import Any, Final

from tests.bench.cases import OLD_EMPTY_S, Case
from tests.bench.contestants import Contestant, Limit, built
from tests.bench.process import cpu_s, rss_mb
from tests.bench.processors import Processors
from tests.bench.sas import leftovers, up_names, up_times
from tests.bench.scraped import Latencies, lateness, read_latencies
from tests.bench.stamps import Stamps
from tests.lab.asking import vici_session
from tests.lab.charon import VICI
from tests.lab.demo.faults import FAULTS
from tests.lab.hosts import Host
from tests.lab.observe import Observer
from tests.lab.observe.packets import IKE_SA_INIT, Ike, Packet
from tests.lab.observe.sas import IkeSa, read_sas
from tests.lab.observe.streams import receipts
from tests.lab.observe.timeline import Timeline
from tests.lab.pair import Gateway, Pair
from tests.lab.runner import Agent
from tests.lab.told import Told
from tests.lab.topology import port
from tests.lab.waiting import PATIENCE, NotInTimeError, wait_until

Figures = dict[str, Any]

POLL_S: Final = 0.02
"""How often a charon is asked how many IKE_SAs it has (0.1 ms of its time): what "empty" is known to."""
LIST_S: Final = 0.5
"""Between two listings of all SAs: charon takes 0.1 ms for each, and what is measured waits meanwhile."""
IDLE_S: Final = 2.0
RATE: Final = 100.0 if PATIENCE == 1 else 20.0
"""Numbered packets a second; an emulated machine has better things to do than a hundred."""
_FAULTS: Final = {fault.name: fault for fault in FAULTS}


def run(case: Case, contestant: Contestant) -> Figures:
    """All figures of one run; None where something did not happen while it was watched."""
    load, began = os.getloadavg()[0], time.monotonic()
    with (
        # A hundred handshakes leave none idle for long, and one that never is takes no work from the other.
        Processors(keep_awake=case.connections == 1) as processors,
        built(contestant, site=case.site, advert_s=case.advert_s, limits=case.limits) as pair,
    ):
        settled = _settled(pair.a, case)
        figures = _flips(pair, case, processors) if case.flips else _fault(pair, case, processors)
        kernel_esp = pair.lab.has_xfrm
    took_s = time.monotonic() - began
    return {"load_average": load, "took_s": took_s, "kernel_esp": kernel_esp, "all_up_before": settled, **figures}


def _settled(gateway: Gateway, case: Case) -> bool:
    tunnels = _Tunnels(gateway.host, case.connections)
    with suppress(NotInTimeError):
        wait_until(tunnels.all_up, "all up", within_s=case.watch_s, every_s=0.1)
        return True
    return False


def _fault(pair: Pair, case: Case, processors: Processors) -> Figures:
    agent = _Agent(pair.b)
    idle = agent.idle()
    fault = _FAULTS[case.fault]
    emptied: float | None = None
    with Stamps(pair.lab) as stamps, Observer(pair.lab, rate=RATE, peers=case.site.endpoints()) as seen:
        seen.wait_through()
        agent.begin()
        tunnels = _Tunnels(pair.b.host, case.connections)
        start = seen.mark("fault")
        fault.make(pair, seen)
        deadline = time.monotonic() + case.watch_s * PATIENCE
        complete = False
        while not complete and time.monotonic() < deadline:
            time.sleep(POLL_S)
            emptied = emptied or _empty_at(pair.a)
            complete = tunnels.all_up()
        used = agent.end()
        with suppress(NotInTimeError):
            seen.wait_through(by="gw-b", after="fault", within_s=2.0)
        deadline = time.monotonic() + OLD_EMPTY_S[case.connections] * PATIENCE
        while pair.a.host.up and emptied is None and time.monotonic() < deadline:
            time.sleep(POLL_S)
            emptied = _empty_at(pair.a)
        timeline = seen.timeline(since="fault")
        packets = seen.packets(since="fault")
        if isinstance(pair.b.runner, Limit):
            pair.b.runner.check()
        ours, at_peer = (read_sas(host.name, host.path(VICI)).sas for host in (pair.b.host, pair.peer.host))
        processors.end()
    added = stamps.added(timeline.new or "gw-b", case.site.source, after=start)
    ups = _ups(ours, packets, added=added, connections=case.connections)
    return {
        **_times(timeline, start=start, added=added),
        **ups,
        "stood_still_ms": _stood_still(processors, added, ups["vip_to_all_up_ms"]),
        "old_empty_ms": None if emptied is None else (emptied - start) * 1000,
        "left_at_peer": None if at_peer is None or ours is None else leftovers(at_peer, ours),
        "agent": {**idle, **used} if agent.there else None,
    }


def _stood_still(processors: Processors, added: float | None, took_ms: float | None) -> float | None:
    if added is None or took_ms is None:
        return None
    return processors.stood_still(added, added + took_ms / 1000) * 1000


def _times(seen: Timeline, *, start: float, added: float | None) -> Figures:
    def since_vip(ms: float | None) -> float | None:
        return None if ms is None or added is None else ms - (added - start) * 1000

    return {
        "vip_ms": None if added is None else (added - start) * 1000,
        "vip_to_init_ms": since_vip(seen.first_init_ms),
        "vip_to_through_ms": since_vip(seen.first_through_ms),
        "lost": seen.lost,
        "outage_ms": seen.outage_ms,
        "came_back": seen.first_through_ms is not None,
        "both_hold_ms": seen.both_hold_ms,
        "double_running_ms": seen.double_running_ms,
        "retransmits": seen.retransmits,
        "old_silent_ms": seen.last_of_old_ms,
    }


def _ups(ours: tuple[IkeSa, ...] | None, packets: list[Packet], *, added: float | None, connections: int) -> Figures:
    """How many tunnels are up at the end, and when the first and the last of all came up."""
    if ours is None:
        return {"up": None, "vip_to_first_up_ms": None, "vip_to_all_up_ms": None}
    ups = up_times(ours, _answered(packets, port("gw-b", "wan1")))
    times = [] if added is None else [(at - added) * 1000 for at in ups]
    return {
        "up": len(up_names(ours)),
        "vip_to_first_up_ms": times[0] if times else None,
        "vip_to_all_up_ms": times[-1] if len(times) >= connections else None,
    }


def _answered(packets: list[Packet], wan: str) -> dict[str, float]:
    """When each new IKE_SA of a gateway got its answer to IKE_AUTH, by its initiator's SPI."""
    begun: set[str] = set()
    answered: dict[str, float] = {}
    for packet in packets:
        content = packet.content
        if packet.port != wan or not isinstance(content, Ike):
            continue
        if packet.leaving and content.exchange == IKE_SA_INIT and not content.response:
            begun.add(content.initiator_spi)
        elif not packet.leaving and content.begins_tunnel and content.response and content.initiator_spi in begun:
            answered.setdefault(content.initiator_spi, packet.at)
    return answered


def _flips(pair: Pair, case: Case, processors: Processors) -> Figures:
    """Changes of master in a row: how long from the address to the first IKE packet, and to the first one through."""
    agents = [_Agent(gateway) for gateway in pair.gateways]
    before = [agent.rss_mb() for agent in agents]
    marks: list[tuple[float, Gateway]] = []
    with Stamps(pair.lab) as stamps, Observer(pair.lab, rate=RATE) as seen:
        seen.wait_through()
        for number in range(case.flips):
            new = pair.b if number % 2 == 0 else pair.a
            at = seen.mark("flip")
            (pair.a.keepalived.demote if new is pair.b else pair.a.keepalived.promote)()
            marks.append((at, new))
            seen.wait_through(by=new.name, after=at)
            pair.wait_for_master(new)
            wait_until(partial(_empty_at, pair.other(new)), "the old one is empty")
        packets = seen.packets()
        processors.end()
    shares, throughs, still_to_init, still_to_through = [], [], [], []
    got = receipts(packets, ports=seen.evidence().ports, stream=1)
    for at, new in marks:
        added = stamps.added(new.name, case.site.source, after=at)
        init = _first_init(packets, new.name, at)
        through = next(
            (packet.at for packet in got.values() if added and packet.at >= added and _is_after(packet, init)), None
        )
        if added is not None and init is not None:
            shares.append((init - added) * 1000)
            still_to_init.append(processors.stood_still(added, init) * 1000)
        if added is not None and through is not None:
            throughs.append((through - added) * 1000)
            still_to_through.append(processors.stood_still(added, through) * 1000)
    return {
        "vip_to_init_each_ms": shares,
        "stood_still_to_init_each_ms": still_to_init,
        "vip_to_through_each_ms": throughs,
        "stood_still_to_through_each_ms": still_to_through,
        "agent": {"rss_before_mb": before, "rss_after_mb": [agent.rss_mb() for agent in agents]}
        if agents[0].there
        else None,
    }


def _is_after(packet: Packet, init: float | None) -> bool:
    return init is not None and packet.at > init


def _first_init(packets: list[Packet], gateway: str, after: float) -> float | None:
    wan = port(gateway, "wan1")
    return next(
        (
            packet.at
            for packet in packets
            if packet.at >= after
            and packet.port == wan
            and packet.leaving
            and isinstance(packet.content, Ike)
            and packet.content.exchange == IKE_SA_INIT
            and not packet.content.response
        ),
        None,
    )


# --- charon, asked cheaply ------------------------------------------------------------------------------------------


def _stats(host: Host) -> tuple[int, int] | None:
    """How many IKE_SAs, and how many of them half-open; None where nobody answers."""
    if not host.up:
        return None
    try:
        with vici_session(host.path(VICI)) as session:
            said = session.stats()["ikesas"]
            return int(said["total"]), int(said["half-open"])
    except (OSError, KeyError):
        return None


class _Tunnels:
    """Whether all tunnels of a gateway are up. Charon's count comes first; it lists only where that may be so."""

    def __init__(self, host: Host, connections: int) -> None:
        self._host = host
        self._connections = connections
        self._not_before = 0.0

    def all_up(self) -> bool:
        """Look; at most once in ``LIST_S`` at the SAs."""
        stats = _stats(self._host)
        if stats is None or stats[0] < self._connections or stats[1] or time.monotonic() < self._not_before:
            return False
        sas = read_sas(self._host.name, self._host.path(VICI)).sas
        self._not_before = time.monotonic() + LIST_S
        return sas is not None and len(up_names(sas)) >= self._connections


def _empty_at(gateway: Gateway) -> float | None:
    """Now, if the gateway holds no SA: its charon has none, or (a script has killed it) there is none, nor any ESP."""
    if not gateway.host.up:
        return None
    held = _stats(gateway.host)
    if held is not None:
        return None if held[0] else time.monotonic()
    return time.monotonic() if not gateway.lab.has_xfrm and _no_charon(gateway.host) else None


def _no_charon(host: Host) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(host.path(VICI))) == errno.ECONNREFUSED


# --- the agent, from outside ----------------------------------------------------------------------------------------


class _Agent:
    """What the agent of a gateway uses; nothing where none runs."""

    def __init__(self, gateway: Gateway) -> None:
        self.there = isinstance(gateway.runner, Agent)
        self._gateway = gateway
        self._cpu_s = 0.0
        self._began = 0.0
        self._latencies: Latencies | None = None

    def idle(self) -> Figures:
        """What a standby with nothing to do uses, and how late its loop is then."""
        if not self.there:
            return {}
        self._latencies = self._scrape()
        before = self._cpu()
        time.sleep(IDLE_S)
        used = self._cpu() - before
        late = {f"idle_{name}": value for name, value in self._late().items()}
        return {"idle_cpu_percent": used / IDLE_S * 100, "idle_rss_mb": self.rss_mb(), **late}

    def begin(self) -> None:
        """The takeover begins."""
        if self.there:
            self._latencies = self._scrape()
            self._cpu_s, self._began = self._cpu(), time.monotonic()

    def end(self) -> Figures:
        """All is up."""
        if not self.there:
            return {}
        used, took = self._cpu() - self._cpu_s, time.monotonic() - self._began
        return {
            "takeover_cpu_s": used,
            "takeover_wall_s": took,
            "takeover_rss_mb": self.rss_mb(),
            **self._late(),
        }

    def _late(self) -> Figures:
        """How late its event loop woke since the last scrape but this one."""
        now = self._scrape()
        late = lateness(self._latencies, now) if self._latencies and now else None
        if late is None:
            return {}
        most_ms = late.most_ms if math.isfinite(late.most_ms) else None  # JSON has no infinity
        return {"loop_late_mean_ms": late.mean_ms, "loop_late_most_ms": most_ms}

    def _scrape(self) -> Latencies | None:
        """None where it did not answer in time."""
        with suppress(OSError):
            return read_latencies(Told(self._gateway.agent).metrics())
        return None

    def rss_mb(self) -> float | None:
        """Resident set."""
        return rss_mb(self._gateway.agent.pid) if self.there else None

    def _cpu(self) -> float:
        return cpu_s(self._gateway.agent.pid)
