"""``python -m tests.bench.growth``: how the agent's own work grows with the number of connections, and with time.

The agent on one gateway of the lab, with a charon that does nothing (``fakecharon``): the VIP comes, all connections
come up; it goes, all of them are released. What is left is the agent's own: its time, memory and latency. And what it
holds after many takeovers.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.bench.page import write_page
from tests.bench.process import cpu_s, is_calm, rss_mb
from tests.bench.scraped import Latencies, lateness, read_latencies
from tests.bench.store import RESULTS, measured_on, rounded
from tests.lab.agent_conf import AgentConf, connection_table, secret_path
from tests.lab.asking import vici_session
from tests.lab.charon import VICI
from tests.lab.daemon import Daemon
from tests.lab.hosts import Host
from tests.lab.lab import Lab
from tests.lab.peer import gateway_tunnel
from tests.lab.runner import Agent
from tests.lab.told import Told
from tests.lab.topology import vip
from tests.lab.waiting import wait_until

ROOT: Final = Path(__file__).resolve().parents[2]
SIZES: Final = (10, 100, 1000, 10_000)
FILE: Final = RESULTS / "growth" / "growth.json"
WATCH_S: Final = 300.0
LOOK_S: Final = 0.02
IDLE_S: Final = 20.0
CALM_PERCENT: Final = 1.0
"""Of a core: an agent that uses no more has done what it put off until its takeovers were over."""
TAKEOVERS: Final = 500
FEW: Final = 10
"""Connections that are taken over so often."""
INTERFACE: Final = '[interfaces.wan]\ndevice = "wan1"\nvips = ["203.0.113.10"]\n'


def settings(connections: int) -> AgentConf:
    """Settings for so many connections; no network of theirs is used."""
    tunnels = [gateway_tunnel(number) for number in range(1, connections + 1)]
    return AgentConf(
        text=INTERFACE + "\n".join(connection_table(each) for each in tunnels),
        files={secret_path(each): f"{each.secret}\n" for each in tunnels},
    )


class Measured:
    """A running agent's use of the machine."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def cpu_s(self) -> float:
        """Processor time of all its threads."""
        return cpu_s(self._agent.pid)

    def rss_mb(self) -> float:
        """Resident set."""
        return rss_mb(self._agent.pid)

    def held(self) -> dict[str, float]:
        """What could grow: memory, descriptors, threads."""
        of = Path(f"/proc/{self._agent.pid}")
        return {"rss_mb": self.rss_mb(), **{what: len(list((of / what).iterdir())) for what in ("fd", "task")}}

    def idle(self) -> dict[str, float]:
        """What it uses while nothing happens, and how late its loop is then."""
        wait_until(self._calm, "the agent has nothing left to do", within_s=WATCH_S)
        before, cpu = self._latencies(), self.cpu_s()
        time.sleep(IDLE_S)
        used = self.cpu_s() - cpu
        late = lateness(before, self._latencies())
        return {"cpu_percent": used / IDLE_S * 100, **({"late_mean_ms": late.mean_ms} if late else {})}

    def _calm(self) -> bool:
        return is_calm(self._agent.pid, percent=CALM_PERCENT)

    def during(self, act: Callable[[], object], done: Callable[[], bool], what: str) -> dict[str, float]:
        """What it takes from *act* until *done*."""
        before = self._latencies()
        cpu, began = self.cpu_s(), time.monotonic()
        act()
        wait_until(done, what, within_s=WATCH_S, every_s=LOOK_S)
        took, used = time.monotonic() - began, self.cpu_s() - cpu
        rss_mb = self.rss_mb()  # before the scrape, which takes memory itself
        late = lateness(before, self._latencies())
        lates = {"late_mean_ms": late.mean_ms, "late_most_ms": late.most_ms} if late else {}
        return {"took_s": took, "cpu_s": used, "rss_mb": rss_mb, **lates}

    def _latencies(self) -> Latencies:
        """How late its loop has woken so far. A scrape of ten thousand connections takes seconds."""
        return read_latencies(Told(self._agent).metrics(timeout_s=WATCH_S))


class Site:
    """A gateway with an agent, and a charon that does nothing."""

    def __init__(self, host: Host, connections: int) -> None:
        self._host = host
        self._connections = connections
        Daemon(host, "python3", "-m", "tests.bench.fakecharon", log="charon.log").start()
        wait_until(lambda: _count(host) == 0, "the fake charon answers")
        conf = settings(connections)
        agent = Agent(host, conf.text, files=conf.files)
        agent.install()
        agent.start()
        self.measured = Measured(agent)

    def take_over(self) -> dict[str, float]:
        """The VIP comes."""
        return self.measured.during(
            lambda: self._address("add"), lambda: _count(self._host) == self._connections, "all are up"
        )

    def release(self) -> dict[str, float]:
        """The VIP goes."""
        return self.measured.during(lambda: self._address("del"), lambda: _count(self._host) == 0, "nothing is left")

    def _address(self, change: str) -> None:
        self._host.run("ip", "address", change, f"{vip('wan1')}/24", "dev", "wan1")


def run(connections: int) -> dict[str, Any]:
    """The figures for one number of connections."""
    with Lab() as lab:
        site = Site(lab.gw_a, connections)
        figures: dict[str, Any] = {"rss_standby_mb": site.measured.rss_mb(), "takeover": site.take_over()}
        figures |= {f"idle_{name}": value for name, value in site.measured.idle().items()}
        figures["release"] = site.release()
        return figures


def endure(takeovers: int) -> dict[str, Any]:
    """What the agent holds after the first and after the last of so many takeovers, each with its release."""
    with Lab() as lab:
        site = Site(lab.gw_a, FEW)
        held = []
        for _ in range(takeovers):
            taken = site.take_over()
            site.release()
            held.append({**site.measured.held(), "takeover_cpu_s": taken["cpu_s"], "takeover_s": taken["took_s"]})
        idle = site.measured.idle()
        return {"takeovers": takeovers, "connections": FEW, "first": held[0], "last": held[-1], "idle": idle}


def _count(host: Host) -> int | None:
    try:
        with vici_session(host.path(VICI)) as session:
            return int(session.stats()["ikesas"]["total"])
    except OSError:
        return None


def main() -> None:
    """Run, and write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=lambda text: [int(size) for size in text.split(",")], default=list(SIZES))
    parser.add_argument("--takeovers", type=int, default=TAKEOVERS)
    parser.add_argument("--results", type=Path, default=FILE)
    options = parser.parse_args()
    found: dict[str, Any] = {}
    for size in options.sizes:
        found[str(size)] = rounded(run(size))
        print(size, json.dumps(found[str(size)]), flush=True)
    lasting = rounded(endure(options.takeovers))
    print(json.dumps(lasting), flush=True)
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.write_text(
        json.dumps({"measured": measured_on(), "sizes": found, "lasting": lasting}, indent=1) + "\n"
    )
    write_page(RESULTS, ROOT)


if __name__ == "__main__":
    main()
