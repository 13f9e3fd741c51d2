"""XFRM interfaces and GRE devices in a real kernel: made, kept, adopted, taken away, and never somebody else's."""

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Final

import pytest

from swanherd.core.links import GreLink, Link, XfrmLink
from swanherd.world.links import ALIAS, DRAFT, Links
from tests.component.features.stage import LEFT_6, RIGHT_6, Stage, child_of
from tests.kernel.test_features import counted

NETNS: Final = "links-test"
LINK: Final = Link(
    name="ipsec-test",
    kind=XfrmLink(42),
    addresses=frozenset({ip_address("169.254.10.1"), ip_address("fd00:9::1")}),
    mtu=1380,
    up=True,
    routes=frozenset({ip_network("10.88.0.0/16"), ip_network("fd00:88::/64")}),
    guarded=frozenset({ip_network("10.88.0.0/16")}),
)

HERE, THERE, ELSEWHERE = ip_address("203.0.113.10"), ip_address("203.0.113.20"), ip_address("198.51.100.20")
GRE: Final = replace(LINK, name="gre-test", kind=GreLink(HERE, THERE))


def ip(*argv: str, netns: str = NETNS) -> str:
    """``ip`` in the namespace."""
    return subprocess.run(["ip", "-n", netns, *argv], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def netns() -> Iterator[str]:
    """A network namespace of its own."""
    subprocess.run(["ip", "netns", "add", NETNS], check=True)
    ip("link", "set", "lo", "up")
    yield NETNS
    subprocess.run(["ip", "netns", "del", NETNS], check=True)


def inside(netns: str, work: Callable[[], dict[str, str]]) -> dict[str, str]:
    """*work* in *netns*, by a thread that ends with it."""
    result: list[dict[str, str]] = []

    def run() -> None:
        with open(f"/var/run/netns/{netns}") as namespace:  # noqa: PTH123 - a descriptor is wanted
            setns = getattr(os, "setns", None)
            if setns is not None:
                setns(namespace.fileno())
            else:
                import ctypes  # noqa: PLC0415 - Python 3.11 has no os.setns

                if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), 0x40000000):
                    raise OSError(ctypes.get_errno(), "setns")
        result.append(work())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert result, "it failed; see the thread's traceback"
    return result[0]


def apply(*links: Link) -> dict[str, str]:
    """Have these devices, and no others of ours, in the namespace."""
    return inside(NETNS, lambda: Links().apply({link.name: link for link in links}))


def test_life(netns: str) -> None:
    """Made with all that is asked, down and up with the role, adopted by another run, changed, and taken away.

    Broken by: leaving out ``_routes``; setting no alias (the second run takes it for somebody else's).
    """
    assert apply(LINK) == {}
    shown = ip("-d", "link", "show", "ipsec-test")
    assert "if_id 0x2a" in shown
    assert "mtu 1380" in shown
    assert f"alias {ALIAS}" in shown
    assert ",UP" in shown
    assert "169.254.10.1/32" in ip("addr", "show", "dev", "ipsec-test")
    assert "fd00:9::1/128" in ip("addr", "show", "dev", "ipsec-test")
    assert "dev ipsec-test" in ip("route", "get", "10.88.1.1")
    index = ip("-o", "link", "show", "ipsec-test").partition(":")[0]

    assert apply(replace(LINK, up=None, routes=LINK.routes, mtu=1360, addresses=frozenset())) == {}
    assert ip("-o", "link", "show", "ipsec-test").partition(":")[0] == index, "adopted, not made anew"
    assert "mtu 1360" in ip("link", "show", "ipsec-test")
    assert "169.254.10.1" not in ip("addr", "show", "dev", "ipsec-test")

    assert apply(replace(LINK, up=False, routes=frozenset())) == {}
    assert ",UP" not in ip("link", "show", "ipsec-test")
    assert "unreachable 10.88.0.0/16" in ip("route")
    assert apply(LINK) == {}
    assert "dev ipsec-test" in ip("route", "get", "10.88.1.1")

    assert apply() == {}
    assert "ipsec-test" not in ip("link")
    assert "10.88" not in ip("route")
    del netns


def test_somebody_elses(netns: str) -> None:
    """A device that is there without our alias is refused and left alone; another one of ours is made all the same.

    One that would have its if_id is not, and who has it is told. Broken by: ``_made`` without ``_taken``.
    """
    ip("link", "add", "ipsec-test", "type", "xfrm", "if_id", "7")
    before = ip("-d", "link", "show", "ipsec-test")
    troubles = apply(LINK, replace(LINK, name="ipsec-2", kind=XfrmLink(43), routes=frozenset(), guarded=frozenset()))
    assert set(troubles) == {"ipsec-test"}
    assert "not swanherd's" in troubles["ipsec-test"]
    assert ip("-d", "link", "show", "ipsec-test") == before
    assert "ipsec-2" in ip("link")
    other = replace(LINK, name="ipsec-3", kind=XfrmLink(7))
    assert apply(other) == {"ipsec-3": "if_id 7 is taken by the device ipsec-test"}
    assert apply() == {}
    assert ip("-d", "link", "show", "ipsec-test") == before
    del netns


def test_killed_half_way(netns: str) -> None:
    """A device that a killed run had not named yet does not stop the next run."""
    ip("link", "add", DRAFT, "type", "xfrm", "if_id", "42")
    assert apply(LINK) == {}
    assert DRAFT not in ip("link")
    assert apply(replace(LINK, kind=XfrmLink(44))) == {}
    assert "if_id 0x2c" in ip("-d", "link", "show", "ipsec-test")
    del netns


def test_life_of_a_gre_device(netns: str) -> None:
    """Made between its ends, adopted by another run, led elsewhere without being made anew, and taken away.

    One whose ends are not known now stays as it is, and none is made for it. Broken by: ``_becomes`` without its
    ``set`` (the old ends stay), or that answers False for other ends (another index); ``_spec_of`` without the TTL.
    """
    assert apply(replace(GRE, kind=None)) == {}
    assert "gre-test" not in ip("link")
    assert apply(GRE) == {}
    shown = ip("-d", "link", "show", "gre-test")
    assert f"gre remote {THERE} local {HERE} ttl 64" in shown
    assert "mtu 1380" in shown
    assert ",UP" in shown
    assert "dev gre-test" in ip("route", "get", "10.88.1.1")
    index = ip("-o", "link", "show", "gre-test").partition(":")[0]

    assert apply(replace(GRE, kind=GreLink(HERE, ELSEWHERE), up=None)) == {}
    shown = ip("-d", "-o", "link", "show", "gre-test")
    assert f"gre remote {ELSEWHERE} local {HERE} ttl 64" in shown
    assert (shown.partition(":")[0], ",UP" in shown, "mtu 1380" in shown) == (index, True, True)
    assert apply(replace(GRE, kind=None, up=False, routes=frozenset())) == {}
    shown = ip("-d", "-o", "link", "show", "gre-test")
    assert f"gre remote {ELSEWHERE} local {HERE}" in shown
    assert ",UP" not in shown
    assert "unreachable 10.88.0.0/16" in ip("route")

    six = GreLink(ip_address("2001:db8::10"), ip_address("2001:db8::20"))
    assert apply(replace(GRE, kind=six)) == {}
    assert f"ip6gre remote {six.remote} local {six.local} hoplimit 64 encaplimit none" in ip("-d", "link")
    assert apply() == {}
    assert "gre-test" not in ip("link")
    assert "10.88" not in ip("route")
    del netns


def test_somebody_elses_gre_device(netns: str) -> None:
    """One of the name, and one with the same ends, are refused and left alone."""
    ends = ("local", str(HERE), "remote", str(THERE))
    ip("link", "add", "gre-test", "type", "gre", *ends)
    before = ip("-d", "link", "show", "gre-test")
    assert "not swanherd's" in apply(GRE)["gre-test"]
    assert "taken by the device gre-test" in apply(replace(GRE, name="gre-other"))["gre-other"]
    assert "gre-other" not in ip("link")
    assert DRAFT not in ip("link")
    assert apply() == {}
    assert ip("-d", "link", "show", "gre-test") == before
    del netns


async def test_traffic_through_it(stage: Stage) -> None:
    """What is routed into the device goes through the SA of its id, and what is not routed there does not.

    Broken by: sending no ``if_id`` (policies without one take the packets, and the device passes none).
    """
    xfrm = 'xfrm_interface = { name = "ipsec-test", if_id = 42 }'
    link = replace(LINK, addresses=frozenset(), guarded=frozenset(), routes=frozenset({ip_network(stage.right.inner)}))
    async with stage.theirs(stage.peer()) as session, stage.ours(stage.settings(xfrm)) as (agent, connection):
        shown = await stage.bring_up(agent, connection, session)
        assert child_of(shown)["mode"] == b"TUNNEL"
        assert stage.ping(str(stage.left.inner), str(stage.right.inner), count=1) == 0
        assert inside(stage.left.netns, lambda: Links().apply({link.name: link})) == {}
        assert stage.ping(str(stage.left.inner), str(stage.right.inner)) == 3
        assert counted(session) == 3
        assert inside(stage.left.netns, lambda: Links().apply({})) == {}


@pytest.mark.parametrize("family", [4, 6])
async def test_traffic_through_a_gre_device(stage: Stage, family: int) -> None:
    """What is routed into the device goes through the SA for GRE, whichever IP family is outside.

    Broken by: ``_gre`` that answers "gre" whatever the ends are (none is made for IPv6); ``_spec_of`` without
    ``remote`` (nothing leaves by it).
    """
    stage.have_ipv6()
    ends = (stage.left.ip, stage.right.ip) if family == 4 else (LEFT_6, RIGHT_6)
    device = GreLink(*ends)
    link = Link("gre-test", device, addresses=frozenset({HERE}), up=True, routes=frozenset({ip_network(THERE)}))
    settings = stage.settings(
        'mode = "transport"', selectors=('["dynamic[gre]"]', '["dynamic[gre]"]'), remote=str(ends[1])
    )
    conf = stage.peer(
        local_addrs=[str(ends[1])],
        remote_addrs=[str(ends[0])],
        child={"mode": "transport", "local_ts": ["dynamic[47]"], "remote_ts": ["dynamic[47]"]},
    )
    theirs = ("type", "gre") if family == 4 else ("type", "ip6gre", "encaplimit", "none")
    stage.right.ip_command("link", "add", "gre-test", *theirs, "local", str(ends[1]), "remote", str(ends[0]))
    try:
        stage.right.ip_command("addr", "add", f"{THERE}/32", "peer", str(HERE), "dev", "gre-test")
        stage.right.ip_command("link", "set", "gre-test", "up")
        async with stage.theirs(conf) as session, stage.ours(settings) as (agent, connection):
            await stage.bring_up(agent, connection, session)
            assert inside(stage.left.netns, lambda: Links().apply({link.name: link})) == {}
            assert stage.ping(str(HERE), str(THERE)) == 3
            assert counted(session) >= 3
    finally:
        assert inside(stage.left.netns, lambda: Links().apply({})) == {}
        stage.right.ip_command("link", "del", "gre-test")
