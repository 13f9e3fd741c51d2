"""What must be so when the last fault is healed: one runner, one SA, nothing left, nothing lost, all told well."""

import math
import os
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Final

from swanherd.cli.client import AgentError
from tests.chaos.site import THEIR_ROUTE, THEIR_TABLE, THEIRS, Site
from tests.lab.configs import read_configs
from tests.lab.loaded import read_loaded
from tests.lab.observe import Observer
from tests.lab.observe.packets import Vrrp
from tests.lab.observe.sas import IkeSa
from tests.lab.pair import Gateway
from tests.lab.peer import NAME
from tests.lab.told import Told
from tests.lab.topology import port
from tests.lab.waiting import NotInTimeError, wait_until

MASTER_S: Final = 20.0
"""keepalived settles within two seconds; a machine in trouble gets more."""
THROUGH_S: Final = 15.0
"""From the healing to the first packet through: a boot, a handshake that fails and its retry are within it."""
SETTLED_S: Final = 15.0
"""From then on until everything that can be read is as it should be."""
AT_REST_S: Final = 1.0
"""Five adverts: longer than anything that another router's word still makes an agent do."""
LONGEST_PAUSE_S: Final = 0.4
"""Two advert intervals. After three of them an agent mistrusts its SA."""
QUIET_S: Final = 0.5
"""For so long traffic must then pass without a loss: fifty packets."""
MORE_FDS: Final = 6
"""An agent may hold so many descriptors more than when it was seen to hold fewest: control clients, a probe of vici."""


class NotWellError(AssertionError):
    """Something is not so that must be so."""


class Settled:
    """Waits for a pair to be well again, and remembers what its agents held when they were."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._fewest: dict[int, dict[str, int]] = {}
        """By the agent's pid: the least that was seen of what could leak."""

    def expect_traffic(self, seen: Observer, by: str, *, within_s: float = THROUGH_S) -> float:
        """Wait for a packet, sent from now on, through this gateway; answers how long that took."""
        now = time.monotonic()
        seen.wait_through(by=by, after=now, within_s=within_s)
        return time.monotonic() - now

    def expect(self, seen: Observer) -> float:
        """Wait until all is well; answers how long the traffic took to be back. NotWellError says what is not."""
        pair = self._site.pair
        healed = time.monotonic()
        pair.wait_for_master(pair.a, within_s=MASTER_S)
        self.expect_traffic(seen, pair.a.name)
        first = seen.first_through(after=healed)
        assert first is not None
        back_s = first.at - healed
        self._wait(lambda: _one_sa(seen), "one SA, of gw-a and the peer, and none of ours on gw-b")
        for gateway in pair.gateways:
            self._wait(lambda at=gateway: _well(at), f"swanherd on {gateway.name} is well")  # type: ignore[misc]  # a bound default
            self._wait(lambda at=gateway: _theirs(at), f"what is not ours is whole on {gateway.name}")  # type: ignore[misc]  # the same
        self._wait(
            lambda: "it is there" if NAME in read_configs(pair.b.host) else "", "our connection is loaded on gw-a alone"
        )
        self._lossless(seen)
        for gateway in pair.gateways:
            self._no_leak(gateway)
        return back_s

    @staticmethod
    def _wait(trouble: Callable[[], str], what: str) -> None:
        """Wait until there is no *trouble* any more."""
        last = [""]

        def fine() -> bool:
            last[0] = trouble()
            return not last[0]

        try:
            wait_until(fine, what, within_s=SETTLED_S, every_s=0.05)
        except NotInTimeError:
            raise NotWellError(f"not within {SETTLED_S:g} s: {what}: {last[0]}") from None

    @staticmethod
    def _lossless(seen: Observer) -> None:
        """Once VRRP has been at rest for a while, packets that are sent all get through."""
        deadline = time.monotonic() + SETTLED_S
        while True:
            restless = _restless(seen)
            if time.monotonic() > deadline:
                raise NotWellError(f"VRRP does not come to rest: {restless}")
            since = seen.mark("settled")
            wait_until(lambda since=since: time.monotonic() > since + QUIET_S, "packets")  # type: ignore[misc]  # a bound default
            if restless or _restless(seen):
                continue  # on a busy machine a daemon misses adverts now and then
            seen.wait_through(by="gw-a", after=time.monotonic())
            lost = seen.timeline(since="settled").lost
            if lost:
                raise NotWellError(f"{lost} packets lost after everything was settled")
            return

    def _no_leak(self, at: Gateway) -> None:
        """The agent holds no more than it did; told late descriptors have time to be closed."""
        pid = at.agent.pid
        fewest = self._fewest.setdefault(pid, _held(pid))

        def more() -> str:
            held = _held(pid)
            for what, number in held.items():
                fewest[what] = min(fewest[what], number)
            grown = {what: number for what, number in held.items() if number > fewest[what] + MORE_FDS}
            return f"{grown}, at its best {fewest}" if grown else ""

        self._wait(more, f"swanherd on {at.name} leaks nothing")


def _held(pid: int) -> dict[str, int]:
    return {what: len(os.listdir(Path(f"/proc/{pid}/{what}"))) for what in ("fd", "task")}  # noqa: PTH208 - only counted


def _one_sa(seen: Observer) -> str:
    readings = seen.sas()
    unknown = [f"{host}: {reading.why}" for host, reading in readings.items() if reading.sas is None]
    if unknown:
        return "; ".join(unknown)
    # A handshake that was cut off stays half open at its responder for charon's 30 s; it is no SA.
    all_of = {
        host: tuple(sa for sa in reading.sas or () if sa.name != THEIRS.name and not _half_open(host, sa))
        for host, reading in readings.items()
    }
    up = {host: {sa.initiator_spi for sa in readings[host].up} for host in readings}
    children = sum(len(sa.children) for sa in all_of["peer"])
    if (
        all_of["gw-b"] == ()
        and len(all_of["peer"]) == len(all_of["gw-a"]) == children == 1
        and up["gw-a"] == up["peer"]
    ):
        return ""
    return "; ".join(
        f"{host}: " + (", ".join(f"{sa.initiator_spi} {sa.state} {len(sa.children)} children" for sa in sas) or "none")
        for host, sas in all_of.items()
    )


def _restless(seen: Observer) -> str:
    """What VRRP has done lately; afterwards an SA may rightly be replaced."""
    since = time.monotonic() - AT_REST_S
    if any(since < edge < math.inf for hold in seen.holds() for edge in (hold.since, hold.until)):
        return "an address moved"
    if seen.packets(port=port("gw-b", "wan1"), leaving=True, content=Vrrp, since=since):
        return "gw-b sent adverts"
    times = [packet.at for packet in seen.packets(port=port("gw-a", "wan1"), leaving=True, content=Vrrp, since=since)]
    pauses = [later - earlier for earlier, later in pairwise([since, *times, time.monotonic()])]
    return "gw-a's adverts paused" if max(pauses) > LONGEST_PAUSE_S else ""


def _half_open(host: str, sa: IkeSa) -> bool:
    return host == "peer" and sa.state == "CONNECTING"


def _well(at: Gateway) -> str:
    try:
        status = Told(at.agent).status()
    except AgentError as error:
        return str(error)
    if status["well"]:
        return ""
    shown = ("name", "role", "reason", "detail", "fence")
    return f"{status['troubles']} {[{key: each[key] for key in shown} for each in status['connections']]}"


def _theirs(at: Gateway) -> str:
    """What of somebody else's is not as they made it."""
    loaded = read_loaded(at.host)
    if THEIRS.name not in loaded.connections or f"ike-{THEIRS.name}" not in loaded.secrets:
        return f"in charon there is only {sorted(loaded.connections)}, {sorted(loaded.secrets)}"
    table = at.host.run("nft", "list", "table", "inet", "theirs", check=False)
    if table.stdout != THEIR_TABLE:
        return f"the firewall table is {table.stdout or table.stderr}"
    route = at.host.run("ip", "route", "show", THEIR_ROUTE[0], "proto", THEIR_ROUTE[-1]).stdout
    return "" if route.startswith(THEIR_ROUTE[0]) else "the route is gone"
