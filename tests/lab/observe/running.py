"""Which gateway runs a tunnel, and whether another one does too: judged from packets and addresses alone.

Double running is IKE or ESP of one connection leaving both gateways after the new master's first IKE_AUTH. The walk
below keeps the one *runner*. The right to run moves with an IKE_AUTH of a gateway that may take it: one that holds the
packet's source address, a virtual one, and got it later than any other that still does. So a ghost does not become the
master by authenticating anew, nor by roaming to an address of its own. What leaves from anybody but the runner is a
*stray*, with one exception: the packets by which a gateway that has the right takes over (its IKE_SA_INITs).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from tests.lab.observe.holders import Hold
from tests.lab.observe.packets import Ike, Keepalive, Packet

HOLD_SLACK_S = 0.05
"""An address may be held this much earlier than its netlink message was read, while the judge waits for the CPU."""


@dataclass(frozen=True, slots=True)
class Between:
    """Which packets of the gateways belong to the connection that is judged; None matches any address.

    The default takes all IPsec of the lab as one connection, which is exact with one and strict with several. A
    connection that may run on both gateways, each from its own address, must be left out with `local`.
    """

    local: str | None = None
    remote: str | None = None

    def has(self, packet: Packet) -> bool:
        """Whether a packet that leaves a gateway belongs to it."""
        return self.local in {None, packet.source} and self.remote in {None, packet.destination}


@dataclass(frozen=True, slots=True)
class Run:
    """A gateway runs the tunnel from a time on, until the next `Run`."""

    gateway: str
    since: float
    by_auth: bool
    """True: from its IKE_AUTH; False: it ran already when first seen."""


@dataclass(frozen=True, slots=True)
class Stray:
    """A packet of the tunnel that left a gateway which was not the runner, during `run`."""

    packet: Packet
    gateway: str
    run: Run


@dataclass(frozen=True, slots=True)
class Burst:
    """Strays with no pause above `BURST_PAUSE_S` between them; times are CLOCK_MONOTONIC."""

    gateway: str
    since: float
    until: float
    packets: int


BURST_PAUSE_S = 0.2
"""A longer silence ends a burst: twenty packets of the default traffic."""


@dataclass(frozen=True, slots=True)
class Running:
    """The whole observation, judged."""

    runs: tuple[Run, ...]
    strays: tuple[Stray, ...]
    stray_keepalives: int
    """NAT keepalives of a gateway that was not the runner: state is left there, but it ran nothing."""

    def runner_at(self, at: float) -> str | None:
        """The runner at a time."""
        return next((run.gateway for run in reversed(self.runs) if run.since <= at), None)

    def double_running_s(self, since: float, until: float) -> float:
        """For how long both ran it within a window: from an IKE_AUTH to the last stray, summed over the runs.

        Silences in between count: `bursts` shows them. A run that began before the window counts from its start.
        """
        last: dict[Run, float] = {}
        for stray in self.strays_between(since, until):
            last[stray.run] = max(stray.packet.at, last.get(stray.run, 0.0))
        return sum(at - max(run.since, since) for run, at in last.items())

    def strays_between(self, since: float, until: float) -> list[Stray]:
        """The strays of a window."""
        return [stray for stray in self.strays if since <= stray.packet.at <= until]

    def bursts(self, since: float, until: float) -> list[Burst]:
        """The strays of a window, one gateway's at a time, with the silences between them shown."""
        found: list[Burst] = []
        for stray in sorted(self.strays_between(since, until), key=lambda s: (s.gateway, s.packet.at)):
            last = found[-1] if found else None
            at = stray.packet.at
            if last and last.gateway == stray.gateway and at - last.until <= BURST_PAUSE_S:
                found[-1] = Burst(last.gateway, last.since, at, last.packets + 1)
            else:
                found.append(Burst(stray.gateway, at, at, 1))
        return found


def judge_running(
    packets: Iterable[Packet],
    *,
    gateways: Mapping[str, str],
    holds: list[Hold],
    vips: Collection[str],
    tunnel: Between,
) -> Running:
    """Walk the packets in time order; `gateways` maps WAN ports to gateways, other ports are not looked at."""
    walk = _Walk([hold for hold in holds if hold.address in vips], vips)
    for packet in packets:
        gateway = gateways.get(packet.port)
        if gateway is None or not packet.leaving or not tunnel.has(packet):
            continue
        if packet.is_ipsec:
            walk.ipsec(gateway, packet)
        elif isinstance(packet.content, Keepalive):
            walk.keepalive(gateway)
    return walk.verdict()


class _Walk:
    """The state of the walk: who runs the tunnel, and who is suspected of running it too."""

    def __init__(self, holds: list[Hold], vips: Collection[str]) -> None:
        self._holds = holds
        self._vips = vips
        self._runs: list[Run] = []
        self._suspects: list[Stray] = []
        self._begun: set[tuple[str, str]] = set()
        self._took: dict[tuple[str, str], float] = {}
        self._keepalives = 0

    def _runner(self) -> str | None:
        return self._runs[-1].gateway if self._runs else None

    def keepalive(self, gateway: str) -> None:
        self._keepalives += self._runner() not in {None, gateway}

    def ipsec(self, gateway: str, packet: Packet) -> None:
        attempt = (gateway, _spi(packet))
        begins = _begins(packet) and attempt not in self._begun  # a retransmission begins nothing
        if begins:
            self._begun.add(attempt)
        if self._runner() == gateway:
            return
        newest = packet.source in self._vips and _is_newest(self._holds, gateway, packet)
        if begins and newest is not False:
            self._took[attempt] = packet.at
            self._runs.append(Run(gateway, packet.at, by_auth=True))
        elif self._runner() is None:
            if newest and not isinstance(packet.content, Ike):
                self._runs.append(Run(gateway, packet.at, by_auth=False))
        elif newest is not True:
            self._suspects.append(Stray(packet, gateway, self._runs[-1]))

    def verdict(self) -> Running:
        return Running(
            tuple(self._runs),
            tuple(stray for stray in self._suspects if not self._led_to_a_takeover(stray)),
            self._keepalives,
        )

    def _led_to_a_takeover(self, stray: Stray) -> bool:
        """Whether it belongs to an IKE_SA that took the tunnel over *afterwards*: its IKE_SA_INIT."""
        return stray.packet.at < self._took.get((stray.gateway, _spi(stray.packet)), 0.0)


def _begins(packet: Packet) -> bool:
    return isinstance(packet.content, Ike) and packet.content.begins_tunnel


def _spi(packet: Packet) -> str:
    return packet.content.initiator_spi if isinstance(packet.content, Ike) else ""


def _is_newest(holds: list[Hold], gateway: str, packet: Packet) -> bool | None:
    """Whether the gateway got the packet's source last of those who hold it; None: nothing or a tie says so."""
    about = [hold for hold in holds if hold.address == packet.source]
    if not about:
        return None
    starts = {
        host: max(h.since for h in about if h.host == host and _covers(h, packet.at))
        for host in {h.host for h in about if _covers(h, packet.at)}
    }
    if gateway not in starts:
        return False
    latest = max(starts.values())
    if starts[gateway] < latest:
        return False
    return True if sum(start == latest for start in starts.values()) == 1 else None


def _covers(hold: Hold, at: float) -> bool:
    return hold.since - HOLD_SLACK_S <= at <= hold.until
