"""What a killed charon leaves in the kernel is the tunnel while this gateway has the right, and goes with the right."""

from collections.abc import Iterator
from typing import Final

import pytest

from tests.kernel.dual import NAMES, back_to_a
from tests.lab.hosts import Host
from tests.lab.observe import Observer
from tests.lab.pair import Pair
from tests.lab.told import Told
from tests.lab.topology import address, place, vip
from tests.lab.waiting import wait_until

KEY: Final = "0x" + "5a" * 20
FOREIGN: Final = (
    # From another address of the gateway to the same peer; from the VIP to another one; by somebody's XFRM interface.
    (address("gw-a", "wan1"), address("peer", "wan1"), "0"),
    (vip("wan1"), place("wan1", 99), "0"),
    (vip("wan1", 6), address("peer", "wan1", 6), "77"),
)
"""Source, remote and if_id of somebody else's SAs."""


@pytest.fixture
def foreign(pair: Pair) -> Iterator[set[str]]:
    """Somebody else's SAs and policies in the kernel of gw-a, as :func:`_kept` tells them; gone afterwards."""
    host = pair.a.host
    before = _kept(host)
    for number, (source, remote, if_id) in enumerate(FOREIGN):
        ends, selector = ("src", source, "dst", remote), ("src", f"10.77.{number}.0/24", "dst", "10.78.0.0/24")
        host.run("ip", "xfrm", "state", "add", *ends, "proto", "esp", "spi", f"0x7700{number}", "mode", "tunnel",
                 "if_id", if_id, "aead", "rfc4106(gcm(aes))", KEY, "128")  # fmt: skip
        host.run("ip", "xfrm", "policy", "add", *selector, "dir", "out", "if_id", if_id,
                 "tmpl", *ends, "proto", "esp", "mode", "tunnel")  # fmt: skip
    yield _kept(host) - before
    for number, (source, remote, if_id) in enumerate(FOREIGN):
        host.run("ip", "xfrm", "state", "delete", "src", source, "dst", remote, "proto", "esp", "spi",
                 f"0x7700{number}", check=False)  # fmt: skip
        host.run("ip", "xfrm", "policy", "delete", "src", f"10.77.{number}.0/24", "dst", "10.78.0.0/24",
                 "dir", "out", "if_id", if_id, check=False)  # fmt: skip


def _kept(host: Host) -> set[str]:
    """All states and policies of a kernel, each by its first line and its templates: without counters and keys."""
    found = set()
    for what in ("state", "policy"):
        for line in host.run("ip", "-o", "xfrm", what).stdout.splitlines():
            parts = [part.strip() for part in line.replace("\\", "\n").splitlines()]
            found.add(" | ".join(part for part in parts if part.startswith(("src", "proto", "tmpl", "dir", "if_id"))))
    return found


def _ours(host: Host, foreign: set[str]) -> set[str]:
    vips = (vip("wan1"), vip("wan1", 6))
    return {line for line in _kept(host) - foreign if any(f" {each} " in f" {line} " for each in vips)}


def test_charon_dead_while_the_right_is_lost(pair: Pair, foreign: set[str]) -> None:
    """Charon and keepalived of the master killed, its VIPs left behind: what charon left goes, nobody else's does.

    Until another master is heard the kernel carries the tunnel on without charon. Then all of ours is deleted while
    there is no charon, and the one that comes back is met by nothing; the connections are fenced only then. Broken by:
    ``KernelLane.follow`` returning at once (states and policies stay); ``KernelIpsec._find`` without its look at
    ``if_id`` (somebody's XFRM interface loses its own).
    """
    told = Told(pair.a.agent)
    with Observer(pair.lab, rate=20) as seen:
        seen.wait_through(by="gw-a")
        pair.a.charon.kill()
        told.wait_for(*NAMES, reason="charon-gone", role="active")
        seen.wait_through(by="gw-a", after=seen.mark("no charon"))
        assert _ours(pair.a.host, foreign), "without SAs left behind this proves nothing"
        seen.mark("fault")
        pair.a.keepalived.kill()
        seen.wait_through(by="gw-b", after="fault", within_s=20.0)
        told.wait_for(*NAMES, reason="another-master")
        wait_until(lambda: not _ours(pair.a.host, foreign), "what charon left is gone")
        assert pair.a.holds()
        assert {each["fence"] for each in told.status()["connections"]} == {"fence-pending"}
        pair.a.charon.start()
        told.wait_for(*NAMES, role="standby", fence="fenced")
        assert seen.timeline(since="fault").double_running_ms <= 50
    assert _kept(pair.a.host) >= foreign
    assert not _ours(pair.a.host, foreign)
    pair.a.keepalived.start()
    back_to_a(pair)


def test_charon_back_before_the_right_is_lost(pair: Pair, foreign: set[str]) -> None:
    """Charon killed and started again on the master: the new one has its own SAs, and with the right both go.

    Broken by: ``KernelLane.met`` without ``clear`` (the first charon's are still there after the fence).
    """
    told = Told(pair.a.agent)
    pair.a.charon.kill()
    told.wait_for(*NAMES, reason="charon-gone", role="active")
    left = _ours(pair.a.host, foreign)
    pair.a.charon.start()
    told.wait_for(*NAMES, reason="up", role="active")
    assert {line for line in left if line.startswith("src") and "proto" in line} & _ours(pair.a.host, foreign)
    pair.a.keepalived.ask_to_stop()
    told.wait_for(*NAMES, role="standby", fence="fenced")
    assert not _ours(pair.a.host, foreign)
    assert _kept(pair.a.host) >= foreign
    pair.a.keepalived.wait_ended()
    pair.a.keepalived.start()
    back_to_a(pair)
