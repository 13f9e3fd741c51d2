"""Default routes as facts: preference, life and death, and what the kernel does without a word."""

import pytest

from swanherd.core.facts import DefaultRoute, Known

from .watched import PAIR, Watched, ip, shown, watching

pytestmark = pytest.mark.usefixtures("namespace")

TWO = (
    *PAIR,
    "link add lte type veth peer name far2",
    "link set lte up",
    "link set far2 up",
    "addr add 203.0.113.2/24 dev wan",
    "addr add 198.51.100.2/24 dev lte",
    "addr add 2001:db8:1::2/64 dev wan nodad",
    "addr add 2001:db8:2::2/64 dev lte nodad",
)
"""Two devices with carrier and addresses."""


def ways(watched: Watched, family: int = 4) -> list[tuple[str, int, bool]]:
    """Device, metric and life of each default route of *family*, in order."""
    return [(way.device, way.metric, way.alive) for way in watched.network.defaults if way.family == family]


async def test_the_lowest_metric_comes_first() -> None:
    """IPv4 and IPv6 routes are ordered by metric however they came; without one it is 0 and 1024."""
    ip(*TWO)
    async with watching() as watched:
        ip("route add default via 198.51.100.1 metric 200", "route add default via 203.0.113.1 metric 100")
        ip("route add ::/0 via 2001:db8:2::1", "route add ::/0 via 2001:db8:1::1 metric 10")
        await watched.until(lambda: len(watched.network.defaults) == 4)
        assert ways(watched) == [("wan", 100, True), ("lte", 200, True)]
        assert ways(watched, 6) == [("wan", 10, True), ("lte", 1024, True)]
        ip("route add default via 198.51.100.1")
        await watched.until(lambda: ways(watched)[0] == ("lte", 0, True))
        ip("route del default via 198.51.100.1 metric 0", "route del default via 203.0.113.1 metric 100")
        await watched.until(lambda: ways(watched) == [("lte", 200, True)])


async def test_a_replaced_route_is_one_route() -> None:
    """`ip route replace` leaves no ghost of what it replaced, IPv4 and IPv6."""
    ip(*TWO, "route add default via 203.0.113.1", "route add ::/0 via 2001:db8:1::1")
    async with watching() as watched:
        ip("route replace default via 198.51.100.1", "route replace ::/0 via 2001:db8:2::1")
        await watched.until(lambda: ways(watched) == [("lte", 0, True)] and ways(watched, 6) == [("lte", 1024, True)])


async def test_a_route_is_dead_while_its_link_has_no_carrier() -> None:
    """Carrier lost: the route is there and not alive (the kernel says nothing about it); carrier back: alive."""
    ip(*TWO, "route add default via 203.0.113.1 metric 100", "route add default via 198.51.100.1 metric 200")
    async with watching() as watched:
        watched.forget()
        ip("link set far down")
        await watched.until(lambda: ways(watched) == [("wan", 100, False), ("lte", 200, True)])
        states = [state.value for state in watched.states if isinstance(state, Known)]
        assert any(change.defaults for change in watched.changes)
        assert not [state for state in states if state.defaults[0].alive and not state.links["wan"].up]
        ip("link set far up")
        await watched.until(lambda: ways(watched) == [("wan", 100, True), ("lte", 200, True)])


async def test_ipv4_routes_go_silently_with_a_device_that_is_set_down() -> None:
    """The kernel removes them without an event; they are gone here too, and the slow check had nothing to find."""
    ip(*TWO, "route add default via 203.0.113.1 metric 100")
    async with watching(check_s=0.5) as watched:
        ip("link set wan down")
        await watched.until(lambda: not watched.network.defaults, deadline_s=0.4)
        ip("link set wan up")
        await watched.until(lambda: watched.network.links["wan"].up)
        assert not ways(watched)
        assert watched.source.counters.missed == 0


@pytest.mark.parametrize("last", [True, False])
async def test_ipv4_routes_go_silently_with_their_address(*, last: bool) -> None:
    """With the source address that a route names, and with the last address of its device."""
    ip(*TWO, *(() if last else ("addr add 203.0.113.3/24 dev wan",)))
    ip("route add default via 203.0.113.1 metric 100" + ("" if last else " src 203.0.113.3"))
    async with watching() as watched:
        assert ways(watched)
        ip("addr del 203.0.113.2/24 dev wan" if last else "addr del 203.0.113.3/24 dev wan")
        await watched.until(lambda: not ways(watched), deadline_s=1)
        assert not shown("route", "show", "default")


async def test_each_hop_of_a_shared_route_lives_by_itself() -> None:
    """Multipath, IPv4 and IPv6: one fact a hop, in the kernel's order; when a link dies its hop dies, and comes back.

    Broken by: ``Table._resolve_routes`` giving every hop the life of the first.
    """
    ip(*TWO, "route add default nexthop via 203.0.113.1 dev wan nexthop via 198.51.100.1 dev lte")
    ip("route add ::/0 nexthop via inet6 2001:db8:1::1 dev wan nexthop via inet6 2001:db8:2::1 dev lte")
    both = [("wan", 0, True), ("lte", 0, True)]
    async with watching() as watched:
        assert (ways(watched), [way[0] for way in ways(watched, 6)]) == (both, ["wan", "lte"])
        ip("link set far down")
        await watched.until(lambda: ways(watched) == [("wan", 0, False), ("lte", 0, True)])
        await watched.until(
            lambda: ("lte", 1024, True) in ways(watched, 6) and ("wan", 1024, True) not in ways(watched, 6)
        )
        ip("link set far up")
        await watched.until(lambda: ways(watched) == both and all(way[2] for way in ways(watched, 6)))
        ip("link set far down", "link set far2 down")
        await watched.until(lambda: ways(watched) == [("wan", 0, False), ("lte", 0, False)])


async def test_a_nexthop_object_is_followed() -> None:
    """A route by nexthop object names its device like any other."""
    ip(*TWO, "nexthop add id 7 via 203.0.113.1 dev wan", "nexthop add id 8 via 198.51.100.1 dev lte")
    async with watching() as watched:
        ip("route add default nhid 7")
        await watched.until(lambda: ways(watched) == [("wan", 0, True)])
        ip("route replace default nhid 8")
        await watched.until(lambda: ways(watched) == [("lte", 0, True)])


async def test_behind_a_rejecting_route_nothing_counts() -> None:
    """An unreachable default of better metric hides what is behind it, in its own family only."""
    ip(*TWO, "route add default via 203.0.113.1 metric 100", "route add ::/0 via 2001:db8:1::1")
    async with watching() as watched:
        ip("route add unreachable default metric 50")
        await watched.until(lambda: not ways(watched))
        assert ways(watched, 6) == [("wan", 1024, True)]
        ip("route add default via 198.51.100.1 metric 10", "route del unreachable default metric 50")
        await watched.until(lambda: ways(watched) == [("lte", 10, True), ("wan", 100, True)])


async def test_other_tables_and_destinations_are_not_default_routes() -> None:
    """Only 0.0.0.0/0 and ::/0 of the main table, without a source or a TOS, choose a way out."""
    ip(*TWO)
    async with watching() as watched:
        ip(
            "route add default via 203.0.113.1 table 100",
            "route add 192.0.2.0/24 via 203.0.113.1",
            "route add 0.0.0.0/1 via 203.0.113.1",
            "route add default via 203.0.113.1 tos 0x10",
            "route add ::/0 via 2001:db8:1::1 table 100",
            "route add default via 198.51.100.1 metric 9",
        )
        await watched.until(lambda: watched.network.defaults)
        assert watched.network.defaults == (DefaultRoute(family=4, device="lte", metric=9, alive=True),)


async def test_a_storm_of_other_routes_is_not_even_heard() -> None:
    """A routing daemon moves 20 000 routes: the smallest receive buffer does not overflow."""
    ip(*TWO)
    async with watching(receive_buffer_bytes=4096) as watched:
        ip(*(f"route add 10.{n >> 8}.{n & 255}.0/24 via 203.0.113.1" for n in range(20_000)))
        ip("route add default via 203.0.113.1")
        await watched.until(lambda: ways(watched) == [("wan", 0, True)])
        assert watched.source.counters.overflows == 0
