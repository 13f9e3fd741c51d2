"""Two gateways that boot, installed by the guide, with the lab's peer and the hosts behind both."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

from tests.lab.booted import BootedHost, BootedLab
from tests.lab.charon import Tunnel
from tests.lab.observe import Observer, Timeline
from tests.lab.observe.packets import Ike, Vrrp
from tests.lab.observe.sas import IkeSa
from tests.lab.peer import Peer
from tests.lab.topology import address, port, subnet, vip
from tests.lab.waiting import wait_until
from tests.system import guide
from tests.system.release import publish

SECRET: Final = "a secret that only this lab knows"  # noqa: S105 - of the lab only
REPOSITORY: Final = "/media/release/swanherd"
SETTLED_S: Final = 20.0
"""Longer than anything here takes, after a boot or a fault, until traffic passes again."""
_USERLAND_ESP: Final = "kernel-libipsec {\n    load = 10\n}\n"
"""With a priority, so that charon asks it for IPsec before kernel-netlink."""


class Site:
    """The installed pair."""

    def __init__(self, lab: BootedLab) -> None:
        self.lab = lab
        self.gateways: Final = (lab.booted("gw-a"), lab.booted("gw-b"))
        self.peer = Peer(lab)
        self.secret = SECRET

    # --- building ---------------------------------------------------------------------------------------------------

    def build(self) -> None:
        """Boot both, follow the guide on both, and wait until the tunnel carries traffic."""
        publish(self.lab.media / "swanherd")
        self.peer.charon.start()
        self.load_peer(SECRET)
        self.on_both(BootedHost.boot)
        self.on_both(self._install)
        self.wait_for_traffic()

    def on_both(self, act: Callable[[BootedHost], object]) -> None:
        """Do it on both gateways side by side."""
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(act, self.gateways))

    def _install(self, host: BootedHost) -> None:
        if not self.lab.has_xfrm:
            host.write("/etc/strongswan.d/charon/kernel-libipsec.conf", _USERLAND_ESP)
        guide.follow(host, guide.INSTALL, repository=REPOSITORY, secret=SECRET)

    def load_peer(self, secret: str) -> None:
        """Make this the secret that the peer has; its live SAs stay."""
        self.secret = secret
        self.peer.charon.load(
            Tunnel(
                name="hq",
                local_addrs=address("peer", "wan1"),
                local_id="branch.example",
                remote_id="hq.example",
                local_ts=subnet("far"),
                remote_ts=subnet("lan"),
                secret=secret,
            )
        )

    # --- looking ----------------------------------------------------------------------------------------------------

    def holders(self) -> list[BootedHost]:
        """The gateways that have the WAN's virtual address."""
        return [
            host
            for host in self.gateways
            if host.up and f"inet {vip('wan1')}/" in host.run("ip", "-o", "-4", "address", "show", "dev", "wan1").stdout
        ]

    def master(self) -> BootedHost:
        """The one gateway that has the virtual address; waits until it is one."""
        return wait_until(lambda: self.holders() if len(self.holders()) == 1 else [], "one master", within_s=SETTLED_S)[
            0
        ]

    def other(self, host: BootedHost) -> BootedHost:
        """The other gateway."""
        return self.gateways[1 - self.gateways.index(host)]

    def passes(self) -> bool:
        """Whether one ping from the client, by the VIP and the tunnel, is answered by the server within 0.2 s."""
        ping = ("ping", "-n", "-q", "-c", "1", "-W", "0.2", "-I", address("client", "lan"))
        return self.lab.client.run(*ping, address("server", "far"), check=False).returncode == 0

    def wait_for_traffic(self) -> None:
        """Wait until a packet passes end to end, and back."""
        wait_until(self.passes, "traffic passes from client to server and back", within_s=SETTLED_S)

    @contextmanager
    def undisturbed(self) -> Iterator[Observer]:
        """What is done meanwhile costs no packet, and the peer keeps the very SA that it had."""
        with Observer(self.lab) as seen:
            seen.wait_through()
            before = peer_sa(seen)
            seen.mark("begin")
            yield seen
            seen.wait_through(after=seen.mark("end"))
            timeline = seen.timeline(since="begin")
            after = peer_sa(seen)
        assert timeline.lost == 0, f"{timeline.lost} packets lost"
        assert timeline.double_running_ms == 0
        assert (after.initiator_spi, after.children) == (before.initiator_spi, before.children), _what_was_said(seen)

    def moved(self, act: Callable[[], object], *, to: BootedHost) -> Timeline:
        """What was seen of a fault that moves the tunnel to another gateway."""
        with Observer(self.lab) as seen:
            seen.wait_through()
            seen.mark("fault")
            act()
            seen.wait_through(by=to.name, after="fault", within_s=SETTLED_S)
            return seen.timeline(since="fault")


def peer_sa(seen: Observer) -> IkeSa:
    """The one IKE_SA that the peer has."""
    (sa,) = seen.sas("peer")["peer"].up
    return sa


def _what_was_said(seen: Observer) -> str:
    """All IKE of the gateways since the mark "begin", and how many adverts each of them sent, when first and last."""
    begin = seen.marked("begin")
    lines = ["the peer has another SA than before; since the beginning (ms):"]
    for gateway in ("gw-a", "gw-b"):
        for net in ("wan1", "lan"):
            adverts = seen.packets(port=port(gateway, net), leaving=True, content=Vrrp, since="begin")
            if adverts:
                first, last = (1000 * (adverts[at].at - begin) for at in (0, -1))
                lines.append(f"{gateway} sent {len(adverts)} adverts on {net}, {first:.0f} to {last:.0f}")
        lines += [
            f"{gateway} sent at {1000 * (packet.at - begin):.0f}: {packet.content}"
            for packet in seen.packets(port=port(gateway, "wan1"), leaving=True, content=Ike, since="begin")
        ]
    return "\n".join(lines)


def status(host: BootedHost) -> dict[str, Any]:
    """``swanherd status --json`` of a gateway."""
    document: dict[str, Any] = json.loads(host.shell("swanherd status --json || true"))
    return document
