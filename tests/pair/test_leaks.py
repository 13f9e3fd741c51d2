"""The leak guard on a whole pair: what belongs into the tunnel never leaves a gateway's WAN in clear.

The client sends by both gateways' own addresses all the time, so the standby, too, always has something to leak.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.lab.agent_conf import agent_conf
from tests.lab.observe import Observer
from tests.lab.observe.packets import Ike, Packet
from tests.lab.pair import Gateway, Pair, agent_pair
from tests.lab.peer import NAME, SECRET
from tests.lab.told import Told
from tests.lab.topology import address, port
from tests.lab.waiting import wait_until

EXAMPLE: Final = Path(__file__).parents[2] / "docs/examples/when-down.toml"
STOPPED: Final = 100
"""Packets that the guard must have stopped before a silence counts: half a second of the client's traffic by one
gateway's own address."""


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """A pair that runs by swanherd; each test leaves gw-a master, with traffic."""
    conf = agent_conf()
    with agent_pair(conf.text, files=conf.files) as built:
        yield built


@pytest.fixture
def seen(pair: Pair) -> Iterator[Observer]:
    """The observer, traffic passing."""
    with Observer(pair.lab) as observer:
        observer.wait_through()
        yield observer


def _stopped(gateway: Gateway) -> int:
    """Packets that the gateway's guard has stopped, as the kernel counts them."""
    said = json.loads(gateway.host.run("nft", "-j", "list", "counter", "inet", "swanherd", "leak").stdout)
    return int(next(each["counter"]["packets"] for each in said["nftables"] if "counter" in each))


def _wait_for_more(*gateways: Gateway) -> None:
    """Wait until each has stopped a good many packets from now on."""
    before = [_stopped(gateway) for gateway in gateways]
    wait_until(
        lambda: all(_stopped(gateway) - was >= STOPPED for gateway, was in zip(gateways, before, strict=True)),
        f"{gateways} have something to leak",
    )


def _back_to_a(pair: Pair, seen: Observer) -> None:
    pair.wait_for_master(pair.a)
    seen.wait_through(by="gw-a", after=seen.mark("back"))


def _asked(seen: Observer, since: str) -> list[Packet]:
    """The first messages of handshakes that gw-a began."""
    leaving = seen.packets(port=port("gw-a", "wan1"), leaving=True, since=since)
    return [each for each in leaving if isinstance(each.content, Ike) and each.content.name == "IKE_SA_INIT"]


def test_standby_takeover_and_back(pair: Pair, seen: Observer) -> None:
    """Nothing leaves in clear by the standby, through a takeover there and back, or by the gateways' own pings.

    Broken by: ``leaks.flows`` giving nothing; the chain ``leak_forward`` without its hook.
    """
    _wait_for_more(pair.b)
    own = (
        "ping",
        "-n",
        "-q",
        "-c",
        "5",
        "-i",
        "0.01",
        "-W",
        "1",
        "-I",
        address("gw-b", "lan"),
        address("server", "far"),
    )
    assert "100% packet loss" in pair.b.host.run(*own, check=False).stdout
    pair.a.keepalived.stop()
    seen.wait_through(by="gw-b", after=seen.mark("fault"))
    _wait_for_more(pair.a)
    pair.a.keepalived.start()
    _back_to_a(pair, seen)
    _wait_for_more(pair.b)
    assert seen.leaks() == []


def test_retries_with_the_peer_away(pair: Pair, seen: Observer) -> None:
    """While the peer's charon is away nothing leaves in clear, handshakes go out all the same, and it comes up again.

    Broken by: ``leaks.flows`` giving nothing.
    """
    seen.mark("away")
    pair.peer.charon.kill()
    pair.a.host.run("swanctl", "--terminate", "--ike", NAME, "--force", check=False)
    _wait_for_more(pair.a)
    seen.wait_for(lambda: len(_asked(seen, "away")) >= 2, "gw-a asks again")
    _wait_for_more(pair.a, pair.b)
    assert seen.leaks() == []
    pair.peer.start()
    _back_to_a(pair, seen)
    assert seen.leaks() == []


def test_agents_dead_and_charon_too(pair: Pair, seen: Observer) -> None:
    """With both agents killed, and the master's charon after them, nothing leaves in clear by either gateway.

    Broken by: ``leaks.flows`` giving nothing; tables that go with the agent's socket (``flags owner``).
    """
    for gateway in pair.gateways:
        gateway.agent.kill()
    pair.a.charon.kill()
    _wait_for_more(pair.a, pair.b)
    assert seen.leaks() == []
    pair.a.charon.start()
    for gateway in pair.gateways:
        gateway.agent.start()
    _back_to_a(pair, seen)
    assert seen.leaks() == []


def test_reload_to_pass_and_back(pair: Pair, seen: Observer) -> None:
    """``when_down`` comes into force by a reload: with the example's ``pass`` the standby leaks, without it no more.

    Broken by: ``flows`` not asking ``when_down``; ``WireTarget`` not looking at the intent.
    """
    example = EXAMPLE.read_text()
    _reload(pair.b, example)
    seen.wait_for(lambda: bool(seen.leaks()), "the standby leaks, as it was told")
    assert {packet.port for packet in seen.leaks()} == {port("gw-b", "wan1")}
    _reload(pair.b, example.replace('when_down = "pass"\n', ""))
    chain = ("nft", "list", "chain", "inet", "swanherd", "leaks")
    wait_until(lambda: "oifname" in pair.b.host.run(*chain).stdout, "it is guarded")
    guarded = time.monotonic()
    _wait_for_more(pair.b)
    assert [packet for packet in seen.leaks() if packet.at > guarded] == []
    told = Told(pair.b.agent).status()["firewall"]["leak_guard"]
    assert "10.10.0.0/24 > 10.20.0.0/24 by wan1" in told


def _reload(gateway: Gateway, text: str) -> None:
    gateway.agent.config = text
    gateway.agent.files["/etc/swanherd/secrets/branch.psk"] = f"{SECRET}\n"
    gateway.agent.install()
    gateway.agent.reload()
