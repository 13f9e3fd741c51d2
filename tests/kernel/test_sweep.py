"""The sweep against a real kernel: exactly what is between the given addresses goes, of every kind and in both ways."""

from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Final

import pytest

from swanherd.app import teardown
from swanherd.core.facts import Pair
from swanherd.core.links import Link, XfrmLink
from swanherd.core.record import Entry, Record
from swanherd.world.links import Links
from swanherd.world.recordfile import RecordFile
from swanherd.world.xfrm import KernelIpsec
from tests.lab.hosts import Host
from tests.lab.lab import Lab
from tests.lab.namespaces import call_in
from tests.lab.topology import address, place, vip

ESP: Final = ("aead", "rfc4106(gcm(aes))", "0x" + "5a" * 20, "128")
AH: Final = ("auth-trunc", "hmac(sha256)", "0x" + "5a" * 32, "128")


def _add(host: Host, number: int, source: str, remote: str, *more: str, proto: str = "esp") -> None:
    """A state and a policy each way, as a charon makes them; *more* (a mark, an if_id) belongs to both."""
    net, far = (f"10.{number}.1.0/24", f"10.{number}.2.0/24") if number % 2 else (f"fd00:{number}::/64", "fd00:99::/64")
    for spi, (one, other) in ((f"0x{number}01", (source, remote)), (f"0x{number}02", (remote, source))):
        host.run("ip", "xfrm", "state", "add", "src", one, "dst", other, "proto", proto, "spi", spi, "mode", "tunnel",
                 *more, *(ESP if proto == "esp" else AH))  # fmt: skip
    for way, inner, ends in (
        ("out", ("src", net, "dst", far), ("src", source, "dst", remote)),
        ("in", ("src", far, "dst", net), ("src", remote, "dst", source)),
        ("fwd", ("src", far, "dst", net), ("src", remote, "dst", source)),
    ):
        tmpl = ("tmpl", *ends, "proto", proto, "mode", "tunnel")
        host.run("ip", "xfrm", "policy", "add", *inner, "dir", way, *more, *tmpl)


def _count(host: Host) -> tuple[int, int]:
    states, policies = (host.run("ip", "-o", "xfrm", what).stdout.splitlines() for what in ("state", "policy"))
    return len(states), sum(" tmpl " in line.replace("\t", " ") for line in policies)


@pytest.mark.parametrize("family", [4, 6])
def test_what_is_between_the_addresses_goes(lab: Lab, family: int) -> None:
    """ESP, AH, and ESP with a mark between a pair: all gone; another remote's, another source's, an interface's stay.

    Broken by: ``State.deletion`` without the mark (one state is left: the kernel does not find it), ``_matcher`` with
    the source's side alone (the inbound half is left), ``_find`` without its look at ``if_id``.
    """
    host, source, remote = lab.gw_a, vip("wan1", family), address("peer", "wan1", family)
    try:
        _add(host, 11, source, remote)
        _add(host, 12, source, remote, proto="ah")
        _add(host, 13, source, remote, "mark", "7", "mask", "0xff")
        _add(host, 21, source, place("wan1", 99, family))
        _add(host, 22, address("gw-a", "wan1", family), remote)
        _add(host, 23, source, remote, "if_id", "9")
        assert _count(host) == (12, 18)
        pair = Pair(ip_address(source), ip_network(remote))
        assert call_in(host.netns, lambda: KernelIpsec().sweep([pair])) == 15
        assert _count(host) == (6, 9)
        anywhere = Pair(ip_address(source), ip_network("0.0.0.0/0" if family == 4 else "::/0"))
        assert call_in(host.netns, lambda: KernelIpsec().sweep([anywhere])) == 5
        assert call_in(host.netns, lambda: KernelIpsec().sweep([anywhere])) == 0
        assert _count(host) == (4, 6)
        assert call_in(host.netns, lambda: KernelIpsec().sweep([pair], {0, 9})) == 5
        assert _count(host) == (2, 3)
    finally:
        host.run("ip", "xfrm", "policy", "flush")
        host.run("ip", "xfrm", "state", "flush")


def test_teardown_takes_what_a_dead_charon_left_in_our_interfaces(lab: Lab, tmp_path: Path) -> None:
    """By the record and by the interface's alias alone; what belongs to somebody else's interface stays.

    Broken by: ``teardown`` sweeping what belongs to no interface.
    """
    host, source, remote = lab.gw_a, vip("wan1"), address("peer", "wan1")
    record = RecordFile(runtime_dir=tmp_path / "run", state_dir=tmp_path / "state")
    pair = Pair(ip_address(source), ip_network(remote))
    record.write(Record(None, {"branch": Entry(frozenset(), "swanherd-branch", frozenset({pair}))}))
    ours = Link("ipsec9", XfrmLink(9), up=True)

    def torn_down() -> list[str]:
        return teardown(
            vici_socket=str(tmp_path / "nobody"), runtime_dir=record.path.parent, state_dir=record.copy.parent
        )

    try:
        assert call_in(host.netns, lambda: Links().apply({ours.name: ours})) == {}
        _add(host, 11, source, remote)
        _add(host, 23, source, remote, "if_id", "9")
        _add(host, 25, source, remote, "if_id", "8")
        assert call_in(host.netns, torn_down) == []
        assert _count(host) == (2, 3)
        assert "ipsec9" not in host.run("ip", "-br", "link").stdout
        assert not record.path.exists()
    finally:
        host.run("ip", "xfrm", "policy", "flush")
        host.run("ip", "xfrm", "state", "flush")
