"""Where the tunnels of a case lead."""

from tests.bench.site import Site


def test_connections_take_turns_among_many_peers() -> None:
    """Each peer has an address, and calls are told apart by an address for each."""
    site = Site(connections=5, peers=3)

    assert [tunnel.remote_addrs for tunnel in site.tunnels()] == [
        "198.18.0.1",
        "198.18.0.2",
        "198.18.0.3",
        "198.18.0.1",
        "198.18.0.2",
    ]
    assert site.endpoints() == ("198.18.0.1", "198.18.0.2", "198.18.0.3")
    assert "198.18.0.3 : 198.19.0.3" in site.callers()


def test_one_peer_is_called_as_it_is() -> None:
    """At its own address, by the VIP."""
    site = Site(connections=2)

    assert site.endpoints() == ("203.0.113.20",)
    assert site.callers() == ""


def test_ipv6_is_outside_only() -> None:
    """Both ends of the tunnel have IPv6 addresses, what it carries has not."""
    (tunnel,) = Site(family=6).tunnels()

    assert (tunnel.local_addrs, tunnel.remote_addrs) == ("2001:db8:1::10", "2001:db8:1::20")
    assert (tunnel.local_ts, tunnel.remote_ts) == ("10.10.0.0/24", "10.20.0.0/24")
