"""keepalived is reloaded, upgraded, and moves its addresses to and fro."""

from collections.abc import Iterator
from typing import Final

import pytest

from tests.lab.agent_conf import INTERFACE, LAN, agent_conf
from tests.lab.keepalived import CONF
from tests.lab.observe import Observer
from tests.lab.pair import Pair, agent_pair
from tests.lab.waiting import wait_until
from tests.pair.noted import note

FLAPS: Final = 20


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """A pair that hears adverts and sees keepalived's processes; each test leaves gw-a master, with traffic."""
    conf = agent_conf(interfaces=INTERFACE + LAN)
    with agent_pair(conf.text, files=conf.files) as built:
        yield built


@pytest.mark.parametrize("file", ["same", "changed"])
def test_keepalived_reloaded(file: str, pair: Pair, seen: Observer) -> None:
    """A reload of keepalived, with or without a change elsewhere in its file, loses no packet and no role.

    Broken by: ``evidence.abandoned`` giving the right up where nobody is heard, and the process alone being asked.
    """
    before = seen.sas("gw-a", "peer")
    seen.mark("fault")
    end = len(pair.a.keepalived.said())
    if file == "changed":
        text = pair.a.host.path(CONF).read_text()
        pair.a.host.write(CONF, text.replace("virtual_router_id 52", "virtual_router_id 52\n    garp_master_repeat 3"))
    pair.a.keepalived.reload()
    wait_until(lambda: "Reloading" in pair.a.keepalived.said()[end:], "keepalived reloads")
    reloaded = seen.mark("reloaded")
    wait_until(lambda: seen.mark("now") - reloaded > 1.0, "what a reload could do is done")
    seen.wait_through(by="gw-a", after="now")
    assert seen.timeline(since="fault").lost == 0
    note(seen, f"keepalived reloaded, its file {'un' * (file == 'same')}changed", evidence="none")
    after = seen.sas("gw-a", "peer")
    assert {host: reading.up for host, reading in after.items()} == {
        host: reading.up for host, reading in before.items()
    }


def test_keepalived_upgraded_on_the_standby(pair: Pair, seen: Observer) -> None:
    """A stop and start of the standby's keepalived, as in an upgrade, moves nothing."""
    seen.mark("fault")
    pair.b.keepalived.stop()
    pair.b.keepalived.start()
    now = seen.mark("started")
    wait_until(lambda: seen.mark("now") - now > 1.0, "it would have become a master")
    verdict = seen.timeline(since="fault")
    assert verdict.lost == 0
    assert verdict.double_running_ms == 0
    assert verdict.first_init_ms is None
    note(seen, "the standby's keepalived stopped and started", evidence="none")


def test_vip_flaps(pair: Pair, seen: Observer) -> None:
    """Twenty moves of the VIP within ten seconds end with one runner, one SA at the peer and no ghost."""
    seen.mark("fault")
    for flap in range(FLAPS):
        if flap % 2:
            pair.a.keepalived.promote()
        else:
            pair.a.keepalived.demote()
        now = seen.mark("flap")
        wait_until(lambda now=now: seen.mark("now") - now > 0.5, "the next flap")  # type: ignore[misc]  # a bound default
    pair.wait_for_master(pair.a)
    seen.wait_through(by="gw-a", after=seen.mark("back"))

    def settled() -> bool:
        spis = {name: {sa.initiator_spi for sa in reading.up} for name, reading in seen.sas().items()}
        return not spis["gw-b"] and len(spis["peer"]) == 1 and spis["gw-a"] == spis["peer"]

    seen.wait_for(settled, "one SA, of gw-a and the peer")
    note(seen, "the VIP flaps 20 times in 10 s", evidence="none")
    one = seen.mark("one")
    seen.wait_through(by="gw-a", after=one)
    verdict = seen.timeline(since="one")
    assert verdict.lost == 0
    assert verdict.stray_packets == 0
