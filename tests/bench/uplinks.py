"""``python -m tests.bench.uplinks``: many tunnels on two uplinks, and the default route moves from one to the other.

From the change of the route until every tunnel has an SA by the new uplink at the peer, which is asked; afterwards each
tunnel must carry a packet. Beside swanherd: charon alone at its best (``%any`` as source, MOBIKE,
``prefer_best_path``), as it would be without a virtual IP, and charon alone without MOBIKE.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from statistics import median
from typing import Any, Final

from tests.bench.contestants import Loaded
from tests.lab.agent_conf import secret_path
from tests.lab.asking import vici_session
from tests.lab.charon import VICI, Tunnel
from tests.lab.hosts import Host
from tests.lab.keepalived import LAN, WAN, WAN_2, Vrrp
from tests.lab.lab import Lab
from tests.lab.pair import Pair
from tests.lab.peer import NO_LIMITS, as_seen_by_peer, gateway_tunnel
from tests.lab.runner import Agent
from tests.lab.topology import address, vip
from tests.lab.uplinks import FAR_PEER, drop_default
from tests.lab.waiting import NotInTimeError, wait_until

WATCH_S: Final = 120.0
"""How long is waited for all tunnels."""
LOOK_S: Final = 0.25
"""Between two looks at the peer: charon goes through all its SAs for each, which slows down what is measured."""
FAR: Final = FAR_PEER[4]
SETTINGS: Final = """\
[interfaces.one]
device = "wan1"
vips = ["203.0.113.10"]

[interfaces.two]
device = "wan2"
vips = ["198.51.100.10"]
"""
CHARON: Final[Mapping[str, Mapping[str, str]]] = {
    "charon-mobike": {"mobike": "yes", "dpd_delay": "2s", "keyingtries": "0"},
    "charon-any": {"mobike": "no", "dpd_delay": "2s", "keyingtries": "0"},
}
"""Options of charon's own contestants."""


def tunnels(connections: int) -> list[Tunnel]:
    """All tunnels, to the peer's address beyond both uplinks."""
    return [replace(gateway_tunnel(number), remote_addrs=FAR, local_addrs="%any") for number in range(connections)]


def settings(connections: int) -> tuple[str, dict[str, str]]:
    """The settings of swanherd, and its secrets."""
    tables = [
        f'[connections.{each.name}]\ninterfaces = ["one", "two"]\nremote = ["{FAR}"]\nlocal_id = "{each.local_id}"\n'
        f'remote_id = "{each.remote_id}"\npsk_file = "{each.name}.psk"\nwhen_down = "pass"\n'
        f'children.{each.child} = {{ local = ["{each.local_ts}"], remote = ["{each.remote_ts}"] }}\n'
        for each in tunnels(connections)
    ]
    files = {secret_path(each): f"{each.secret}\n" for each in tunnels(connections)}
    return SETTINGS + "".join(tables), files


class Alone(Loaded):
    """Charon with everything in swanctl.conf, started by itself."""

    def __init__(self, host: Host, *, connections: int, options: Mapping[str, str]) -> None:
        super().__init__(
            host,
            tunnels=tunnels(connections),
            options=options,
            child_options={"start_action": "start", "dpd_action": "restart"},
        )


@contextmanager
def built(name: str, connections: int) -> Iterator[Pair]:
    """One gateway (the other one stays off) that runs all tunnels by the first uplink."""
    text, files = settings(connections)
    instances = (WAN, WAN_2, LAN) if name == "swanherd" else (LAN,)
    with Lab() as lab:
        pair = Pair(
            lab,
            lambda host: (
                Agent(host, text, files=files)
                if name == "swanherd"
                else Alone(host, connections=connections, options=CHARON[name])
            ),
            Vrrp(instances=instances),
        )
        lab.peer.run("ip", "address", "add", FAR, "dev", "lo")
        pair.peer.charon.options = dict(NO_LIMITS)
        pair.a.charon.options |= {"prefer_best_path": "yes", "make_before_break": "yes"}
        pair.peer.begin(*(replace(as_seen_by_peer(each), local_addrs="%any") for each in tunnels(connections)))
        pair.a.boot()
        yield pair


def by(peer: Host, source: str) -> set[str]:
    """The names of the tunnels that have an installed CHILD_SA with *source* at the peer."""
    found: set[str] = set()
    with vici_session(peer.path(VICI)) as session:
        for item in session.list_sas():
            for name, sa in item.items():
                children = sa.get("child-sas", {}).values()
                if sa["remote-host"].decode() == source and any(each["state"] == b"INSTALLED" for each in children):
                    found.add(name)
    return found


def run(name: str, connections: int) -> dict[str, Any]:
    """The figures of one run."""
    load = os.getloadavg()[0]
    sources = {net: vip(net) if name == "swanherd" else address("gw-a", net) for net in ("wan1", "wan2")}
    with built(name, connections) as pair:
        peer = pair.peer.host
        try:
            wait_until(lambda: len(by(peer, sources["wan1"])) == connections, "all up", within_s=WATCH_S, every_s=1.0)
        except NotInTimeError:
            return {"load_average": load, "first_s": None, "all_s": None, "up_before": len(by(peer, sources["wan1"]))}
        start = time.monotonic()
        drop_default(pair.a.host, "wan1", metric=100)
        first: float | None = None
        missing = connections
        try:
            while missing and time.monotonic() - start < WATCH_S:
                there = len(by(peer, sources["wan2"]))
                missing = connections - there
                first = first or (time.monotonic() - start if there else None)
                time.sleep(LOOK_S)
            took = time.monotonic() - start
            silent = _silent(pair, connections)
        except NotInTimeError:
            silent = connections
    return {
        "load_average": load,
        "first_s": first,
        "all_s": None if missing else took,
        "missing": missing,
        "silent": silent,
    }


def _silent(pair: Pair, connections: int) -> int:
    """How many tunnels carry no packet."""
    targets = [address("server", "far")] + [each.remote_ts.partition("/")[0] for each in tunnels(connections)[1:]]
    ping = "for a in {}; do ping -n -q -c 1 -W 1 -I {} $a >/dev/null || echo $a; done"
    said = pair.lab.client.run(
        "sh", "-c", ping.format(" ".join(targets), address("client", "lan")), timeout_s=connections * 1.5 + 30
    ).stdout
    return len(said.split())


def main() -> None:
    """Run, and write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", choices=("swanherd", *CHARON))
    options = parser.parse_args()
    names = (options.only,) if options.only else ("swanherd", *CHARON)
    figures: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for _ in range(options.runs):
        for name in names:
            figures[name].append(run(name, options.connections))
            print(name, json.dumps(figures[name][-1]), flush=True)
    for name, runs in figures.items():
        times = [each["all_s"] for each in runs if each["all_s"] is not None]
        print(name, "median of all up:", f"{median(times):.2f} s" if times else "never", flush=True)


if __name__ == "__main__":
    main()
