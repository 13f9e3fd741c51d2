"""The judge of the lab: it watches wires, kernels and traffic, and never asks swanherd anything.

    with Observer(lab) as seen:
        seen.wait_through()
        seen.mark("fault")
        lab.power_off(lab.gw_a)
        seen.wait_through(by="gw-b", after="fault")
        verdict = seen.timeline(since="fault")
    assert verdict.double_running_ms == 0

All times are CLOCK_MONOTONIC seconds, the clock of the agents' event loops; `wall` converts one for people.
"""

import socket
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address, ip_network
from types import TracebackType
from typing import Self

from tests.lab import topology
from tests.lab.lab import Lab
from tests.lab.namespaces import socket_in
from tests.lab.observe.capture import BUFFER_BYTES, CLOCK_STEP_S, PortCapture, WallClock
from tests.lab.observe.evidence import MAIN, Evidence
from tests.lab.observe.filters import judge_filter
from tests.lab.observe.holders import Hold
from tests.lab.observe.packets import NUMBERED_PORT, Content, Packet
from tests.lab.observe.recording import Recording
from tests.lab.observe.running import Between, Running
from tests.lab.observe.sas import KernelSa, SaReading, read_kernel_sas, read_sas
from tests.lab.observe.streams import Ports, carried_by, packet_sent, receipts
from tests.lab.observe.timeline import Timeline, draw_timeline
from tests.lab.observe.traffic import Stream, Traffic
from tests.lab.observe.watch import Watch
from tests.lab.waiting import wait_until

DEFAULT_RATE = 100.0
"""Numbered packets per second and stream: an outage is known to 10 ms."""
STREAMS = {1: (MAIN, 100), 2: ("gw-a", 101), 3: ("gw-b", 102)}
"""Stream number to its name and the client's address: by the virtual address, and by each gateway's own."""
VICI = "/run/charon.vici"
SETTLE_S = 0.15
"""How long after the last event a verdict waits, so that what was under way has arrived."""
LOOK_AGAIN_S = 0.02
"""Looking costs the judge's processor, which it shares with what it judges; times do not come from the looking."""
_WANS = ("wan1", "wan2")


class VoidObservationError(AssertionError):
    """The observation proves nothing: the judge missed something."""


class Observer:
    """Watches from `__enter__` to `__exit__`; verdicts can be asked for during that time and after it."""

    def __init__(
        self,
        lab: Lab,
        *,
        rate: float = DEFAULT_RATE,
        family: int = 4,
        traffic: bool = True,
        buffer_bytes: int = BUFFER_BYTES,
        peers: Iterable[str] = (),
    ) -> None:
        self._lab = lab
        self._peers = _PEERS.union(peers)
        """Addresses of the far end: its own, and those that the caller has given it."""
        self._rate = rate
        self._family = family
        self._with_traffic = traffic
        self._marks: dict[str, float] = {}
        self._clock = WallClock()
        self._traffic: Traffic | None = None
        self._ended: float | None = None
        inner = [ip_network(topology.subnet(net, version)) for net in ("lan", "far") for version in (4, 6)]
        self._inner = inner
        program = judge_filter(inner)
        self._captures = {
            port: PortCapture(port, self._switch_socket(), program, self._clock, buffer_bytes)
            for port in _observed_ports()
        }
        self._recording = Recording(self._captures)
        self._watch = Watch(list(self._captures.values()), list(lab.gateways), self._clock)

    def _switch_socket(self) -> socket.socket:
        return socket_in(self._lab.switch.netns, socket.AF_PACKET, socket.SOCK_RAW)

    # --- life -------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        try:
            for capture in self._captures.values():
                capture.open()
            self._watch.start()
            if self._with_traffic:
                self._traffic = self._start_traffic()
        except BaseException:
            self.close()
            raise
        self.mark("start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop sending, then watching. What was seen stays readable."""
        if self._ended is not None:
            return
        self._ended = time.monotonic()
        if self._traffic:
            self._traffic.stop()
        self._watch.stop()

    def _start_traffic(self) -> Traffic:
        family = socket.AF_INET if self._family == 4 else socket.AF_INET6
        streams = [
            Stream(number, name, self._bound(self._lab.client.netns, family, topology.place("lan", last, self._family)))
            for number, (name, last) in STREAMS.items()
        ]
        server = topology.address("server", "far", self._family)
        echo = self._bound(self._lab.server.netns, family, server)
        return Traffic(streams, echo, target=(server, NUMBERED_PORT), rate=self._rate)

    @staticmethod
    def _bound(netns: str, family: int, address: str) -> socket.socket:
        sock = socket_in(netns, family, socket.SOCK_DGRAM)
        sock.bind((address, NUMBERED_PORT))
        return sock

    # --- what was seen ----------------------------------------------------------------------------------------------

    def mark(self, name: str) -> float:
        """Name this moment, to ask for a timeline since then."""
        self._marks[name] = time.monotonic()
        return self._marks[name]

    def marked(self, name: str) -> float:
        """The time of a mark."""
        return self._marks[name]

    def wall(self, at: float) -> float:
        """Seconds since 1970 for a time of this observation."""
        return at + self._clock.offset_s

    def packets(
        self,
        *,
        port: str | None = None,
        leaving: bool | None = None,
        content: type[Content] | None = None,
        since: str | float | None = None,
    ) -> list[Packet]:
        """What the ports saw so far, in time order, narrowed as wanted."""
        return [
            packet
            for packet in self._recording.since(self._time(since) if since is not None else 0.0)
            if (port is None or packet.port == port)
            and (leaving is None or packet.leaving == leaving)
            and (content is None or isinstance(packet.content, content))
        ]

    def holds(self) -> list[Hold]:
        """Which gateway's kernel held which address from when to when."""
        return self._watch.holds()

    def holders(self, address: str) -> set[str]:
        """Which gateways hold an address now."""
        now = time.monotonic()
        return {hold.host for hold in self.holds() if hold.address == address and hold.covers(now)}

    def sas(self, *hosts: str) -> dict[str, SaReading]:
        """Ask the charons of some hosts (all three by default) at the same time what they run; never hangs."""
        names = hosts or (*topology.GATEWAYS, "peer")
        with ThreadPoolExecutor(len(names)) as pool:
            return dict(zip(names, pool.map(self._read_sas, names), strict=True))

    def _read_sas(self, name: str) -> SaReading:
        host = self._lab[name]
        if not host.up:
            return SaReading(name, None, "the host is down")
        return read_sas(name, host.path(VICI))

    def kernel_sas(self, host: str) -> tuple[KernelSa, ...]:
        """The kernel's own SAs on a host; none where the kernel has no XFRM (there charon carries the ESP itself)."""
        if not self._lab.has_xfrm:
            return ()
        return read_kernel_sas(self._lab[host].run("ip", "xfrm", "state").stdout)

    # --- waiting ----------------------------------------------------------------------------------------------------

    def wait_for(self, condition: Callable[[], bool], what: str, *, within_s: float = 10.0) -> None:
        """Wait until something is so, observing meanwhile: what is seen is read when it comes, not all at the end."""

        def so() -> bool:
            self._recording.packets()
            return condition()

        wait_until(so, what, within_s=within_s, every_s=LOOK_AGAIN_S)

    def wait_through(
        self, *, by: str | None = None, after: str | float = "start", stream: str = MAIN, within_s: float = 10.0
    ) -> Packet:
        """Wait for a numbered packet that was sent after a time and reached the server (by a gateway); return it."""
        what = f"a packet of stream {stream} at the server" + (f" by {by}" if by else "")
        found = wait_until(
            lambda: self.first_through(by=by, after=after, stream=stream), what, within_s=within_s, every_s=LOOK_AGAIN_S
        )
        assert found is not None
        return found

    def first_through(
        self, *, by: str | None = None, after: str | float = "start", stream: str = MAIN
    ) -> Packet | None:
        """The first numbered packet, sent after a time, that reached the server (by a gateway)."""
        start = self._time(after)
        number = next(number for number, (name, _) in STREAMS.items() if name == stream)
        packets = self._recording.since(start)
        got = receipts(packets, ports=_PORTS, stream=number)
        if by is not None:
            carried = carried_by(packets, lan_port=topology.port(by, "lan"), stream=number)
            got = {sequence: packet for sequence, packet in got.items() if sequence in carried}
        return next((packet for packet in got.values() if packet_sent(packet) >= start), None)

    # --- verdicts ---------------------------------------------------------------------------------------------------

    def timeline(
        self, *, since: str = "start", until: float | None = None, tunnel: Between | None = None, vip: str | None = None
    ) -> Timeline:
        """Judge what happened from a mark until now (or a time).

        VoidObservationError where the judge missed something.
        """
        end = until or self._ended or time.monotonic()
        if self._ended is None:
            wait_until(lambda: time.monotonic() >= end + SETTLE_S, "packets under way to arrive")
        return draw_timeline(
            self.evidence(), since=since, start=self._marks[since], end=end, tunnel=tunnel or Between(), vip=vip
        )

    def running(self, tunnel: Between | None = None) -> Running:
        """Who ran the tunnel over the whole observation."""
        return self.evidence().judge_running(tunnel or Between())

    def leaks(self) -> list[Packet]:
        """What left a gateway's WAN port in clear, though from or to an inner network."""
        return self.evidence().leaks()

    def evidence(self) -> Evidence:
        """All that was seen, for a verdict; VoidObservationError where something was missed."""
        until = self._ended or time.monotonic()
        self.assert_valid()
        if self._traffic is None:
            raise RuntimeError("this observer sends no traffic, so it has no verdict on it")
        return Evidence(
            packets=list(self._recording.packets()),
            until=until,
            holds=self.holds(),
            deaths=self._watch.deaths(),
            report=self._traffic.report(),
            stream_names={number: name for number, (name, _) in STREAMS.items()},
            ports=_PORTS,
            wan_ports={topology.port(host, net): host for host in topology.GATEWAYS for net in _WANS},
            lan_ports={host: topology.port(host, "lan") for host in topology.GATEWAYS},
            vips=tuple(
                each
                for family in (self._family, 10 - self._family)
                for net in _WANS
                for each in topology.vips(net, family)
            ),
            is_inner=self._is_inner,
            peers=self._peers,
        )

    def assert_valid(self) -> None:
        """VoidObservationError where the judge dropped a packet, failed, or its clock was set."""
        reasons = list(self._watch.faults())
        if self._clock.stepped_s > CLOCK_STEP_S:
            reasons.append(f"the wall clock was set by {self._clock.stepped_s * 1000:.1f} ms")
        if reasons:
            raise VoidObservationError("; ".join(reasons))

    def _is_inner(self, address: str) -> bool:
        return bool(address) and any(ip_address(address) in network for network in self._inner)

    def _time(self, moment: str | float) -> float:
        return self._marks[moment] if isinstance(moment, str) else moment


_PEERS = frozenset(topology.address("peer", net, family) for net in _WANS for family in (4, 6))
_PORTS = Ports(client=topology.port("client", "lan"), server=topology.port("server", "far"))


def _observed_ports() -> Iterable[str]:
    wans = [topology.port(host, net) for host in (*topology.GATEWAYS, "peer") for net in _WANS]
    return [*wans, *(topology.port(host, "lan") for host in topology.GATEWAYS), _PORTS.client, _PORTS.server]
