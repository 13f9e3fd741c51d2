"""Which address a connection runs from, and why not: section by section of what a gateway can look like."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from swanherd.core.facts import Link, Network
from swanherd.core.intent import Connection, Interface
from swanherd.core.source import choose
from swanherd.core.words import Reason
from tests.unit.core.settings import ALPHA, BETA, DELTA, INTERFACES
from tests.unit.core.views import network

W, W_2, L, OWN = "192.0.2.10", "192.0.2.11", "198.51.100.10", "192.0.2.130"
SIX, SIX_2 = "2001:db8::10", "2001:db8::130"
DUAL = Interface("dual", "eth0", (ip_address(W), ip_address(W_2), ip_address(SIX)))
ALL = {**INTERFACES, "dual": DUAL}
ANY = replace(BETA, interfaces=("any",))
FOUR_OF_DUAL, SIX_OF_DUAL = (replace(ALPHA, interfaces=("dual",), ip_version=family) for family in (4, 6))
SIX_OF_LAB = replace(DELTA, ip_version=6)
MACVLAN = Link("vrrp.51", 9, up=True, kind="macvlan", parent="eth0")
BRIDGE = Link("vrrp.51", 9, up=True, kind="bridge", parent="eth0")
GRE = Link("gre1", 8, up=True, kind="gre")
XFRM = Link("xfrm7", 8, up=True, kind="xfrm")
USERLAND = Link("ipsec0", 8, up=True, kind="tun")
NAMED_IPSEC = Link("ipsec1", 8, up=True)
UNTIL = Reason.LOADING
"""What a choice with a source says; the decision goes on from there."""

ROWS: dict[str, tuple[Connection, Network, str | None, Reason]] = {
    # one interface
    "one interface, VIP here": (ALPHA, network((W, "eth0")), W, UNTIL),
    "one interface, VIP not here": (ALPHA, network(), None, Reason.NO_ADDRESS),
    "one interface, VIP on another device": (ALPHA, network((W, "eth1")), None, Reason.NO_ADDRESS),
    "one interface, VIP on two devices, one of them right": (ALPHA, network((W, "eth1"), (W, "eth0")), W, UNTIL),
    "one interface, VIP tentative": (ALPHA, network(tentative=[(W, "eth0")]), None, Reason.ADDRESS_TENTATIVE),
    "one interface, link down": (ALPHA, network((W, "eth0"), down=["eth0"]), None, Reason.LINK_DOWN),
    "one interface, no default route at all": (ALPHA, network((W, "eth0"), defaults=()), W, UNTIL),
    "one interface, default route by another": (ALPHA, network((W, "eth0"), defaults=[("eth1", 1)]), W, UNTIL),
    "one interface, only the gateway's own address": (ALPHA, network((OWN, "eth0")), None, Reason.NO_ADDRESS),
    "one interface, only the VIP of another": (ALPHA, network((L, "eth0")), None, Reason.NO_ADDRESS),
    # several VIPs
    "several VIPs, both here: the first declared": (FOUR_OF_DUAL, network((W_2, "eth0"), (W, "eth0")), W, UNTIL),
    "several VIPs, the second here": (FOUR_OF_DUAL, network((W_2, "eth0")), W_2, UNTIL),
    "several VIPs, the IPv6 one for an IPv6 connection": (
        SIX_OF_DUAL, network((SIX, "eth0"), (W, "eth0"), family=6), SIX, UNTIL,
    ),
    "several VIPs, IPv4 alone is none for IPv6": (SIX_OF_DUAL, network((W, "eth0")), None, Reason.NO_ADDRESS),
    "IPv6 connection, interface without an IPv6 VIP": (
        replace(ALPHA, ip_version=6), network((W, "eth0")), None, Reason.NO_ADDRESS,
    ),
    # use_vmac
    "macvlan above the device": (ALPHA, network((W, "vrrp.51"), links=[MACVLAN]), W, UNTIL),
    "macvlan down": (
        ALPHA, network((W, "vrrp.51"), links=[replace(MACVLAN, up=False)]), None, Reason.LINK_DOWN,
    ),
    "macvlan up, device below it down": (
        ALPHA, network((W, "vrrp.51"), links=[MACVLAN], down=["eth0"]), None, Reason.LINK_DOWN,
    ),
    "macvlan above another device": (
        ALPHA, network((W, "vrrp.51"), links=[replace(MACVLAN, parent="eth1")]), None, Reason.NO_ADDRESS,
    ),
    "no macvlan, but something else above it": (
        ALPHA, network((W, "vrrp.51"), links=[BRIDGE]), None, Reason.NO_ADDRESS,
    ),
    # several interfaces
    "several, the route's one is held": (BETA, network((W, "eth0"), (L, "eth1")), W, UNTIL),
    "several, the route leaves by the second": (
        BETA, network((W, "eth0"), (L, "eth1"), defaults=[("eth1", 5), ("eth0", 10)]), L, UNTIL,
    ),
    "several, the route's one is not held": (BETA, network((L, "eth1")), None, Reason.NO_ADDRESS),
    "several, the best route is dead": (
        BETA, network((L, "eth1"), down=["eth0"], defaults=[("eth0", 1), ("eth1", 2)]), L, UNTIL,
    ),
    "several, no route": (BETA, network((W, "eth0"), defaults=()), None, Reason.NO_DEFAULT_ROUTE),
    "several, the route leaves by none of them": (
        BETA, network((W, "eth0"), defaults=[("eth2", 1)]), None, Reason.NO_DEFAULT_ROUTE,
    ),
    "several, only a route of the other family": (
        BETA, network((W, "eth0"), defaults=[("eth0", 1)], family=6), None, Reason.NO_DEFAULT_ROUTE,
    ),
    # tunnels never choose
    "a route by a gre device does not count": (
        BETA, network((W, "eth0"), links=[GRE], defaults=[("gre1", 1), ("eth0", 9)]), W, UNTIL,
    ),
    "a route by an xfrm device does not count": (
        BETA, network((W, "eth0"), links=[XFRM], defaults=[("xfrm7", 1), ("eth0", 9)]), W, UNTIL,
    ),
    "a route by userland ESP's device does not count": (
        BETA, network((W, "eth0"), links=[USERLAND], defaults=[("ipsec0", 1), ("eth0", 9)]), W, UNTIL,
    ),
    "a route by a device named ipsec does not count": (
        BETA, network((W, "eth0"), links=[NAMED_IPSEC], defaults=[("ipsec1", 1), ("eth0", 9)]), W, UNTIL,
    ),
    "a route by a device that is not known yet": (
        BETA, network((W, "eth0"), defaults=[("ppp0", 1), ("eth0", 9)]), None, Reason.NO_DEFAULT_ROUTE,
    ),
    # own addresses
    "own address": (DELTA, network((OWN, "eth2")), OWN, UNTIL),
    "own address, none there": (DELTA, network(), None, Reason.NO_ADDRESS),
    "own address, link down": (DELTA, network((OWN, "eth2"), down=["eth2"]), None, Reason.LINK_DOWN),
    "own address, only somebody's VIP on the device": (DELTA, network((W, "eth2")), None, Reason.NO_ADDRESS),
    "own address, link-local does not count": (SIX_OF_LAB, network(("fe80::1", "eth2")), None, Reason.NO_ADDRESS),
    "own address, IPv6": (SIX_OF_LAB, network(("fe80::1", "eth2"), (SIX_2, "eth2")), SIX_2, UNTIL),
    # any
    "any, own address on the route's device": (ANY, network((OWN, "eth0")), OWN, UNTIL),
    "any, the route's device has only a VIP": (ANY, network((W, "eth0")), None, Reason.NO_ADDRESS),
    "any, no route": (ANY, network((OWN, "eth0"), defaults=()), None, Reason.NO_DEFAULT_ROUTE),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_choice_of_source(row: str) -> None:
    """Each row: what the gateway looks like, the source, and the reason."""
    connection, seen, source, reason = ROWS[row]
    choice = choose(connection, ALL, seen)
    assert choice.source == (ip_address(source) if source is not None else None)
    assert choice.reason is reason
    assert choice.detail


def test_a_missing_device_has_a_reason_of_its_own() -> None:
    """A device that does not exist is said so, rather than that an address is missing."""
    seen = network((W, "eth0"))
    gone = Network(seen.addresses, {"eth1": seen.links["eth1"]}, seen.defaults)
    assert choose(ALPHA, ALL, gone).reason is Reason.NO_DEVICE
