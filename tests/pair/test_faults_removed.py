"""Two hundred connections leave the settings while charon is frozen and the address stays: the wire is cut at once."""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import pytest

from tests.lab.agent_conf import agent_conf, connection_table, secret_path
from tests.lab.charon import Tunnel
from tests.lab.loaded import read_loaded
from tests.lab.observe import Observer
from tests.lab.observe.packets import Packet
from tests.lab.pair import Pair, agent_pair
from tests.lab.peer import NAME, as_seen_by_peer, gateway_tunnel
from tests.lab.runner import Agent
from tests.lab.standin import StandIn, is_stand_in
from tests.lab.told import Told
from tests.lab.topology import place, port, vip
from tests.lab.waiting import wait_until

MANY: Final = 200
ENDPOINTS: Final = tuple(place("wan1", last) for last in (21, 22, 23, 24))
"""Addresses of the peer that only connections which leave have: what one that stays has too cannot be cut."""
SILENT_S: Final = 0.05
"""From the reload being asked for to the last packet on the wire, at most."""
UP_S: Final = 60.0
"""For all of them to come up, on a busy machine."""


def _tunnels() -> list[Tunnel]:
    return [
        replace(gateway_tunnel(number), remote_addrs=ENDPOINTS[number % len(ENDPOINTS)])
        for number in range(1, MANY + 1)
    ]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A pair of which gw-a runs two hundred connections more."""
    conf = agent_conf()
    with agent_pair(conf.text, files=conf.files) as built:
        batch = "".join(f"address add {endpoint}/24 dev wan1\n" for endpoint in ENDPOINTS)
        built.lab.peer.run("ip", "-batch", "-", text_in=batch)
        tunnels = [as_seen_by_peer(tunnel) for tunnel in (gateway_tunnel(), *_tunnels())]
        built.peer.load(*tunnels)
        # Started anew, it reads the two hundred addresses that this puts there; of so many events it can miss some.
        built.peer.charon.stop()
        built.peer.charon.start()
        built.peer.load(*tunnels)
        built.wait_for_traffic()
        yield built


def _add(agent: Agent) -> None:
    """Have the many in the agent's settings too."""
    tunnels = _tunnels()
    agent.config = agent_conf(agent="handshakes_per_endpoint = 5", extra="".join(map(connection_table, tunnels))).text
    agent.files |= {secret_path(tunnel): f"{tunnel.secret}\n" for tunnel in tunnels}
    agent.install()
    agent.reload()


def test_two_hundred_removed_while_charon_is_frozen(pair: Pair) -> None:
    """The wire falls silent within 50 ms of the reload being asked for; the state goes, read back, when charon wakes.

    The stand-in sends for the connections that left, from the address, which is rightfully here: only the fence of
    pairs stops it. Meanwhile they are ``fence-pending``, not fenced. The connection that stays is left alone. Broken
    by: ``wire.standing`` fencing no pairs (the stand-in is heard on and on); ``wire.fence_state`` not asking charon
    (fenced too early); ``plan._release`` without ``Terminate`` (the SAs stay).
    """
    agent, told = pair.a.agent, Told(pair.a.agent)
    _add(agent)
    with Observer(pair.lab) as seen:
        wait_until(lambda: len(seen.sas("gw-a")["gw-a"].up) == MANY + 1, "all are up", within_s=UP_S, every_s=0.2)
        stays = [sa for sa in seen.sas("gw-a")["gw-a"].up if sa.name == NAME]
        gone = [tunnel.name for tunnel in _tunnels()]
        with StandIn(pair.a.host, *ENDPOINTS, source=vip("wan1")) as ghost:

            def heard() -> list[Packet]:
                leaving = seen.packets(port=port("gw-a", "wan1"), leaving=True, since="start")
                return [packet for packet in leaving if is_stand_in(packet)]

            seen.wait_for(lambda: len(heard()) >= 100, "the stand-in is heard")
            agent.config = agent_conf().text
            agent.install()
            pair.a.charon.freeze()
            asked = seen.mark("asked")
            agent.reload()
            before = ghost.refused
            wait_until(lambda: ghost.refused - before >= 400, "the stand-in is stopped")
            last = heard()[-1].at
            assert last - asked < SILENT_S
            told.wait_for(*gone, reason="removed", fence="fence-pending")

            pair.a.charon.thaw()
            thawed = time.monotonic()
            wait_until(lambda: read_loaded(pair.a.host).connections == {NAME}, "all are unloaded", within_s=UP_S)
            wait_until(lambda: len(read_loaded(pair.a.host).secrets) == 1, "their secrets too", within_s=UP_S)
            left = seen.sas("gw-a")["gw-a"].up
            assert [sa.unique_id for sa in left] == [sa.unique_id for sa in stays]
            wait_until(lambda: not any(map(told.connection, gone)), "the agent has nothing of them", within_s=UP_S)
            assert not [packet for packet in heard() if last < packet.at < thawed]
        seen.wait_through(by="gw-a", after=seen.mark("after"))
