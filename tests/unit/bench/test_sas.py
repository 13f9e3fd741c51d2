"""Which tunnels the bench counts as up, and what it calls left over."""

from tests.bench.sas import leftovers, up_names, up_times
from tests.lab.observe.sas import ChildSa, IkeSa


def _sa(name: str, spi: str, *, child: str = "INSTALLED", state: str = "ESTABLISHED") -> IkeSa:
    children = (ChildSa("lan", child, "c1", "c2"),) if child else ()
    return IkeSa(name, "1", state, "203.0.113.10", "203.0.113.20", spi, "ff", children)


def test_an_ike_sa_alone_is_not_up() -> None:
    """Nor one whose child is not installed, or that is still on its way."""
    sas = [_sa("a", "1"), _sa("b", "2", child=""), _sa("c", "3", child="CREATED"), _sa("d", "4", state="CONNECTING")]

    assert up_names(sas) == {"a"}
    assert up_times(sas, {"1": 5.0, "2": 6.0, "3": 7.0, "4": 8.0}) == [5.0]


def test_a_tunnel_came_up_with_the_first_of_its_sas_that_lasted() -> None:
    """One that is gone counts no more; one whose beginning was not seen has no time."""
    sas = [_sa("a", "2"), _sa("a", "3"), _sa("b", "9")]

    assert up_times(sas, {"1": 1.0, "2": 2.0, "3": 3.0}) == [2.0]


def test_what_the_peer_has_and_the_gateway_has_not_is_left_over() -> None:
    """Whether it carries anything or not."""
    at_peer = [_sa("gw", "1"), _sa("gw", "2"), _sa("gw-1", "3", child="", state="CONNECTING")]

    assert leftovers(at_peer, [_sa("site", "1"), _sa("site-4", "5")]) == 2
