"""The leak guard where the kernel does IPsec: what goes by a policy passes it, what would leave in clear does not.

Policies and states are made by hand, so that they can be taken away one by one, as a takeover or a dead charon does.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from typing import Final

import pytest

from swanherd.core.facts import Flow, Wire
from swanherd.world.firewall import elements, requests
from swanherd.world.firewall.kernel import Kernel
from tests.lab.lab import Lab
from tests.lab.namespaces import call_in
from tests.lab.topology import address, place, subnet
from tests.lab.waiting import wait_until

KEY: Final = "0x" + "5a" * 20
"""Of AES-GCM with 128 bits, and its salt."""
SPI: Final = "0x5a5a5b"
IF_ID: Final = "42"
PINGS: Final = 3
ARRIVED_S: Final = 20.0
"""For what was sent to be counted, where everything is emulated and others keep the machine busy."""


@contextmanager
def _guarded(lab: Lab, family: int) -> Iterator[None]:
    """The guard on gw-a, for what belongs between the client's and the server's network."""
    kernel = Kernel()
    call_in(lab.gw_a.netns, kernel.generation)  # its socket is in that namespace from now on
    flow = Flow("wan1", ip_network(subnet("lan", family)), ip_network(subnet("far", family)))
    kernel.commit(requests.build(elements.contents(Wire(leaks=frozenset({flow})))))
    try:
        yield
    finally:
        kernel.commit(requests.remove())
        kernel.close()


def _stopped(lab: Lab) -> int:
    said = json.loads(lab.gw_a.run("nft", "-j", "list", "counter", "inet", "swanherd", "leak").stdout)
    return int(next(each["counter"]["packets"] for each in said["nftables"] if "counter" in each))


def _encrypted(lab: Lab) -> int:
    """ESP packets that the peer has decrypted."""
    said = lab.peer.run("ip", "-s", "xfrm", "state", "list").stdout
    return sum(int(each) for each in re.findall(r"lifetime current:\s+\d+\s*\(bytes\),\s*(\d+)\s*\(packets\)", said))


def _send(lab: Lab, family: int) -> None:
    """Pings by gw-a: from the client, and its own from its address in the LAN."""
    ping = ("ping", "-n", "-q", "-c", str(PINGS), "-i", "0.05", "-W", "0.5", "-I")
    server = address("server", "far", family)
    lab.client.run(*ping, place("lan", 101, family), server, check=False)
    lab.gw_a.run(*ping, address("gw-a", "lan", family), server, check=False)


def _wait_for(count: Callable[[Lab], int], lab: Lab, packets: int) -> None:
    wait_until(lambda: count(lab) >= packets, f"{count.__name__} {packets}", within_s=ARRIVED_S)
    assert count(lab) == packets


def _state(lab: Lab, family: int, *more: str) -> None:
    ends = ("src", address("gw-a", "wan1", family), "dst", address("peer", "wan1", family))
    algorithm = ("aead", "rfc4106(gcm(aes))", KEY, "128")
    for host, own in ((lab.gw_a, more), (lab.peer, ())):
        host.run("ip", "xfrm", "state", "add", *ends, "proto", "esp", "spi", SPI, "mode", "tunnel", *algorithm, *own)


def _policy(lab: Lab, family: int, *more: str) -> None:
    ends = ("src", address("gw-a", "wan1", family), "dst", address("peer", "wan1", family))
    selector = ("src", subnet("lan", family), "dst", subnet("far", family))
    through = ("tmpl", *ends, "proto", "esp", "mode", "tunnel")
    lab.gw_a.run("ip", "xfrm", "policy", "add", *selector, "dir", "out", *through, *more)


def _flush(lab: Lab, *what: str) -> None:
    for each in what:
        lab.gw_a.run("ip", "xfrm", each, "flush")
        lab.peer.run("ip", "xfrm", each, "flush")


@pytest.mark.parametrize("family", [4, 6])
def test_policies_come_and_go(lab: Lab, family: int) -> None:
    """By a policy all goes in ESP; with its state gone, or without it, nothing leaves in clear, forwarded or our own.

    Broken by: ``rules._leaks`` without ``by_ipsec`` (what a policy would encrypt is dropped). Hooks, devices and
    networks are broken one by one in ``tests/component/firewall/test_leaks.py``, where that takes seconds.
    """
    before = lab.clear_packets()
    _send(lab, family)
    assert lab.clear_packets() - before >= PINGS, "a wire that is silent anyway proves nothing"
    with _guarded(lab, family):
        clear = lab.clear_packets()
        try:
            _send(lab, family)
            _wait_for(_stopped, lab, 2 * PINGS)
            _state(lab, family)
            _policy(lab, family)
            _send(lab, family)
            _wait_for(_encrypted, lab, 2 * PINGS)
            assert _stopped(lab) == 2 * PINGS
            _flush(lab, "state")  # as with a trap: a policy that nobody has an SA for
            _send(lab, family)
            _flush(lab, "policy")
            _send(lab, family)
            wait_until(lambda: _stopped(lab) >= 4 * PINGS, "all are stopped", within_s=ARRIVED_S)
        finally:
            _flush(lab, "policy", "state")
        assert lab.clear_packets() == clear


@pytest.mark.parametrize("family", [4, 6])
def test_an_xfrm_interface_whose_route_vanished(lab: Lab, family: int) -> None:
    """Through an XFRM interface all goes in ESP; when its route is gone nothing leaves by the WAN in clear.

    The rules are those of the test above: what breaks them is in ``tests/component/firewall/test_leaks.py``.
    """
    far = subnet("far", family)
    lab.gw_a.run("ip", "link", "add", "ipsec-test", "type", "xfrm", "dev", "wan1", "if_id", IF_ID)
    lab.gw_a.run("ip", "link", "set", "ipsec-test", "up")
    with _guarded(lab, family):
        clear = lab.clear_packets()
        try:
            _state(lab, family, "if_id", IF_ID)
            _policy(lab, family, "if_id", IF_ID)
            lab.gw_a.run("ip", f"-{family}", "route", "add", far, "dev", "ipsec-test")
            _send(lab, family)
            _wait_for(_encrypted, lab, 2 * PINGS)
            assert _stopped(lab) == 0
            lab.gw_a.run("ip", f"-{family}", "route", "del", far, "dev", "ipsec-test")
            _send(lab, family)
            _wait_for(_stopped, lab, 2 * PINGS)
        finally:
            lab.gw_a.run("ip", "link", "del", "ipsec-test")
            _flush(lab, "policy", "state")
        assert lab.clear_packets() == clear
