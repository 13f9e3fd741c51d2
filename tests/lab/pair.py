"""The pair: two gateways with keepalived, charon and whatever moves the IPsec, a peer, and hosts behind both.

``with agent_pair(config) as pair:`` or ``with notify_pair() as pair:`` hands over a pair that carries traffic.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from tests.lab.bus import MessageBus
from tests.lab.charon import Charon
from tests.lab.hosts import Host
from tests.lab.keepalived import Instance, Keepalived, Vrrp
from tests.lab.lab import Lab
from tests.lab.peer import Peer
from tests.lab.runner import Agent, NotifyScript, Runner
from tests.lab.topology import address, vip
from tests.lab.waiting import wait_until

SETTLED_S: Final = 15.0
"""A pair that does not carry traffic so long after its start, or after a fault that it should survive, never will."""


class Gateway:
    """One gateway of the pair, with what runs on it."""

    def __init__(self, lab: Lab, host: Host, runner: Runner, vrrp: Vrrp) -> None:
        self.lab = lab
        self.host = host
        self.runner = runner
        self.charon = Charon(host, has_xfrm=lab.has_xfrm)
        self.keepalived = Keepalived(host, vrrp)
        self.bus = MessageBus(host)

    def __repr__(self) -> str:
        return f"<Gateway {self.host.name}>"

    @property
    def name(self) -> str:
        """``gw-a`` or ``gw-b``."""
        return self.host.name

    @property
    def agent(self) -> Agent:
        """The gateway's swanherd; TypeError on a pair that has none."""
        if not isinstance(self.runner, Agent):
            raise TypeError(f"no agent on {self.name}: this pair runs by {type(self.runner).__name__}")
        return self.runner

    def boot(self) -> None:
        """Start everything on a host on which nothing runs: charon, the runner, keepalived."""
        self.runner.install()
        if self.keepalived.vrrp.dbus:
            self.bus.start()
        self.charon.start()
        self.runner.start()
        self.keepalived.start()

    def holds(self, net: str = "wan1") -> bool:
        """Whether this gateway's kernel has the first VIP of *net*, on whatever device."""
        return vip(net) in self.addresses()

    def addresses(self) -> frozenset[str]:
        """All that this gateway's kernel has, on whatever device; a gateway without power has none."""
        if not self.host.up:
            return frozenset()
        lines = self.host.run("ip", "-o", "address", "show").stdout.splitlines()
        return frozenset(line.split()[3].partition("/")[0] for line in lines)

    def power_off(self) -> None:
        """Cut all links, then kill everything."""
        self.lab.power_off(self.host)

    def power_on(self) -> None:
        """Boot again, everything started anew."""
        self.lab.power_on(self.host)
        self.boot()

    def cut(self, *nets: str) -> None:
        """Pull its cables (all, or those to *nets*)."""
        self.lab.cut(self.host, *nets)

    def restore(self, *nets: str) -> None:
        """Plug them in again."""
        self.lab.restore(self.host, *nets)


class Pair:
    """A built pair. ``a`` has the higher priority, so it is the master while both are well."""

    def __init__(self, lab: Lab, runner: Callable[[Host], Runner], vrrp: Vrrp) -> None:
        self.lab = lab
        self.vrrp = vrrp
        self.peer = Peer(lab)
        self.a, self.b = (Gateway(lab, host, runner(host), vrrp) for host in lab.gateways)

    @property
    def gateways(self) -> tuple[Gateway, Gateway]:
        """Both, ``a`` first."""
        return self.a, self.b

    def start(self, *, connections: int = 1) -> None:
        """Start the peer and both gateways, and wait until each instance has its master and traffic passes."""
        self.peer.start(connections=connections)
        self.boot()

    def boot(self) -> None:
        """Start both gateways, and wait until each instance has its master and traffic passes."""
        for gateway in self.gateways:
            gateway.boot()
        self.wait_for_masters()
        self.wait_for_traffic()

    def master(self) -> Gateway | None:
        """Who holds the WAN's VIP; None while nobody or both do."""
        holders = [gateway for gateway in self.gateways if gateway.holds()]
        return holders[0] if len(holders) == 1 else None

    def wait_for_master(self, gateway: Gateway, *, within_s: float = SETTLED_S) -> None:
        """Wait until *gateway* alone holds the VIPs of all instances."""
        self._wait_for(dict.fromkeys(self.vrrp.instances, gateway), within_s=within_s)

    def wait_for_masters(self, *, within_s: float = SETTLED_S) -> None:
        """Wait until of each instance the gateway that has the higher priority alone holds the VIPs."""
        by_name = {gateway.name: gateway for gateway in self.gateways}
        self._wait_for({each: by_name[each.master] for each in self.vrrp.instances}, within_s=within_s)

    def _wait_for(self, masters: Mapping[Instance, Gateway], *, within_s: float) -> None:
        def settled() -> bool:
            held = {gateway: gateway.addresses() for gateway in self.gateways}
            return all(
                held[master].issuperset(instance.addresses) and held[self.other(master)].isdisjoint(instance.addresses)
                for instance, master in masters.items()
            )

        told = ", ".join(f"{master.name} alone holds {instance.name}'s" for instance, master in masters.items())
        wait_until(settled, told, within_s=within_s)

    def other(self, gateway: Gateway) -> Gateway:
        """The other gateway of the pair."""
        return self.b if gateway is self.a else self.a

    def passes(self) -> bool:
        """Whether one ping from the client, by the VIP and the tunnel, is answered by the server within 0.2 s."""
        ping = ("ping", "-n", "-q", "-c", "1", "-W", "0.2", "-I", address("client", "lan"))
        return self.lab.client.run(*ping, address("server", "far"), check=False).returncode == 0

    def wait_for_traffic(self, *, within_s: float = SETTLED_S) -> None:
        """Wait until a packet passes end to end, and back."""
        wait_until(self.passes, "traffic passes from client to server and back", within_s=within_s)


@contextmanager
def notify_pair(*, vrrp: Vrrp | None = None, connections: int = 1) -> Iterator[Pair]:
    """A pair that runs by the notify script, up and carrying traffic."""
    with Lab() as lab:
        pair = Pair(
            lab,
            lambda host: NotifyScript(host, connections=connections),
            replace(vrrp or Vrrp(), notify=NotifyScript.notify),
        )
        pair.start(connections=connections)
        yield pair


@contextmanager
def agent_pair(
    config: str | Callable[[Host], str],
    *,
    files: Mapping[str, str] | None = None,
    vrrp: Vrrp | None = None,
    connections: int = 1,
) -> Iterator[Pair]:
    """A pair that runs by swanherd, up and carrying traffic. *config* is one text for both, or made for each host."""

    def agent(host: Host) -> Agent:
        return Agent(host, config if isinstance(config, str) else config(host), files=files)

    with Lab() as lab:
        pair = Pair(lab, agent, vrrp or Vrrp())
        pair.start(connections=connections)
        yield pair
