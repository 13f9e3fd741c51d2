"""A wire as elements of sets, and back: pure conversions."""

import itertools
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swanherd.core.facts import ANY_PORTS, Flow, Pair, Wire
from swanherd.world.firewall.elements import Element, contents, outermost, wire
from swanherd.world.firewall.errors import ForeignElementError

ADDRESSES = st.ip_addresses(v=4, network="10.0.0.0/28") | st.ip_addresses(v=6, network="2001:db8::/124")


@st.composite
def pairs(draw: st.DrawFn) -> Pair:
    """Pairs that often overlap."""
    source, remote = draw(ADDRESSES), draw(ADDRESSES)
    remote = remote if remote.version == source.version else source
    return Pair(source, ip_network((remote, draw(st.integers(0, remote.max_prefixlen))), strict=False))


@st.composite
def flows(draw: st.DrawFn) -> Flow:
    """Flows with everything that a selector can say."""

    def network(version: int) -> IPv4Network | IPv6Network:
        address = draw(st.ip_addresses(v=6) if version == 6 else st.ip_addresses(v=4))
        return ip_network((address, draw(st.integers(0, address.max_prefixlen))), strict=False)

    def ports(highest: int) -> tuple[int, int]:
        low, high = sorted(draw(st.tuples(st.integers(0, highest), st.integers(0, highest))))
        return draw(st.sampled_from([ANY_PORTS, (low, high)]))

    version = draw(st.sampled_from([4, 6]))
    protocol = draw(st.sampled_from([0, 1, 6, 17, 47, 58]))
    highest = {1: 255, 58: 255, 6: 65535, 17: 65535}.get(protocol)
    both = (ports(highest), ports(highest)) if highest is not None else (ANY_PORTS, ANY_PORTS)
    name = draw(st.text("abcdef0123456789.-", min_size=1, max_size=15))
    return Flow(name, network(version), network(version), protocol, *both)


WIRES = st.builds(
    Wire,
    guarded=st.frozensets(ADDRESSES, max_size=5),
    ours=st.frozensets(pairs(), max_size=20),
    fenced=st.frozensets(ADDRESSES, max_size=5),
    fenced_pairs=st.frozensets(pairs(), max_size=20),
    leaks=st.frozensets(flows(), max_size=5),
    mobike=st.booleans(),
    ike_ports=st.frozensets(st.integers(1, 65535), max_size=4).map(lambda ports: tuple(sorted(ports))),
)


def _covered(pair: Pair, by: frozenset[Pair]) -> bool:
    remote = pair.remote
    for other in by:
        if other.source == pair.source and (
            (
                isinstance(remote, IPv4Network)
                and isinstance(other.remote, IPv4Network)
                and remote.subnet_of(other.remote)
            )
            or (
                isinstance(remote, IPv6Network)
                and isinstance(other.remote, IPv6Network)
                and remote.subnet_of(other.remote)
            )
        ):
            return True
    return False


@given(WIRES)
def test_what_is_read_back_says_the_same(asked: Wire) -> None:
    """Addresses and ports come back as they were; every pair is covered by what comes back, and nothing is added."""
    back = wire(contents(asked))
    assert (back.guarded, back.fenced, back.ike_ports) == (asked.guarded, asked.fenced, asked.ike_ports)
    assert back.leaks == asked.leaks
    for name in ("ours", "fenced_pairs"):
        read, meant = getattr(back, name), getattr(asked, name)
        assert read <= meant
        assert all(_covered(pair, read) for pair in meant)
    assert contents(back) == contents(asked)


@given(WIRES)
def test_no_element_lies_within_another(asked: Wire) -> None:
    """The kernel would refuse it, or, worse, later delete the wrong one of the two."""
    for elements in contents(asked).values():
        ranges = sorted((item.key, item.end) for item in elements if item.end)
        assert all(before[1] < after[0] for before, after in itertools.pairwise(ranges))


def test_neighbouring_networks_stay_two() -> None:
    """Only what lies inside another one goes; what merely adjoins is kept as it was asked for."""
    source = ip_address("192.0.2.1")
    halves = frozenset({Pair(source, ip_network("10.0.0.0/25")), Pair(source, ip_network("10.0.0.128/25"))})
    assert wire(contents(Wire(ours=halves))).ours == halves
    assert len(list(outermost({Element(b"\1", b"\4"), Element(b"\2", b"\3"), Element(b"\5", b"\6")}))) == 2


@pytest.mark.parametrize(
    ("first", "last"),
    [("10.0.0.1", "10.0.0.6"), ("10.0.0.1", "10.0.0.2"), ("10.0.0.0", "10.0.0.4")],
)
def test_a_range_that_is_no_network_is_foreign(first: str, last: str) -> None:
    """We only write networks, so such an element is somebody else's."""
    source = IPv4Address("192.0.2.1").packed
    item = Element(source + IPv4Address(first).packed, source + IPv4Address(last).packed)
    with pytest.raises(ForeignElementError):
        wire({"ours_networks4": frozenset({item})})


def test_a_pair_of_two_families_is_a_bug() -> None:
    """It cannot be meant, so it is not silently left out."""
    with pytest.raises(ValueError, match="two families"):
        contents(Wire(ours=frozenset({Pair(IPv6Address("::1"), IPv4Network("10.0.0.0/8"))})))
