"""Through a NAT router, with the pair behind it, the peer, and both: at the peer, on the wire and through a failover.

ESP without a kernel's IPsec is always in UDP; that a NAT is what makes it so is proven in ``tests/kernel/test_nat.py``.
"""

from collections.abc import Iterator

import pytest

from tests.lab.agent_conf import agent_conf, connection_table, secret_path
from tests.lab.keepalived import Vrrp
from tests.lab.lab import Lab
from tests.lab.nat import NatRouter
from tests.lab.observe import Observer
from tests.lab.pair import Pair
from tests.lab.peer import as_seen_by_peer, gateway_tunnel
from tests.lab.runner import Agent
from tests.pair.natted import THEIRS, TUNNELS, prove


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """A pair with three connections through the router beside the lab's own, which goes round it."""
    conf = agent_conf(extra="\n".join(map(connection_table, TUNNELS)))
    files = {**conf.files, **{secret_path(tunnel): f"{tunnel.secret}\n" for tunnel in TUNNELS}}
    with Lab() as lab, NatRouter(lab):
        built = Pair(lab, lambda host: Agent(host, conf.text, files=files), Vrrp())
        built.peer.charon.start()
        built.peer.load(as_seen_by_peer(gateway_tunnel()), *THEIRS)
        built.boot()
        yield built


@pytest.mark.timeout(180)
def test_all_three_survive_a_failover(pair: Pair) -> None:
    """All carry traffic through the NAT, ESP in UDP 4500 only; after a failover all do, by the other gateway, and back.

    The router knows the VIP by the port that gw-a has opened, and goes on with gw-b behind it. Broken by:
    ``refuse_nat`` for "auto" in ``convert`` (nothing carries traffic); a router that translates no port (``RULES`` with
    accept for masquerade: the peer sees the VIP).
    """
    with Observer(pair.lab) as seen:
        first = prove(pair, pair.a, seen)
        pair.a.keepalived.stop()
        pair.wait_for_master(pair.b)
        second = prove(pair, pair.b, seen, old=first)
        pair.a.keepalived.start()
        pair.wait_for_master(pair.a)
        prove(pair, pair.a, seen, old=first | second)
