"""My IP Address: without ``local_id`` this end is the source in force, whichever that is; the peer says who came."""

from collections.abc import Iterator
from typing import Final

import pytest

from tests.lab.asking import vici_session
from tests.lab.charon import VICI
from tests.lab.observe import Observer
from tests.lab.pair import Pair
from tests.lab.topology import vip
from tests.lab.uplinks import NAME, drop_default, peer_end, set_default, uplink_pair
from tests.pair.test_ways_out import wait_for_source

BETTER: Final = 50
"""The metric of a default route before all others."""


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """A pair by the example of two uplinks, without an identity of its own; its peer lets anybody in."""
    with uplink_pair(
        "two-uplinks.toml",
        changes={'local_id = "moon.example"\n': ""},
        more=f"[connections.{NAME}]\nmove_hold_s = 0\n",
        prepare=lambda pair: pair.peer.load(peer_end(remote_id="%any")),
    ) as built:
        yield built


def who(pair: Pair) -> list[tuple[str, str]]:
    """Who came to the peer, and from where, of each IKE_SA that is up."""
    with vici_session(pair.lab.peer.path(VICI)) as session:
        sas = [sa for item in session.list_sas() for sa in item.values() if sa["state"] == b"ESTABLISHED"]
    return [(sa["remote-id"].decode(), sa["remote-host"].decode()) for sa in sas]


@pytest.mark.timeout(120)
def test_it_follows_the_source(pair: Pair) -> None:
    """The identity is the VIP of the uplink in force: after a move the other one's, and by the other gateway too.

    Broken by: ``local_id`` that answers the first of them (the peer has it with the second VIP).
    """
    with Observer(pair.lab) as seen:
        wait_for_source(pair, seen, "wan1")
        assert who(pair) == [(vip("wan1"), vip("wan1"))]
        for gateway in pair.gateways:
            set_default(gateway.host, "wan2", metric=BETTER)
        wait_for_source(pair, seen, "wan2")
        assert who(pair) == [(vip("wan2"), vip("wan2"))]
        # The same identity again: the peer replaces the old master's SA.
        pair.a.keepalived.stop()
        pair.wait_for_master(pair.b)
        wait_for_source(pair, seen, "wan2", by="gw-b")
        assert who(pair) == [(vip("wan2"), vip("wan2"))]
        for gateway in pair.gateways:
            drop_default(gateway.host, "wan2", metric=BETTER)
        wait_for_source(pair, seen, "wan1", by="gw-b")
        assert who(pair) == [(vip("wan1"), vip("wan1"))]
