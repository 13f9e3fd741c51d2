"""Through a NAT router with the kernel's own IPsec: the NAT is found, whoever is behind it, and then ESP is in UDP.

At last the same for the whole pair, through a failover.
"""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

import pytest

from tests.component.charon.sites import Site, two_sites
from tests.component.features.stage import Stage, child_of
from tests.kernel.dual import TUNNELS as DUAL
from tests.kernel.dual import back_to_a
from tests.kernel.test_features import counted
from tests.lab.agent_conf import connection_table, secret_path
from tests.lab.asking import vici_session
from tests.lab.charon import VICI
from tests.lab.nat import PAIR_BEHIND, PEER_AT, PEER_BEHIND, NatRouter
from tests.lab.observe import Observer
from tests.lab.observe.packets import Ah, Esp
from tests.lab.pair import Gateway, Pair
from tests.lab.peer import as_seen_by_peer, gateway_tunnel
from tests.lab.told import Told
from tests.lab.topology import address
from tests.lab.waiting import wait_until
from tests.pair.natted import THEIRS, TUNNELS, UP_S, prove

ROUTER: Final = "nat-router"
OUTSIDE: Final = "10.8.0.254"
"""The router, as the peer knows it."""


@dataclass(frozen=True, slots=True)
class Case:
    """Who is behind the router: what we call, and where the peer is. No two cases share a connection of the NAT's."""

    called: str
    peer: IPv4Address
    translated: bool
    """Whether our address is another one at the peer."""
    version: int = 2
    """Of IKE."""

    @property
    def forwarded(self) -> bool:
        """Whether the peer's address is another one here."""
        return self.called != str(self.peer)


CASES: Final = {
    "pair behind": Case("10.8.0.2", IPv4Address("10.8.0.2"), translated=True),
    "peer behind": Case("10.9.0.254", IPv4Address("10.8.0.3"), translated=False),
    "both": Case("10.9.0.253", IPv4Address("10.8.0.4"), translated=True),
    "both, IKEv1": Case("10.9.0.252", IPv4Address("10.8.0.5"), translated=True, version=1),
}
_FORWARD: Final = "ip daddr {} udp dport {{ 500, 4500 }} dnat to {}"
_TRANSLATED: Final = ", ".join(str(case.peer) for case in CASES.values() if case.translated)
_CALLED: Final = "\n".join(_FORWARD.format(case.called, case.peer) for case in CASES.values() if case.forwarded)
RULES: Final = f"""\
table ip nat {{
    counter raw {{}}
    counter in_udp {{}}
    chain called {{
        type nat hook prerouting priority dstnat
        {_CALLED}
    }}
    chain leaving {{
        type nat hook postrouting priority srcnat
        ip daddr {{ {_TRANSLATED} }} meta l4proto udp masquerade
    }}
    chain seen {{
        type filter hook forward priority 0
        meta l4proto {{ esp, ah }} counter name raw
        # Where IKE has four zeros ESP has its SPI; a keepalive has one octet and no zeros either.
        udp dport 4500 udp length > 12 @th,64,32 != 0 counter name in_udp
    }}
}}
"""


def ip(*argv: str) -> None:
    """``ip`` at the router."""
    subprocess.run(["ip", "-n", ROUTER, *argv], check=True)


def inside(*argv: str, said: str = "") -> str:
    """What a command at the router prints."""
    command = ["ip", "netns", "exec", ROUTER, *argv]
    return subprocess.run(command, input=said, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Site]]:
    """Two charons that leave IPsec to the kernel, with a router between their cables."""
    with two_sites(tmp_path_factory.mktemp("sites"), userland=False) as (left, right):
        subprocess.run(["ip", "netns", "add", ROUTER], check=True)
        left.ip_command("link", "del", "cable")
        ours = [case.called for case in CASES.values() if case.forwarded]
        ends = (
            (left, "inside", [left.ip], ours),
            (right, "outside", [case.peer for case in CASES.values()], [OUTSIDE]),
        )
        for site, end, own, gateways in ends:
            ip("link", "add", end, "type", "veth", "peer", "name", "cable", "netns", site.netns)
            ip("link", "set", end, "up")
            for each in gateways:
                ip("addr", "add", f"{each}/24", "dev", end)
            for address in own:
                site.ip_command("addr", "add", f"{address}/24", "dev", "cable")
            site.ip_command("link", "set", "cable", "up")
            site.ip_command("route", "add", "default", "via", gateways[0])
        inside("sysctl", "-qw", "net.ipv4.ip_forward=1")
        inside("nft", "-f", "-", said=RULES)
        try:
            yield left, right
        finally:
            subprocess.run(["ip", "netns", "del", ROUTER], check=True)


@pytest.fixture
def stage(sites: tuple[Site, Site], tmp_path: Path) -> Stage:
    """The stage, with an empty folder for settings."""
    return Stage(*sites, tmp_path)


def passed(counter: str) -> int:
    """Packets that the router has counted."""
    return int(inside("nft", "list", "counter", "ip", "nat", counter).split("packets")[1].split()[0])


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_found_and_passed(stage: Stage, case: Case) -> None:
    """With nothing set the NAT is found, whoever is behind it, and ESP goes through it in UDP 4500, both ways.

    Without one ESP is raw: ``test_no_nat`` beside this. Broken by: a router that translates nothing (``RULES`` with
    accept for masquerade: the peer sees our own address).
    """
    ids = 'local_id = "moon.example"', 'remote_id = "sun.example"'
    settings = stage.settings(f"ike_version = {case.version}", *ids, remote=case.called)
    conf = stage.peer(
        version=str(case.version),
        local_addrs=[str(case.peer)],
        remote_addrs=["%any"],
        local={"id": "sun.example"},
        remote={"id": "moon.example"},
    )
    async with stage.theirs(conf) as session, stage.ours(settings) as (agent, connection):
        shown = await stage.bring_up(agent, connection, session)
        assert shown["remote-host"].decode() == (OUTSIDE if case.translated else str(stage.left.ip))
        assert shown.get("nat-remote") == (b"yes" if case.translated else None)
        assert shown.get("nat-local") == (b"yes" if case.forwarded else None)
        assert child_of(shown)["encap"] == b"yes"
        assert [sa.nat for sa in agent.here().sas] == [True]
        before = passed("in_udp")
        assert stage.ping(str(stage.left.inner), str(stage.right.inner)) == 3
        assert counted(session) == 3
        assert passed("in_udp") - before >= 6
        assert passed("raw") == 0


REFUSING: Final = {
    "ah": (
        replace(gateway_tunnel(8), name="ah-behind", remote_addrs=PAIR_BEHIND),
        'encryption = "ah"',
        "ah-behind-nat",
    ),
    "off": (
        replace(gateway_tunnel(9), name="off-behind", remote_addrs=PEER_BEHIND),
        'nat_traversal = "off"',
        "nat-found",
    ),
}
"""Connections that must not run through a NAT: with a line of each, and why it does not."""


def refusing_at_peer(pair: Pair) -> None:
    """Have the peer take both; what it would answer to AH is AH."""
    with vici_session(pair.lab.peer.path(VICI)) as session:
        for kind, (tunnel, _, _) in REFUSING.items():
            ids = {"local": tunnel.remote_id, "remote": tunnel.local_id}
            session.load_shared({"id": tunnel.name, "type": "IKE", "data": tunnel.secret, "owners": list(ids.values())})
            child = {"local_ts": [tunnel.remote_ts], "remote_ts": [tunnel.local_ts]}
            proposals = {"ah_proposals": ["default"]} if kind == "ah" else {}
            ends = {side: {"auth": "psk", "id": each} for side, each in ids.items()}
            conf = {"local_addrs": [PEER_AT[tunnel.remote_addrs]], **ends, "children": {"net": {**child, **proposals}}}
            session.load_conn({tunnel.name: conf})


def assert_refused(pair: Pair, master: Gateway, seen: Observer) -> None:
    """Each waits with its reason on *master*, the peer has nothing of either, and nothing of either was ever sent."""
    names = {tunnel.name for tunnel, _, _ in REFUSING.values()}
    for tunnel, _, reason in REFUSING.values():
        Told(master.agent).wait_for(tunnel.name, role="active", reason=reason, within_s=UP_S)
    with vici_session(pair.lab.peer.path(VICI)) as session:
        wait_until(
            lambda: not names & {name for item in session.list_sas() for name in item},
            "the peer has neither",
            every_s=0.2,
        )
    assert not [packet for packet in seen.packets(since="start") if isinstance(packet.content, Ah)]


@pytest.fixture
def natted(pair: Pair) -> Iterator[Pair]:
    """The ring's pair with three connections through a router beside its own, which go round it."""
    theirs = [as_seen_by_peer(each) for each in DUAL.values()]
    refusing = [tunnel for tunnel, _, _ in REFUSING.values()]
    more = {secret_path(tunnel): f"{tunnel.secret}\n" for tunnel in (*TUNNELS, *refusing)}
    tables = [
        *map(connection_table, TUNNELS),
        *(connection_table(tunnel, line) for tunnel, line, _ in REFUSING.values()),
    ]
    more["/etc/swanherd/conf.d/nat.toml"] = "\n".join(tables)
    with NatRouter(pair.lab):
        pair.peer.load(*theirs, *THEIRS)
        refusing_at_peer(pair)
        for gateway in pair.gateways:
            gateway.agent.files |= more
            gateway.agent.install()
            gateway.agent.reload()
        yield pair
        for gateway in pair.gateways:
            for path in more:
                gateway.agent.files.pop(path)
                gateway.host.run("rm", path)
            gateway.agent.reload()
        pair.peer.load(*theirs)
        if not pair.a.keepalived.running:
            pair.a.keepalived.start()
        back_to_a(pair)


@pytest.mark.timeout(900)
def test_all_three_survive_a_failover(natted: Pair) -> None:
    """All carry traffic through the NAT, ESP in UDP 4500 only, and after a failover all do, by the other gateway.

    The pair's own tunnel, which has no NAT on its way, is raw ESP meanwhile. AH, and what must not be in UDP, is torn
    down by whichever gateway is the master, with its reason. Broken by: ``refuse_nat`` for "auto" in ``convert``
    (nothing carries traffic); ``nat_reason`` that finds none (what must not is up, and AH has another reason).
    """
    pair = natted
    with Observer(pair.lab, rate=20) as seen:
        first = prove(pair, pair.a, seen)
        assert_refused(pair, pair.a, seen)
        pair.a.keepalived.stop()
        pair.wait_for_master(pair.b)
        prove(pair, pair.b, seen, old=first)
        assert_refused(pair, pair.b, seen)
        seen.wait_through(by="gw-b", after=f"{pair.b.name} runs")
        own = {
            packet.content.in_udp
            for packet in seen.packets(leaving=True, content=Esp, since="start")
            if isinstance(packet.content, Esp) and packet.destination == address("peer", "wan1")
        }
        assert own == {False}
