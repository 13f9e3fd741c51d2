"""``python -m tests.bench.rest``: what an agent uses while nothing happens, and what it takes to read all anew.

A whole pair with its tunnels up: the master's agent and the standby's, and the master's charon beside it; without dead
peer detection, and with one that asks every peer every ten seconds. Nobody asks the agents anything while they are
measured.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.bench.contestants import SWANHERD, built
from tests.bench.page import write_page
from tests.bench.process import cpu_s, is_calm, rss_mb, wakeups
from tests.bench.site import Site
from tests.bench.store import RESULTS, measured_on, rounded
from tests.lab.asking import vici_session
from tests.lab.charon import VICI
from tests.lab.pair import Pair
from tests.lab.peer import gateway_tunnel
from tests.lab.told import Told
from tests.lab.waiting import wait_until

ROOT: Final = Path(__file__).resolve().parents[2]
FILE: Final = RESULTS / "rest" / "rest.json"
CASES: Final = ((1, 0), (1000, 0), (1000, 30), (1000, 10))
"""Connections, and after how many seconds of silence a peer is asked whether it lives (0: never; 30 is the default)."""
REST_S: Final = 30.0
CALM_PERCENT: Final = 4.0
"""Of a core: more than what a thousand peers cost that are asked every ten seconds."""
SETTLE_S: Final = 120.0
ADVERT_S: Final = 1.0
"""keepalived's default."""
ASK_S: Final = 5.0
_LONG: Final = re.compile(r"^swanherd_long_turns_total (\S+)$", re.MULTILINE)


def measure(connections: int, dpd_s: int) -> dict[str, Any]:
    """Both agents and the master's charon at rest; then what it takes to read all of a charon anew."""
    site = Site(connections=connections, lines=(f"dpd_delay_s = {dpd_s}",))
    with built(SWANHERD, site=site, advert_s=ADVERT_S, limits=False) as pair:
        wait_until(lambda: _sas(pair) == connections, "all up", within_s=SETTLE_S)
        pids = {"master": pair.a.agent.pid, "standby": pair.b.agent.pid, "charon": pair.a.charon.pid}
        for role in ("master", "standby"):
            wait_until(lambda role=role: _calm(pids[role]), f"the {role}'s agent is calm", within_s=SETTLE_S)  # type: ignore[misc]  # a bound default
        before = {who: (cpu_s(pid), wakeups(pid)) for who, pid in pids.items()}
        began = time.monotonic()
        time.sleep(REST_S)
        took_s = time.monotonic() - began
        found: dict[str, Any] = {"connections": connections, "dpd_s": dpd_s}
        for who, pid in pids.items():
            cpu, woken = before[who]
            found[who] = {
                "cpu_percent": (cpu_s(pid) - cpu) / took_s * 100,
                "wakeups_per_s": (wakeups(pid) - woken) / took_s,
                "rss_mb": rss_mb(pid),
            }
        found["resync"] = _resync(pair)
        return found


def _resync(pair: Pair) -> dict[str, float]:
    """A charon that stood still and goes on is read whole, and everything is decided anew."""
    told, pid = Told(pair.a.agent), pair.a.agent.pid
    name, end = gateway_tunnel(0).name, told.log_end()  # it is not asked: its log tells
    pair.a.charon.freeze()
    wait_until(lambda: "charon-frozen" in told.reasons(name, after=end), "charon is known to be frozen")
    wait_until(lambda: _calm(pid), "the agent is calm", within_s=SETTLE_S)
    long_turns, cpu, end = _long_turns(told), cpu_s(pid), told.log_end()
    pair.a.charon.thaw()
    wait_until(lambda: "up" in told.reasons(name, after=end), "the first one is known again", within_s=SETTLE_S)
    wait_until(lambda: _calm(pid), "all is read and decided", within_s=SETTLE_S)
    used = cpu_s(pid) - cpu
    return {"cpu_s": used, "long_turns": _long_turns(told) - long_turns}


def _long_turns(told: Told) -> float:
    found = _LONG.search(told.metrics(timeout_s=ASK_S))
    assert found is not None
    return float(found[1])


def _sas(pair: Pair) -> int:
    with vici_session(pair.a.host.path(VICI)) as session:
        said = session.stats()["ikesas"]
        return int(said["total"]) - int(said["half-open"])


def _calm(pid: int) -> bool:
    return is_calm(pid, percent=CALM_PERCENT)


@contextmanager
def _bare() -> Iterator[int]:
    """A bare process's pid."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.bare"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
    finally:
        process.communicate()


def main() -> None:
    """Measure, and write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=FILE)
    options = parser.parse_args()
    with _bare() as pid:
        bare_mb = rss_mb(pid)
    print(f"bare process: {bare_mb:.1f} MB", flush=True)
    rows = []
    for connections, dpd_s in CASES:
        rows.append(rounded(measure(connections, dpd_s)))
        print(json.dumps(rows[-1]), flush=True)
    options.results.parent.mkdir(parents=True, exist_ok=True)
    found = {"measured": measured_on(), "bare_rss_mb": round(bare_mb, 3), "rows": rows}
    options.results.write_text(json.dumps(found, indent=1) + "\n")
    if options.results == FILE:
        write_page(RESULTS, ROOT)


if __name__ == "__main__":
    main()
