"""MOBIKE forced on: charon wants to take the tunnel along when the VIP leaves, and it never leaves the gateway."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import pytest

from tests.lab.agent_conf import INTERFACE, LAN, agent_conf, connection_table, secret_path
from tests.lab.asking import vici_session
from tests.lab.charon import VICI
from tests.lab.observe import Observer
from tests.lab.observe.packets import Packet
from tests.lab.pair import Pair, agent_pair
from tests.lab.peer import NAME, as_seen_by_peer, far_address, gateway_tunnel
from tests.lab.told import Told
from tests.lab.topology import address, place, port, vip
from tests.lab.waiting import wait_until
from tests.pair.handover import FENCE_MS
from tests.pair.noted import note

ROAMS_S: Final = 3.0
"""charon looks for another way 0.1 s after the VIP has left, and sends again after 4 s at the latest; here it tries all
of its addresses at once."""


VAN: Final = replace(gateway_tunnel(1), name="van", remote_addrs="0.0.0.0")
FROM_ANYWHERE: Final = ('start = "responder-only"',)
STOPS: Final = place("wan1", 41), place("wan1", 42)
"""Where the van is, one after the other."""


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """A pair whose connection has MOBIKE, as its peer has; each test leaves gw-a master, with traffic."""
    conf = agent_conf(interfaces=INTERFACE + LAN, extra=connection_table(VAN, *FROM_ANYWHERE))
    files = {**conf.files, secret_path(VAN): f"{VAN.secret}\n"}
    with agent_pair(conf.text.replace("psk_file", "mobike = true\npsk_file"), files=files) as built:
        yield built


@pytest.fixture
def seen(pair: Pair) -> Iterator[Observer]:
    """The observer, traffic passing by gw-a."""
    with Observer(pair.lab) as observer:
        observer.wait_through(by="gw-a")
        yield observer


def _from_own_addresses(seen: Observer, since: str) -> list[Packet]:
    """IPsec that left gw-a by any WAN from something else than the VIP.

    Not what the peer sent: while it believes that the VIP is at gw-a still, that passes its packets on to gw-b.
    """
    return [
        packet
        for net in ("wan1", "wan2")
        for packet in seen.packets(port=port("gw-a", net), leaving=True, since=since)
        if packet.is_ipsec and packet.source not in {vip("wan1"), address("peer", net)}
    ]


def _stopped(pair: Pair) -> int:
    said = pair.a.host.run("nft", "list", "counter", "inet", "swanherd", "mobike").stdout
    return int(said.split("packets")[1].split()[0])


@pytest.mark.parametrize("agent", ["alive", "dead"])
def test_old_master_never_steals_the_tunnel(agent: str, pair: Pair, seen: Observer) -> None:
    """The VIP leaves: the other gateway has the tunnel, for good, though the old one's agent is dead.

    Its charon tries to move its SA to its own addresses (seen at the firewall), and nothing of that leaves. Broken by:
    ``wire.standing`` without ``mobike`` (with the agent dead charon's MOBIKE messages are on the wire).
    """
    stopped = _stopped(pair)
    seen.mark("fault")
    if agent == "dead":
        pair.a.agent.kill()
    pair.a.keepalived.demote()
    pair.wait_for_master(pair.b)
    moved = seen.mark("moved")
    seen.wait_through(by="gw-b", after="moved")
    seen.mark("runs")
    wait_until(lambda: seen.mark("now") - moved > ROAMS_S, "charon has tried to roam")
    assert _from_own_addresses(seen, "fault") == []
    if agent == "dead":
        wait_until(lambda: _stopped(pair) > stopped, "charon tries to roam", within_s=20.0)
        assert seen.sas("gw-a")["gw-a"].sas, "a dead agent has taken the SA away"
    else:
        Told(pair.a.agent).wait_for(NAME, role="standby", fence="fenced")
        assert seen.sas("gw-a")["gw-a"].sas == ()
    seen.wait_through(by="gw-b", after=seen.mark("still"))
    assert _from_own_addresses(seen, "fault") == []
    verdict = seen.timeline(since="fault")
    assert verdict.new == "gw-b"
    assert verdict.double_running_ms <= verdict.both_hold_ms + FENCE_MS
    assert seen.timeline(since="runs").lost == 0
    note(seen, f"failover with MOBIKE forced on, swanherd {agent}", evidence="none")
    if agent == "dead":
        pair.a.agent.start()
        Told(pair.a.agent).wait_for(NAME, role="standby", fence="fenced")
    pair.a.keepalived.promote()
    pair.wait_for_master(pair.a)
    seen.wait_through(by="gw-a", after=seen.mark("back"))


def van_of(pair: Pair, host: str) -> tuple[str, str, str]:
    """Of the van's one IKE_SA, as that host has it: its initiator's SPI, the van's address, and the other one."""
    name, van, other = ("van", "remote", "local") if host != "peer" else (_THEIRS.name, "local", "remote")
    with vici_session(pair.lab[host].path(VICI)) as session:
        sas = [sa for item in session.list_sas({"ike": name}) for sa in item.values() if sa["state"] == b"ESTABLISHED"]
    if len(sas) != 1:
        return "", "", ""
    return sas[0]["initiator-spi"].decode(), sas[0][f"{van}-host"].decode(), sas[0][f"{other}-host"].decode()


_THEIRS: Final = replace(as_seen_by_peer(VAN), name="their-van", local_addrs="%any", remote_addrs=vip("wan1"))


def passes(pair: Pair) -> bool:
    """Whether pings from the client reach what is behind the van, and its answers come back."""
    ping = ("ping", "-n", "-q", "-c", "3", "-i", "0.1", "-W", "1", "-I", address("client", "lan"), far_address(1))
    return " 3 received" in pair.lab.client.run(*ping, check=False).stdout


@pytest.mark.timeout(180)
def test_a_peer_that_roams_takes_its_sa_along(pair: Pair) -> None:
    """A peer with MOBIKE calls, and loses its address: the same IKE_SA goes on from the next one, by either gateway.

    Broken by: ``load_conn`` without ``mobike`` (it is "no" then: a new handshake from the new address).
    """
    pair.peer.load(as_seen_by_peer(gateway_tunnel()), _THEIRS)
    for master in pair.gateways:
        if master is pair.b:
            pair.a.keepalived.stop()
            pair.wait_for_master(master)
        Told(master.agent).wait_for("van", role="active", reason="waiting-for-peer", within_s=20)
        for stop in STOPS:
            pair.lab.peer.run("ip", "address", "add", f"{stop}/32", "dev", "wan1")
        pair.lab.peer.run("ip", "route", "replace", f"{vip('wan1')}/32", "dev", "wan1", "src", STOPS[0])
        with vici_session(pair.lab.peer.path(VICI)) as session:
            for sa in [sa for item in session.list_sas({"ike": _THEIRS.name}) for sa in item.values()]:
                list(session.terminate({"ike-id": sa["uniqueid"], "force": "yes", "timeout": "-1"}))
            list(session.initiate({"ike": _THEIRS.name, "child": "lan", "timeout": "-1"}))
        wait_until(lambda: passes(pair), f"traffic by {master.name}", within_s=20)
        spi, at, to = van_of(pair, "peer")
        assert (at, to) == (STOPS[0], vip("wan1"))
        pair.lab.peer.run("ip", "route", "replace", f"{vip('wan1')}/32", "dev", "wan1", "src", STOPS[1])
        pair.lab.peer.run("ip", "address", "del", f"{STOPS[0]}/32", "dev", "wan1")
        for host in ("peer", master.name):
            wait_until(
                lambda host=host, spi=spi: van_of(pair, host) == (spi, STOPS[1], vip("wan1")),  # type: ignore[misc]
                f"{host} has the same SA with the new address",
                within_s=20,
            )
        wait_until(lambda: passes(pair), f"traffic by {master.name} after the move", within_s=20)
        pair.lab.peer.run("ip", "route", "del", f"{vip('wan1')}/32", "dev", "wan1")
        pair.lab.peer.run("ip", "address", "del", f"{STOPS[1]}/32", "dev", "wan1")
    pair.peer.load(as_seen_by_peer(gateway_tunnel()))
    pair.a.keepalived.start()
    pair.wait_for_master(pair.a)
    pair.wait_for_traffic()


def test_it_is_said(pair: Pair) -> None:
    """Status says on both gateways what it costs, and ``check`` warns of it.

    Broken by: ``decide._insisted_on`` saying nothing.
    """
    for gateway in pair.gateways:
        assert "no IPsec leaves this gateway but" in Told(gateway.agent).connection(NAME)["notices"]["mobike"]
        said = gateway.host.run("python3", "-m", "swanherd", "check", check=False)
        assert "whatever else this gateway runs" in said.stdout + said.stderr
