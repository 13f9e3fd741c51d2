"""MOBIKE forced on: charon wants to take the tunnel along when the VIP leaves, and it never leaves the gateway."""

from collections.abc import Iterator
from typing import Final

import pytest

from tests.lab.agent_conf import INTERFACE, LAN, agent_conf
from tests.lab.observe import Observer
from tests.lab.observe.packets import Packet
from tests.lab.pair import Pair, agent_pair
from tests.lab.peer import NAME
from tests.lab.told import Told
from tests.lab.topology import address, port, vip
from tests.lab.waiting import wait_until
from tests.pair.handover import FENCE_MS
from tests.pair.noted import note

ROAMS_S: Final = 3.0
"""charon looks for another way 0.1 s after the VIP has left, and sends again after 4 s at the latest; here it tries all
of its addresses at once."""


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """A pair whose connection has MOBIKE, as its peer has; each test leaves gw-a master, with traffic."""
    conf = agent_conf(interfaces=INTERFACE + LAN)
    with agent_pair(conf.text.replace("psk_file", "mobike = true\npsk_file"), files=conf.files) as built:
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


def test_it_is_said(pair: Pair) -> None:
    """Status says on both gateways what it costs, and ``check`` warns of it.

    Broken by: ``decide._insisted_on`` saying nothing.
    """
    for gateway in pair.gateways:
        assert "no IPsec leaves this gateway but" in Told(gateway.agent).connection(NAME)["notices"]["mobike"]
        said = gateway.host.run("python3", "-m", "swanherd", "check", check=False)
        assert "whatever else this gateway runs" in said.stdout + said.stderr
