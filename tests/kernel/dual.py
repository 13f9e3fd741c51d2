"""The ring's pair: two tunnels side by side, one outside by IPv4 and one by IPv6, each with its own family inside.

    with dual_pair() as pair:
        ...

Both gateways run swanherd, charon and keepalived as in the pair ring, with the kernel's own IPsec.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from tests.lab.agent_conf import connection_table, interface_table, secret_path
from tests.lab.charon import Tunnel
from tests.lab.hosts import Host
from tests.lab.keepalived import WAN, Vrrp
from tests.lab.lab import Lab
from tests.lab.pair import Pair
from tests.lab.peer import as_seen_by_peer, gateway_tunnel
from tests.lab.runner import Agent
from tests.lab.told import Told
from tests.lab.topology import address, subnet, vip

VRRP: Final = Vrrp(advert_s=1.0)
"""keepalived's own default: an emulated machine may stand still for longer than three of the pair ring's intervals."""
TUNNELS: Final = {
    4: gateway_tunnel(),
    6: replace(
        gateway_tunnel(),
        name="site-v6",
        local_addrs=vip("wan1", 6),
        remote_addrs=address("peer", "wan1", 6),
        local_id="moon-v6.example",
        remote_id="peer-v6.example",
        local_ts=subnet("lan", 6),
        remote_ts=subnet("far", 6),
    ),
}
"""By family, outside and inside."""
NAMES: Final = tuple(tunnel.name for tunnel in TUNNELS.values())


def dual_conf(gateway: str, *tunnels: Tunnel) -> str:
    """Text of the settings: a way out for each family, and the two connections, then *tunnels* by the IPv4 one."""
    interfaces = [
        interface_table(name, WAN, vip("wan1", family), vrrp=VRRP, gateway=gateway)
        for name, family in (("wan", 4), ("wan6", 6))
    ]
    tables = [connection_table(TUNNELS[4]), connection_table(TUNNELS[6], interface="wan6")]
    return "\n".join([*interfaces, *tables, *(connection_table(each) for each in tunnels)])


@contextmanager
def dual_pair(*more: Tunnel) -> Iterator[Pair]:
    """A pair with both tunnels up and carrying traffic, ``gw-a`` its master; *more* are further tunnels by IPv4."""
    tunnels = (*TUNNELS.values(), *more)
    files = {secret_path(each): f"{each.secret}\n" for each in tunnels}

    def agent(host: Host) -> Agent:
        return Agent(host, dual_conf(host.name, *more), files=files)

    with Lab() as lab:
        assert lab.has_xfrm, "this kernel has no IPsec: run it by tests/lab/xfrm (make kernel)"
        pair = Pair(lab, agent, VRRP)
        pair.peer.charon.start()
        pair.peer.load(*(as_seen_by_peer(each) for each in tunnels))
        pair.boot()
        yield pair


def back_to_a(pair: Pair) -> None:
    """Wait until gw-a is master again, with both tunnels up and traffic passing: what every test leaves behind."""
    pair.wait_for_master(pair.a)
    Told(pair.a.agent).wait_for(*NAMES, role="active", reason="up")
    pair.wait_for_traffic()
