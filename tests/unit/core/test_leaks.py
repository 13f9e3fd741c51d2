"""What the leak guard covers: pure functions from the settings and the devices to flows."""

from dataclasses import replace
from ipaddress import ip_address, ip_network
from types import MappingProxyType

import pytest

from swanherd.core.facts import ANY_PORTS, DefaultRoute, Flow, HeldAddress, Link, Network
from swanherd.core.intent import Child, Connection, Intent, Interface, VrrpDeclaration, XfrmInterface
from swanherd.core.leaks import Ways, everything, flows, routed_by_hand, unguardable, ways

VIP = ip_address("203.0.113.10")
LAN, FAR = ip_network("10.10.0.0/24"), ip_network("10.20.0.0/24")
WAN = Interface("wan", "wan1", (VIP,))
BRANCH = Connection("branch", ("wan",), ("203.0.113.20",), (Child("net", ("10.10.0.0/24",), ("10.20.0.0/24",)),))


def _intent(*connections: Connection, interfaces: tuple[Interface, ...] = (WAN,)) -> Intent:
    return Intent(
        MappingProxyType({each.name: each for each in interfaces}),
        MappingProxyType({each.name: each for each in connections}),
    )


def _flows(*connections: Connection, network: Network | None = None, by: Interface = WAN) -> frozenset[Flow]:
    intent = _intent(*connections, interfaces=(by,))
    return flows(intent, ways(intent, network))


def _network(*links: Link, defaults: tuple[DefaultRoute, ...] = (), own: str = "203.0.113.2") -> Network:
    address = ip_address(own)
    held = HeldAddress(address, 24, "wan1", usable=True, since=0.0)
    every = (Link("wan1", 2, up=True), *links)
    return Network(MappingProxyType({address: (held,)}), {link.name: link for link in every}, defaults)


def _child(local: str, remote: str) -> Connection:
    return replace(BRANCH, children=(Child("net", (local,), (remote,)),))


def test_both_networks_by_the_way_out() -> None:
    """The smallest connection is guarded by its device, from its network to the peer's."""
    assert _flows(BRANCH) == {Flow("wan1", LAN, FAR)}


def test_pass_guards_nothing() -> None:
    """Who says ``pass`` decides by rules and routes of his own. Broken by: ``flows`` not asking ``when_down``."""
    assert _flows(replace(BRANCH, when_down="pass")) == frozenset()


def test_every_way_of_the_connection_and_no_other() -> None:
    """All of its interfaces count, those of others do not: a path by another uplink is the user's business."""
    second, other = Interface("radio", "wan2"), Interface("lan", "lan")
    intent = _intent(replace(BRANCH, interfaces=("wan", "radio")), interfaces=(WAN, second, other))
    assert {flow.device for flow in flows(intent, ways(intent, None))} == {"wan1", "wan2"}


SELECTORS = {
    "range": ("10.10.0.1-10.10.0.2", "10.20.0.0/24", {("10.10.0.1/32", 0), ("10.10.0.2/32", 0)}),
    "other family": ("fd00::/64", "10.20.0.0/24", set()),
    "protocol of one side": ("10.10.0.0/24", "10.20.0.0/24[6]", {("10.10.0.0/24", 6)}),
    "protocols that exclude each other": ("10.10.0.0/24[17]", "10.20.0.0/24[6]", set()),
    "opaque": ("10.10.0.0/24[6/opaque]", "10.20.0.0/24", {("10.10.0.0/24", 6)}),
}


@pytest.mark.parametrize(("local", "remote", "expected"), SELECTORS.values(), ids=SELECTORS.keys())
def test_selectors(local: str, remote: str, expected: set[tuple[str, int]]) -> None:
    """Each kind of selector becomes the networks and the protocol that charon would make a policy of."""
    assert {(str(flow.local), flow.protocol) for flow in _flows(_child(local, remote))} == expected


PORTS = {
    "one": ("[6]", "[6/443]", 6, ANY_PORTS, (443, 443)),
    "range": ("[17/1000-2000]", "[17]", 17, (1000, 2000), ANY_PORTS),
    "of what has none": ("[47/7]", "[47]", 47, ANY_PORTS, ANY_PORTS),
    "type of ICMP": ("[1/2048]", "[1]", 1, (8, 8), ANY_PORTS),
    "type and code of ICMP": ("[1]", "[1/769]", 1, (3, 3), (1, 1)),
}


@pytest.mark.parametrize(("local", "remote", "protocol", "mine", "theirs"), PORTS.values(), ids=PORTS.keys())
def test_ports(local: str, remote: str, protocol: int, mine: tuple[int, int], theirs: tuple[int, int]) -> None:
    """Ports are those of the selectors; of ICMP type and code, as in the kernel's own selectors."""
    assert _flows(_child(f"{LAN}{local}", f"{FAR}{remote}")) == {Flow("wan1", LAN, FAR, protocol, mine, theirs)}


def test_dynamic_follows_the_ends() -> None:
    """``dynamic`` is the VIP on this side and each endpoint on the other."""
    connection = replace(_child("dynamic[47]", "dynamic[47]"), remote=("203.0.113.20", "203.0.113.21"))
    ends = {(str(flow.local), str(flow.remote)) for flow in _flows(connection)}
    assert ends == {("203.0.113.10/32", "203.0.113.20/32"), ("203.0.113.10/32", "203.0.113.21/32")}


def test_dynamic_follows_an_own_address() -> None:
    """Where there is no VIP the device's own addresses are meant, once they are known."""
    connection, plain = _child("dynamic", "dynamic"), Interface("wan", "wan1")
    assert _flows(connection, by=plain) == frozenset()
    assert {str(flow.local) for flow in _flows(connection, by=plain, network=_network())} == {"203.0.113.2/32"}


def test_a_peer_that_can_be_anywhere_is_told() -> None:
    """What follows a peer that can be anywhere is not guarded, and `check` can say so; the rest of it is."""
    connection = replace(_child("10.10.0.0/24", "dynamic"), remote=("0.0.0.0",))
    assert _flows(connection) == frozenset()
    assert unguardable(connection) == ("net",)
    assert _flows(replace(BRANCH, remote=("0.0.0.0",))) == {Flow("wan1", LAN, FAR)}
    assert unguardable(BRANCH) == ()


def test_dynamic_follows_a_name() -> None:
    """A peer with a name is where DNS says, and where it said while nothing is said.

    Broken by: ``_of_connection`` without ``peers``; ``remembering`` forgetting them.
    """
    connection = replace(_child("10.10.0.0/24", "dynamic"), remote=("peer.example",))
    intent, network = _intent(connection), _network()
    told = ways(intent, network, {"branch": frozenset({ip_address("203.0.113.77")})})
    assert {str(flow.remote) for flow in flows(intent, told)} == {"203.0.113.77/32"}
    silent = ways(intent, network, {"branch": frozenset()})
    assert flows(intent, silent) == frozenset()
    assert flows(intent, silent.remembering(told, network)) == flows(intent, told)
    assert unguardable(connection) == ()


def test_an_xfrm_interface_with_routes_by_hand() -> None:
    """What a person routes into an XFRM interface with selectors of /0 cannot be known; anything else is guarded.

    Broken by: ``routed_by_hand`` giving nothing (all that leaves by the WAN in clear would be cut, tunnel or not).
    """
    wide = replace(
        BRANCH,
        xfrm=XfrmInterface("ipsec-branch", 42),
        children=(Child("net", ("0.0.0.0/0",), ("0.0.0.0/0[6]", "10.20.0.0/24")),),
    )
    assert routed_by_hand(wide) == ("net",)
    assert {str(flow.remote) for flow in _flows(wide)} == {"10.20.0.0/24"}
    installed = replace(wide, xfrm=XfrmInterface("ipsec-branch", 42, install_routes=True))
    assert routed_by_hand(installed) == ()
    assert {str(flow.remote) for flow in _flows(installed)} == {"0.0.0.0/0", "10.20.0.0/24"}
    assert routed_by_hand(replace(BRANCH, xfrm=XfrmInterface("ipsec-branch", 42))) == ()
    assert routed_by_hand(BRANCH) == ()


def test_what_is_for_everything_is_told() -> None:
    """Both sides of a whole family guard what the gateway itself says, too; anything narrower does not."""
    child = Child("net", ("0.0.0.0/0",), ("0.0.0.0/0",))
    assert everything(child)
    assert not everything(replace(child, local_ts=("10.10.0.0/24",)))
    assert not everything(replace(child, remote_ts=("0.0.0.0/0[6]",)))


def test_macvlans_above_the_device_are_ways_out() -> None:
    """The macvlan of keepalived's ``use_vmac`` is one, by its usual name before it is there, by its link later.

    Broken by: ``_devices`` yielding the interface's device alone.
    """
    wan = replace(WAN, vrrp=VrrpDeclaration(vrid=51))
    mine = Link("vmac", 7, up=True, kind="macvlan", parent="wan1")
    other = Link("lan.vmac", 8, up=True, kind="macvlan", parent="lan")
    found = {flow.device for flow in _flows(BRANCH, by=wan, network=_network(mine, other))}
    assert found == {"wan1", "vmac", "vrrp.51", "vrrp6.51"}
    elsewhere = replace(wan, vrrp=VrrpDeclaration(vrid=51, device="lan"))
    assert {flow.device for flow in _flows(BRANCH, by=elsewhere)} == {"wan1"}


def test_a_device_that_is_gone_stays_guarded() -> None:
    """A macvlan that keepalived takes away is guarded when it comes back; one that became something else is not.

    Broken by: ``remembering`` giving back what it was called on.
    """
    intent = _intent(BRANCH)
    mine = Link("vmac", 7, up=True, kind="macvlan", parent="wan1")
    there, gone = _network(mine), _network()
    other = _network(replace(mine, parent="lan"))
    first = ways(intent, there)
    after = ways(intent, gone).remembering(first, gone)
    assert after.devices["wan"] == {"wan1", "vmac"}
    assert ways(intent, None).remembering(after, None).devices["wan"] == {"wan1", "vmac"}
    assert ways(intent, other).remembering(after, other).devices["wan"] == {"wan1"}


def test_any_is_every_uplink() -> None:
    """``any``: the devices of the default routes, tunnels never; who was one once stays one."""
    connection = replace(BRANCH, interfaces=("any",))
    intent = _intent(connection)
    routes = tuple(DefaultRoute(4, device, 100, alive=True) for device in ("wan1", "wan9", "ipsec0"))
    first = ways(intent, _network(defaults=routes))
    assert {flow.device for flow in flows(intent, first)} == {"wan1", "wan9"}
    network = _network(Link("wan9", 3, up=True))
    assert ways(intent, network).remembering(first, network).devices["any"] == {"wan1", "wan9"}


def test_nothing_known_before() -> None:
    """Remembering nothing changes nothing."""
    intent = _intent(BRANCH)
    assert ways(intent, _network()).remembering(Ways(), _network()) == ways(intent, _network())
