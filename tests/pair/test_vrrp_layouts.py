"""Each way in which operators lay VRRP out: the right roles, and takeovers as fast as in the plain one of this run."""

from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_address
from typing import Final

import pytest

from tests.lab import layouts
from tests.lab.layouts import Layout, Way, layout_pair
from tests.lab.observe import Observer
from tests.lab.observe.packets import Packet, Vrrp
from tests.lab.pair import Pair
from tests.lab.standin import StandIn
from tests.lab.told import Told
from tests.lab.topology import address, port
from tests.pair.handover import (
    FENCE_S,
    assert_as_fast,
    assert_handed_over,
    assert_not_misled,
    flush_neighbours,
    sent,
    upgraded,
    wait_for_tries,
)
from tests.pair.noted import note

LAYOUTS: Final = {
    "vmac": layouts.VMAC,
    "unicast": layouts.UNICAST,
    "excluded": layouts.EXCLUDED,
    "spoken-on-lan": layouts.SPOKEN_ON_LAN,
    "many": layouts.MANY,
    "ipv6": layouts.SIX,
}


@pytest.fixture(scope="module", params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> Layout:
    """One of them."""
    return LAYOUTS[request.param]


@pytest.fixture(scope="module")
def pair(layout: Layout) -> Iterator[Pair]:
    """A pair that is laid out like that; each test leaves gw-a master, with traffic."""
    with layout_pair(layout) as built:
        yield built


def _names(layout: Layout) -> list[str]:
    return [tunnel.name for tunnel in layout.tunnels()]


def _wait_for_roles(pair: Pair, layout: Layout) -> None:
    """Wait until gw-a says of every connection that it runs it, and gw-b that it does not, and why."""
    Told(pair.a.agent).wait_for(*_names(layout), role="active", reason="up")
    Told(pair.b.agent).wait_for(*_names(layout), role="standby", reason="no-address")


def test_keepalived_upgraded_on_the_master(pair: Pair, layout: Layout, plain_ms: float) -> None:
    """The master's keepalived is stopped and started: there and back, one runner, and as fast as in the plain layout.

    Broken by: ``Store.due`` waking nobody (it is as slow as the next look).
    """
    verdicts = upgraded(pair)
    _wait_for_roles(pair, layout)
    for verdict, (old, new) in zip(verdicts, [("gw-a", "gw-b"), ("gw-b", "gw-a")] * (len(verdicts) // 2), strict=True):
        assert (verdict.old, verdict.new) == (old, new)
        assert verdict.double_running_ms <= (verdict.both_hold_ms + 1000 * FENCE_S if new == "gw-a" else 0)
    assert_as_fast(plain_ms, *verdicts)


def test_keepalived_killed(pair: Pair, layout: Layout, plain_ms: float) -> None:
    """The addresses stay behind on the old master: it is heard no more 50 ms after the other's first advert.

    The takeover is as fast as in the plain layout. The old master says so, answers for none of them, and a neighbour
    that has forgotten finds the new one.

    Broken by, each in its own layout: ``source._belongs`` knowing no macvlan, or no rule about answers to announcements
    (vmac); ``runtime.vrrp`` declaring no unicast peers (unicast); counting only adverts that name the VIP (excluded);
    listening where the VIP is (spoken-on-lan); ``fenced_addresses`` looking at the first interface only (many); taking
    a deprecated address for unusable, the filter's rejecting IPv6 adverts, or no rule about neighbour advertisements
    (ipv6). In all of them by ``decide._left_behind`` telling nothing.
    """
    used = [layout.ways[name] for name in layout.uses]
    named = next(name for name, each in LAYOUTS.items() if each is layout)
    with Observer(pair.lab) as seen, ExitStack() as ghosts:
        seen.wait_through(by="gw-a")
        each = [ghosts.enter_context(_ghost(pair, way)) for way in used]
        seen.mark("fault")
        pair.a.keepalived.kill()
        seen.wait_through(by="gw-b", after="fault")
        for ghost in each:
            wait_for_tries(ghost)
        assert pair.a.addresses() >= {vip for way in used for vip in way.vips}
        for way in used:
            verdict = assert_handed_over(seen, net=way.instance.device, vrid=way.instance.vrid, source=way.vips[0])
            assert_as_fast(plain_ms, verdict)
        assert_not_misled(seen, *((each.device, each.vrid) for each in layout.vrrp.instances))
        told = Told(pair.a.agent)
        told.wait_for(*_names(layout), role="standby", reason="another-master", fence="fenced")
        for name, way in zip(_names(layout), used, strict=True):
            assert f"ip address del {way.vips[0]}/" in told.connection(name)["notices"]["stale-vip"]
        note(
            seen,
            f"keepalived killed, layout `{named}`",
            evidence="`dbus`, `adverts` or `process`",
            net=used[0].instance.device,
            vrid=used[0].instance.vrid,
        )
        flush_neighbours(pair, seen)
        assert sent(seen, "gw-a", "flushed") == []
        pair.a.keepalived.start()
        pair.wait_for_master(pair.a)
        seen.wait_through(by="gw-a", after=seen.mark("back"))
        _wait_for_roles(pair, layout)
        assert all(told.connection(name)["notices"] == {} for name in _names(layout))


def _ghost(pair: Pair, way: Way) -> StandIn:
    net = way.device or way.instance.device
    return StandIn(pair.a.host, address("peer", net, 6 if ":" in way.vips[0] else 4), source=way.vips[0])


@pytest.mark.parametrize("layout", ["ipv6"], indirect=True, scope="module")
def test_ipv6_is_as_keepalived_makes_it(pair: Pair, layout: Layout) -> None:
    """What the IPv6 rows prove is about the real thing: adverts to ff02::12, with the link-local address first in them.

    The source is a /128, deprecated, and was never tentative. Broken by: a prefix in the layout's VIPs.
    """
    with Observer(pair.lab) as seen:
        seen.wait_for(lambda: bool(_adverts(seen, layout)), "an advert")
        first = _adverts(seen, layout)[0]
    assert first.destination == "ff02::12"
    assert ip_address(first.source).is_link_local
    assert first.content.addresses == ("fe80::10", layout.source)  # type: ignore[union-attr]  # narrowed by content=
    shown = pair.a.host.run("ip", "-o", "-6", "address", "show", "to", layout.source).stdout
    assert f"{layout.source}/128" in shown
    assert "deprecated" in shown
    assert "nodad" in shown


def _adverts(seen: Observer, layout: Layout) -> list[Packet]:
    leaving = seen.packets(port=port("gw-a", "wan1"), leaving=True, content=Vrrp)
    return [packet for packet in leaving if packet.content.vrid == layout.spoken_on.vrid]  # type: ignore[union-attr]  # narrowed by content=
