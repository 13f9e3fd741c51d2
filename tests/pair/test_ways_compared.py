"""What the others do when a way changes: charon alone with two endpoints and any source, and with MOBIKE on both ends.

One gateway without VRRP on its uplinks, at its best: both endpoints in ``remote_addrs``, ``%any`` as the source, DPD
that restarts, for ever. Nothing of swanherd is there: the figures stand beside its own in ``docs/ways.md``, and what is
asserted is what that page says of them. Broken by: no change of ours, but by a charon that learns better; and by
another fault than the one that is named (the second endpoint silent).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

import pytest

from tests.lab.charon import Tunnel, swanctl_conf
from tests.lab.hosts import Host
from tests.lab.keepalived import LAN, Vrrp
from tests.lab.lab import Lab
from tests.lab.observe import Observer
from tests.lab.observe.packets import IKE_SA_INIT, Esp, Ike
from tests.lab.pair import Pair
from tests.lab.peer import gateway_tunnel
from tests.lab.topology import address
from tests.lab.uplinks import FAR_PEER, FIRST, SECOND, drop_default, peer_end, set_default, silent, verdict

FAST: Final = {"retransmit_timeout": "0.5", "retransmit_base": "1", "retransmit_tries": "3"}
"""Dead peer detection in two seconds instead of 165, as in swanherd's own tests."""
BEST: Final = {"prefer_best_path": "yes", "make_before_break": "yes"}
"""What charon can be told to move by itself."""
FAR: Final = FAR_PEER[4]
NOT_ON_LINK: Final = {"interfaces_ignore": "wan1,wan2"}
"""A peer that is beyond the uplinks only. With its addresses on them at hand MOBIKE asks at all at once, and whichever
answers first is the new way; the one on the old uplink needs no default route (seen: every second time with 6.0.1)."""
CALLS: Final = 3
"""So many handshakes are begun with a dead endpoint before it is said that it is called for ever."""
MOVES_S: Final = 1.0
"""Charon looks for another way 0.1 s after a route has changed."""
MODES: Final = {"charon alone": "no", "charon alone, MOBIKE": "yes"}


class Alone:
    """Charon with one connection in swanctl.conf, which it starts itself."""

    notify: str | None = None

    def __init__(self, host: Host, tunnel: Tunnel) -> None:
        self._host = host
        self.tunnel = tunnel

    def install(self) -> None:
        """Write swanctl.conf."""
        self._host.write("/etc/swanctl/swanctl.conf", swanctl_conf(self.tunnel), mode=0o600)

    def start(self) -> None:
        """Load it, as Debian's unit does."""
        self._host.run("swanctl", "--load-all")


def tunnel(mobike: str, *remotes: str) -> Tunnel:
    """The connection of the examples, as charon alone can have it."""
    return replace(
        gateway_tunnel(),
        local_addrs="%any",
        remote_addrs=",".join(remotes),
        options={"mobike": mobike, "dpd_delay": "1s", "keyingtries": "0"},
        child_options={"start_action": "start", "dpd_action": "restart", "close_action": "start"},
    )


@contextmanager
def alone(mobike: str, *remotes: str, peer: Mapping[str, str] | None = None) -> Iterator[tuple[Pair, Observer]]:
    """One gateway that runs it, up and carrying traffic by the first uplink, and its observer.

    *peer* are more options of the peer's strongswan.conf.
    """
    with Lab() as lab:
        pair = Pair(lab, lambda host: Alone(host, tunnel(mobike, *remotes)), Vrrp(instances=(LAN,)))
        for host in (pair.a, pair.peer):
            host.charon.options |= FAST | BEST
        pair.peer.charon.options |= peer or {}
        for each in (FAR, SECOND):
            lab.peer.run("ip", "address", "add", each, "dev", "lo")
        for net in ("wan1", "wan2"):
            # With IPv6 addresses at hand, MOBIKE left for one of them about every second time (seen).
            lab.gw_a.run("ip", "-6", "address", "flush", "dev", net)
        pair.peer.charon.start()
        pair.peer.load(peer_end(options={"mobike": mobike, "dpd_delay": "1s"}))
        pair.a.boot()
        pair.wait_for_traffic()
        with Observer(lab) as seen:
            seen.wait_through(by="gw-a")
            yield pair, seen


def called(seen: Observer, since: str) -> list[str]:
    """Whom the gateway began handshakes with, in order."""
    begun = {
        packet.content.initiator_spi: packet.destination
        for packet in seen.packets(leaving=True, content=Ike, since=since)
        if isinstance(packet.content, Ike)
        and packet.content.exchange == IKE_SA_INIT
        and not packet.content.response
        and packet.port[:2] == "a-"
    }
    return list(begun.values())


def carried(seen: Observer, since: float) -> set[tuple[str, str]]:
    """From which address, and by which uplink, ESP left the gateway."""
    return {
        (packet.source, packet.port.removeprefix("a-"))
        for packet in seen.packets(leaving=True, content=Esp, since=since)
        if packet.port in {"a-wan1", "a-wan2"}
    }


@pytest.mark.parametrize("mode", MODES)
def test_charon_alone_calls_a_dead_endpoint_for_ever(mode: str) -> None:
    """Two ``remote_addrs``, and the first dies: every handshake goes to it, none to the second, which lives.

    MOBIKE does not help: charon tries other paths when an address or a route of its own changes, not for a dead peer.
    """
    with alone(MODES[mode], FIRST, SECOND) as (pair, seen):
        with silent(pair, FIRST):
            dead = seen.mark("dead")
            seen.wait_for(lambda: len(called(seen, "dead")) >= CALLS, f"{CALLS} handshakes", within_s=30)
            assert set(called(seen, "dead")) == {FIRST}
            assert seen.first_through(after=dead + 1) is None
        seen.wait_through(after=seen.mark("lives"), within_s=30)
        verdict(seen, f"{mode}: the endpoint in use dies, until it lives again", since="dead")


@pytest.mark.parametrize("mode", MODES)
def test_the_default_route_moves(mode: str) -> None:
    """A better default route by the other uplink, and back; then the one in use is withdrawn.

    With MOBIKE the tunnel follows. Without, a better route leaves the old source where it is, and the kernel sends it
    out by the other uplink, whose provider may drop it; it moves when its own route is gone.
    """
    one, two = address("gw-a", "wan1"), address("gw-a", "wan2")
    follows = MODES[mode] == "yes"
    with alone(MODES[mode], FAR, peer=NOT_ON_LINK) as (pair, seen):

        def moves(what: str, change: Callable[[], None]) -> set[tuple[str, str]]:
            at = seen.mark(what)
            change()
            seen.wait_through(after=at + MOVES_S, within_s=20)
            verdict(seen, f"{mode}: {what}", since=what)
            seen.wait_through(after=seen.mark("moved"))
            return carried(seen, seen.marked("moved"))

        other = "a better default route by the other uplink"
        better = moves(other, lambda: set_default(pair.a.host, "wan2", metric=50))
        assert better == {(two if follows else one, "wan2")}
        assert moves("and back", lambda: drop_default(pair.a.host, "wan2", metric=50)) == {(one, "wan1")}
        gone = moves("the default route in use is withdrawn", lambda: drop_default(pair.a.host, "wan1", metric=100))
        assert gone == {(two, "wan2")}
