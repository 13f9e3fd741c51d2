"""What an event about a child that came up adds to what is known of charon."""

from ipaddress import ip_address

from swanherd.core.facts import ChildSa, IkeSa
from swanherd.world.charon.mirror import Mirror


def _sa(*children: ChildSa, unique_id: int = 1) -> IkeSa:
    here, there = ip_address("203.0.113.10"), ip_address("203.0.113.20")
    return IkeSa("site", unique_id, "ESTABLISHED", here, there, initiator=True, since=5.0, children=children)


def test_second_child_joins_the_first() -> None:
    """An event names only the child that came up: the SA's other children, and other SAs, stay known."""
    mirror = Mirror()
    first, second = ChildSa("lan", 1, "INSTALLED"), ChildSa("dmz", 2, "INSTALLED")
    other = _sa(unique_id=9)
    mirror.put_sas("site", (_sa(first), other))

    assert mirror.put_up("site", [_sa(second)])
    assert mirror.view("site").sas == (_sa(first, second), other)


def test_listing_that_began_before_is_older() -> None:
    """A listing that charon was asked for before the event must not take the child away again."""
    mirror = Mirror()
    since = mirror.now

    mirror.put_up("site", [_sa(ChildSa("lan", 1, "INSTALLED"))])

    assert not mirror.fresh("site", since)
