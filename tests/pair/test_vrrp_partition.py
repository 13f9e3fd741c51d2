"""The gateways do not hear each other for a while, and both are masters; then they do again."""

from collections.abc import Iterator
from typing import Final

import pytest

from tests.lab.agent_conf import INTERFACE, LAN, agent_conf
from tests.lab.observe import Observer
from tests.lab.pair import Gateway, Pair, agent_pair
from tests.lab.partition import Partition
from tests.lab.peer import NAME
from tests.lab.told import Told
from tests.lab.topology import address, vip
from tests.lab.waiting import wait_until
from tests.pair.noted import note

DEAF_DAEMONS: Final = """\
table inet deaf {
    chain input { type filter hook input priority -300; policy accept; meta l4proto 112 drop; }
}
"""
"""On both gateways: adverts are on the wire, and no daemon hears them."""
BACK_S: Final = 2.2
"""Two seconds and one advert interval: from the healing to the first packet through."""


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """A pair that hears adverts and sees keepalived's processes; each test leaves gw-a master, with traffic."""
    conf = agent_conf(interfaces=INTERFACE + LAN)
    with agent_pair(conf.text, files=conf.files) as built:
        yield built


def _is_new(seen: Observer, gateway: Gateway, what: str) -> bool:
    """Whether the agent tells that it heard this about the WAN's VIP after the fault."""
    evidence = next(each for each in Told(gateway.agent).status()["evidence"] if each["interface"] == "wan")
    age_s = evidence[f"{what}_age_s"]
    return age_s is not None and age_s < seen.mark("now") - seen.marked("fault")


@pytest.mark.parametrize("where", [Partition.IN_THE_GATEWAYS, Partition.ON_THE_WIRE])
def test_partition_healed(where: Partition, pair: Pair) -> None:
    """While it lasts both may run; healed, one does, with an SA that its peer has, too, and packets pass in time.

    Nobody helps. Broken by: ``evidence.displaced_before`` answering None (the SA that the other gateway has replaced
    at the peer is kept, and nothing passes); ``Instance.claim`` noting nothing (there is no sign of the other one).
    """
    with Observer(pair.lab) as seen:
        seen.wait_through(by="gw-a")
        old = {sa.initiator_spi for sa in seen.sas("peer")["peer"].up}
        seen.mark("fault")
        where.make(pair.lab)
        seen.wait_for(lambda: seen.holders(vip("wan1")) == {"gw-a", "gw-b"}, "both are masters")
        # No advert comes through, but the announcement of the new master does: all that there is to see of it.
        wait_until(lambda: _is_new(seen, pair.a, "claimed"), "gw-a tells that another one claims its VIP")
        assert not _is_new(seen, pair.a, "other_advert")
        assert Told(pair.a.agent).connection(NAME)["notices"] == {}
        wait_until(
            lambda: not old & {sa.initiator_spi for sa in seen.sas("peer")["peer"].up}, "gw-b displaces gw-a's SA"
        )
        healed = seen.mark("healed")
        where.heal(pair.lab)
        seen.wait_for(lambda: seen.holders(vip("wan1")) == {"gw-a"}, "one is the master")
        first = seen.wait_through(by="gw-a", after="healed")

        assert first.at - healed < BACK_S

        def settled() -> bool:
            spis = {name: {sa.initiator_spi for sa in reading.up} for name, reading in seen.sas().items()}
            return not spis["gw-b"] and len(spis["peer"]) == 1 and spis["gw-a"] == spis["peer"]

        seen.wait_for(settled, "one SA, of gw-a and the peer")
        settled_at = seen.mark("settled")
        Told(pair.a.agent).wait_for(NAME, role="active", reason="up")
        seen.wait_through(by="gw-a", after=settled_at)
        verdict = seen.timeline(since="settled")
        assert verdict.lost == 0
        assert verdict.stray_packets == 0
        assert seen.running().runner_at(settled_at) == "gw-a"
        note(seen, f"VRRP partition ({where}), from its healing on", evidence="`adverts`", since="healed")


def test_two_masters_are_told(pair: Pair) -> None:
    """Where only the daemons are deaf, both agents hear the wire, tell of two masters, and take nothing away.

    Broken by: ``another_master`` saying nothing of a router that is heard while our own keepalived vouches.
    """
    with Observer(pair.lab) as seen:
        seen.wait_through(by="gw-a")
        for gateway in pair.gateways:
            gateway.host.run("nft", "-f", "-", text_in=DEAF_DAEMONS)
        seen.wait_for(lambda: seen.holders(vip("wan1")) == {"gw-a", "gw-b"}, "both are masters")
        for gateway in pair.gateways:
            told, other = Told(gateway.agent), address(pair.other(gateway).name, "wan1")
            wait_until(lambda told=told: "two-masters" in told.connection(NAME)["notices"], "it says so")  # type: ignore[misc]  # a bound default
            assert other in told.connection(NAME)["notices"]["two-masters"]
            assert told.connection(NAME)["role"] == "active"
        for gateway in pair.gateways:
            gateway.host.run("nft", "delete", "table", "inet", "deaf")
        pair.wait_for_master(pair.a)
        told = Told(pair.a.agent)
        wait_until(lambda: told.connection(NAME)["notices"] == {}, "it says so no more")
        told.wait_for(NAME, role="active", reason="up")
        seen.wait_through(by="gw-a", after=seen.mark("healed"))
        wait_until(lambda: seen.sas("gw-b")["gw-b"].sas == (), "no SA is left on gw-b")
