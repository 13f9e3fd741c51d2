"""Rules of the leak guard as others write them: pure conversions."""

from ipaddress import ip_network

import pytest

from swanherd.core.facts import Flow
from swanherd.world.firewall import leaks
from swanherd.world.firewall.codec import attribute, attributes, nest, text
from swanherd.world.firewall.errors import ForeignElementError
from swanherd.world.firewall.expressions import AT_LEAST, EQUAL, UNEQUAL

UDP = Flow("wan", ip_network("10.10.0.0/24"), ip_network("10.20.0.0/16"), 17, (1000, 2000), (53, 53))


def _as_newer_nft_loads_it(rule: bytes, operator: int) -> bytes:
    """*rule* with ``range`` for a lower and an upper bound, as nft from 1.1 on has it."""
    listed = [item for _, item in attributes(rule)]
    parts = []
    for item in listed:
        said = dict(attributes(item))
        values = dict(attributes(said.get(2, b"")))
        parts.append((text(said[1]), values, item))
    at = next(i for i, (name, how, _) in enumerate(parts) if name == "cmp" and how[2] == AT_LEAST.to_bytes(4))
    (_, low, _), (_, high, _) = parts[at : at + 2]
    both = (attribute(1, low[1]), attribute(2, operator), attribute(3, low[3]), attribute(4, high[3]))
    ranged = attribute(1, "range") + nest(2, *both)
    return b"".join(nest(1, item) for item in (*listed[:at], ranged, *listed[at + 2 :]))


def test_a_range_that_newer_nft_has_made_is_ours() -> None:
    """Somebody who saves the ruleset and loads it again with nft 1.1 has our rules still.

    Broken by: ``expressions_of`` without its arm for ``range``.
    """
    rule, _ = leaks.rules(UDP)

    assert leaks.as_sent(_as_newer_nft_loads_it(rule, EQUAL)) == rule


def test_all_but_a_range_is_not() -> None:
    """Broken by: ``expressions_of`` not looking at how it compares."""
    rule, _ = leaks.rules(UDP)

    with pytest.raises(ForeignElementError):
        leaks.as_sent(_as_newer_nft_loads_it(rule, UNEQUAL))
