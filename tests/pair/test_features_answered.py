"""Who only answers, before and after a failover: it waits for its peer, and never calls."""

import time
from collections.abc import Iterator
from typing import Final

import pytest

from tests.lab.asking import vici_session
from tests.lab.charon import VICI
from tests.lab.observe import Observer
from tests.lab.observe.packets import IKE_SA_INIT, Ike, Packet
from tests.lab.pair import Gateway, Pair
from tests.lab.told import Told
from tests.lab.topology import port
from tests.lab.uplinks import silent
from tests.lab.waiting import wait_until
from tests.pair.features import (
    ANSWERED,
    ELSEWHERE,
    IN_TURN,
    PLACES,
    RESPONDER,
    UP_S,
    Expected,
    features_pair,
    load_peer,
    passes,
    run_by,
    shown,
)

RETRIES_S: Final = 3.0
"""An agent that may call does so again after a second."""


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """A pair that runs all the examples."""
    with features_pair() as built:
        yield built


@pytest.fixture(scope="module", params=IN_TURN)
def master(pair: Pair, request: pytest.FixtureRequest) -> Iterator[Gateway]:
    """Who runs the tunnels, before and after a failover."""
    with run_by(pair, request.param) as gateway:
        yield gateway


def call(pair: Pair, each: Expected) -> None:
    """Have the peer call one that only answers anew."""
    with vici_session(pair.lab.peer.path(VICI)) as session:
        for sa in shown(pair).get(each.name, ()):
            list(session.terminate({"ike-id": sa["uniqueid"], "force": "yes", "timeout": "-1"}))
        list(session.initiate({"child": f"net-{each.hosts[0]}", "ike": each.name, "timeout": "-1"}))


def called(pair: Pair, master: Gateway, each: Expected) -> None:
    """The peer calls, and *master* answers: traffic passes."""
    call(pair, each)
    wait_until(lambda: passes(pair, each.hosts[0]), f"{each.name}: traffic to {each.hosts[0]}", within_s=UP_S)
    assert [sa.get("initiator") for sa in shown(pair)[each.name]] == ["yes"]
    Told(master.agent).wait_for(each.name, role="active", reason="up")


@pytest.mark.timeout(180)
def test_a_responder_waits(pair: Pair, master: Gateway) -> None:
    """Nothing comes up until the peer calls, on either gateway; the one that is the master answers, and stays waiting.

    It calls from either of its endpoints, and the one that can be anywhere from any address. Broken by: ``wanted_up``
    that asks for a responder's children (the pair calls); ``ANYWHERE`` with the other IP family's network (nobody is
    let in).
    """
    at = PLACES[pair.gateways.index(master)]
    waiting = [each.name for each in ANSWERED]
    Told(master.agent).wait_for(*waiting, role="active", reason="waiting-for-peer", within_s=UP_S)
    load_peer(pair, at=at)
    for each in ANSWERED:
        called(pair, master, each)
    found = shown(pair)
    assert {each.name: [sa["local-host"] for sa in found[each.name]] for each in ANSWERED} == {
        name: [where] for name, where in at.items()
    }


@pytest.mark.timeout(180)
def test_a_responder_does_not_call_a_dead_peer(pair: Pair, master: Gateway) -> None:
    """Its peer falls silent: it is asked, given up, and not called; when it calls again it is answered.

    Broken by: ``wanted_up`` that asks for a responder's children; ``dpd_action`` restart.
    """
    load_peer(pair, at=PLACES[0])
    called(pair, master, RESPONDER)
    told = Told(master.agent)
    with Observer(pair.lab) as seen:

        def sent() -> list[Packet]:
            leaving = seen.packets(port=port(master.name, "wan1"), leaving=True, since="silent")
            return [packet for packet in leaving if packet.destination == ELSEWHERE and isinstance(packet.content, Ike)]

        seen.mark("silent")
        with silent(pair, ELSEWHERE):
            seen.wait_for(lambda: bool(sent()), "it is asked whether it lives", within_s=UP_S)
            told.wait_for(RESPONDER.name, role="active", reason="waiting-for-peer", within_s=UP_S)
            gone = time.monotonic()
            wait_until(lambda: time.monotonic() - gone > RETRIES_S, "one that initiates would", within_s=2 * RETRIES_S)
            assert "peer-silent" in told.reasons(RESPONDER.name)
            assert [packet for packet in sent() if packet.content.exchange == IKE_SA_INIT] == []  # type: ignore[union-attr]
    called(pair, master, RESPONDER)
