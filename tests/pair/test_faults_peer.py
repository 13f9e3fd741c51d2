"""What becomes of the tunnel when the peer goes, refuses, or is the only one who calls; judged by the observer."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Final

import pytest

from tests.lab.agent_conf import AgentConf, agent_conf
from tests.lab.charon import Tunnel
from tests.lab.keepalived import Vrrp
from tests.lab.lab import Lab
from tests.lab.observe import Observer
from tests.lab.observe.packets import CREATE_CHILD_SA, IKE_SA_INIT, Ike
from tests.lab.pair import Pair
from tests.lab.peer import NAME, as_seen_by_peer, gateway_tunnel
from tests.lab.runner import Agent
from tests.lab.told import Told
from tests.lab.topology import address, port, vip

SHORT: Final = {"retransmit_timeout": "0.3", "retransmit_tries": "2"}
"""A silent peer is given up after 0.3, 0.54 and 0.97 s, not after charon's 165 s."""
RETRY_MIN_S: Final = 0.2
RETRY_MAX_S: Final = 1.0
TRIES: Final = 4
"""Attempts at a peer that refuses, in which the pauses must be seen to grow."""
WRONG: Final = "another one"
"""A secret that the gateways do not have."""


def _pair(lab: Lab, conf: AgentConf) -> Pair:
    """A pair whose charons give a silent peer up soon; nothing runs on it yet."""
    pair = Pair(lab, lambda host: Agent(host, conf.text, files=conf.files), Vrrp())
    for gateway in pair.gateways:
        gateway.charon.options = dict(SHORT)
    return pair


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """A pair that looks after its peer every second, and allows one proposal each. Each test leaves it up."""
    conf = agent_conf(agent=f"retry_min_s = {RETRY_MIN_S}\nretry_max_s = {RETRY_MAX_S}")
    text = conf.text.replace(
        f"[connections.{NAME}]\n", f'[connections.{NAME}]\ndpd_delay_s = 1\nproposals = ["aes256-sha256-ecp256"]\n'
    ).replace("children.lan = {", 'children.lan = { proposals = ["aes256gcm16"],')
    with Lab() as lab:
        pair = _pair(lab, replace(conf, text=text))
        pair.start()
        yield pair


@pytest.fixture
def seen(pair: Pair) -> Iterator[Observer]:
    """The observer of one fault on a pair that is well."""
    with Observer(pair.lab) as seen:
        seen.wait_through(by="gw-a")
        Told(pair.a.agent).wait_for(NAME, reason="up")
        yield seen


def _back(pair: Pair, seen: Observer) -> None:
    """Wait until traffic passes again without anybody's help, and all is in order."""
    seen.mark("mended")
    seen.wait_through(by="gw-a", after="mended")
    Told(pair.a.agent).wait_for(NAME, reason="up")
    seen.wait_for(lambda: len(seen.sas("peer")["peer"].sas or ()) == 1, "one IKE_SA at the peer")


def _killed(pair: Pair) -> None:
    pair.peer.charon.kill()


def _stopped(pair: Pair) -> None:
    pair.peer.charon.stop()


def _powered_off(pair: Pair) -> None:
    pair.lab.power_off(pair.peer.host)


@pytest.mark.parametrize("go", [_stopped, _killed, _powered_off])
def test_the_peer_gone_and_back(pair: Pair, seen: Observer, go: Callable[[Pair], None]) -> None:
    """The peer says goodbye, dies, or loses power: ``no-answer`` in status; when it is back, the tunnel is, unaided.

    Broken by: ``failed`` in ``core.attempts`` backing off for an hour from a silent peer; ``dpd_delay_s`` in
    ``settings.convert`` at 30 s (dead and powered off: not noticed).
    """
    seen.mark("fault")
    go(pair)
    try:
        Told(pair.a.agent).wait_for(NAME, role="active", reason="no-answer")
    finally:  # the next test has the same pair
        if not pair.peer.host.up:
            pair.lab.power_on(pair.peer.host)
        pair.peer.start()
    _back(pair, seen)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        pytest.param(lambda right: replace(right, secret=WRONG), "auth-failed", id="secret"),
        pytest.param(
            lambda right: replace(right, options={"proposals": "aes128-sha384-ecp384"}),
            "no-proposal",
            id="ike-proposal",
        ),
        pytest.param(
            lambda right: replace(right, child_options={"esp_proposals": "aes128-sha256"}),
            "no-proposal",
            id="child-proposal",
        ),
        pytest.param(lambda right: replace(right, local_ts="10.99.0.0/24"), "ts-unacceptable", id="selectors"),
    ],
)
def test_the_peer_refuses(pair: Pair, seen: Observer, wrong: Callable[[Tunnel], Tunnel], reason: str) -> None:
    """A peer with another secret, proposal or selector: the right reason in status, and tries ever more rarely.

    When the peer is mended, the tunnel comes up unaided.
    Broken by: taking the reason's pattern out of ``charon.reasons``; ``Backoff.delay_s`` multiplying by 1.0, not by 2
    (pauses too short).
    """
    right = as_seen_by_peer(gateway_tunnel())
    seen.mark("fault")
    pair.peer.load(wrong(right))
    pair.peer.host.run("swanctl", "--terminate", "--force", "--ike", right.name)
    try:
        seen.wait_for(lambda: len(_tries(seen)) >= TRIES, f"{TRIES} tries", within_s=15)
        Told(pair.a.agent).wait_for(NAME, role="active", reason=reason)
        pauses = [later - earlier for earlier, later in pairwise(_tries(seen))]
    finally:  # the next test has the same pair
        pair.peer.load(right)
    _back(pair, seen)

    for number, pause in enumerate(pauses):
        assert pause >= min(RETRY_MAX_S, RETRY_MIN_S * 2**number)


def _tries(seen: Observer) -> list[float]:
    """When ``gw-a`` asked for an IKE_SA or a CHILD_SA since the fault; retransmissions count once."""
    asked: dict[tuple[str, int, int], float] = {}
    for packet in seen.packets(port=port("gw-a", "wan1"), leaving=True, content=Ike, since="fault"):
        ike = packet.content
        if isinstance(ike, Ike) and ike.exchange in {IKE_SA_INIT, CREATE_CHILD_SA} and not ike.response:
            asked.setdefault((ike.initiator_spi, ike.exchange, ike.message_id), packet.at)
    return sorted(asked.values())


@pytest.fixture
def called() -> Iterator[Pair]:
    """A pair that only answers, and a peer that knows how to call the pair and how to call the standby alone."""
    conf = agent_conf()
    text = conf.text.replace(f"[connections.{NAME}]\n", f'[connections.{NAME}]\nstart = "responder-only"\n')
    caller = replace(as_seen_by_peer(gateway_tunnel()), remote_addrs=vip("wan1"))
    astray = replace(caller, name="astray", remote_addrs=address("gw-b", "wan1"))
    with Lab() as lab:
        pair = _pair(lab, replace(conf, text=text))
        pair.peer.charon.start()
        pair.peer.load(caller, astray)
        for gateway in pair.gateways:
            gateway.boot()
        pair.wait_for_master(pair.a)
        yield pair


def test_a_responder_answers_on_the_master_only(called: Pair) -> None:
    """The peer calls and gets the master, never the standby; after a failover its new call is the new master's.

    No gateway ever initiates, and the old master is silent.
    Broken by: ``acquire._children`` wanting every child up that is not (the gateway calls); ``Terminate`` left out of
    ``plan._release`` (the old master never fenced).
    """
    pair = called
    told = {gateway.name: Told(gateway.agent) for gateway in pair.gateways}
    told["gw-a"].wait_for(NAME, role="active", reason="waiting-for-peer")
    with Observer(pair.lab) as seen:
        assert not _calls(pair, "astray")
        assert seen.sas("gw-b")["gw-b"].up == ()
        assert _calls(pair, "gw")
        seen.wait_through(by="gw-a")
        told["gw-a"].wait_for(NAME, reason="up")
        seen.mark("fault")
        pair.a.keepalived.ask_to_stop()
        told["gw-b"].wait_for(NAME, role="active", reason="waiting-for-peer")
        pair.peer.host.run("swanctl", "--terminate", "--force", "--ike", "gw")
        assert _calls(pair, "gw")
        seen.wait_through(by="gw-b", after="fault")
        told["gw-b"].wait_for(NAME, reason="up")
        told["gw-a"].wait_for(NAME, role="standby", fence="fenced")
        timeline = seen.timeline(since="fault")
        sas = seen.sas()
        begun = [packet for host in ("gw-a", "gw-b") for packet in _begun(seen, host)]

    assert begun == []
    assert (timeline.new, timeline.double_running_ms) == ("gw-b", 0)
    assert (sas["gw-a"].sas, len(sas["gw-b"].up), len(sas["peer"].up)) == ((), 1, 1)


def _calls(pair: Pair, name: str) -> bool:
    """Whether the peer's call by its connection *name* comes through."""
    argv = ("swanctl", "--initiate", "--ike", name, "--child", "lan", "--timeout", "3")
    return pair.peer.host.run(*argv, check=False).returncode == 0


def _begun(seen: Observer, host: str) -> list[Ike]:
    """The handshakes that a gateway began."""
    sent = seen.packets(port=port(host, "wan1"), leaving=True, content=Ike)
    return [
        packet.content
        for packet in sent
        if isinstance(packet.content, Ike) and packet.content.exchange == IKE_SA_INIT and not packet.content.response
    ]
