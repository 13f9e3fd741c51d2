"""keepalived is killed or frozen, and its addresses stay behind: one gateway runs the tunnel all the same.

The old master keeps the tunnel until the other gateway's first advert, and from then on nothing may leave it. A
stand-in there sends IPsec from the VIP all the time: charon's own silence would prove nothing.
"""

import os
import signal
from collections.abc import Iterator
from typing import Final

import pytest

from tests.lab.agent_conf import INTERFACE, LAN, agent_conf
from tests.lab.daemon import is_alive
from tests.lab.observe import Observer
from tests.lab.pair import Gateway, Pair, agent_pair
from tests.lab.peer import NAME
from tests.lab.standin import StandIn
from tests.lab.told import Told
from tests.lab.topology import address, vip
from tests.lab.waiting import wait_until
from tests.pair.handover import (
    FENCE_S,
    assert_handed_over,
    assert_no_outage_before,
    flush_neighbours,
    sent,
    wait_for_tries,
)
from tests.pair.noted import note

ADVERT_S: Final = 0.2
GRACE_INTERVALS: Final = 2.5
ENDS: Final = {"killed": "`dbus`, `adverts` or `process`", "frozen": "`dbus` or `adverts`"}
"""The evidence that an end of keepalived needs."""


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """A pair that hears adverts and sees keepalived's processes; each test leaves gw-a master, with traffic."""
    conf = agent_conf(interfaces=INTERFACE + LAN)
    with agent_pair(conf.text, files=conf.files) as built:
        yield built


def _ghost(gateway: Gateway) -> StandIn:
    return StandIn(gateway.host, address("peer", "wan1"), source=vip("wan1"))


def _back_to_a(pair: Pair, seen: Observer) -> None:
    pair.wait_for_master(pair.a)
    seen.wait_through(by="gw-a", after=seen.mark("back"))
    Told(pair.a.agent).wait_for(NAME, role="active", reason="up")


@pytest.mark.parametrize("way", ["killed", "frozen"])
def test_keepalived_ends_and_its_address_stays(way: str, pair: Pair, seen: Observer) -> None:
    """The old master keeps the tunnel until the other's first advert, and is silent 50 ms after it.

    Its SA goes with that, and it answers for its VIPs no more: with every neighbour cache flushed after the takeover,
    the tunnel carries both ways. Broken by: ``evidence.another_master`` answering None (both run it).
    """
    with _ghost(pair.a) as ghost:
        seen.mark("fault")
        _end(pair, way)
        seen.wait_through(by="gw-b", after="fault")
        wait_for_tries(ghost)
        assert pair.a.holds()
        assert_handed_over(seen)
        assert_no_outage_before(seen)
        Told(pair.a.agent).wait_for(NAME, role="standby", reason="another-master", fence="fenced")
        assert seen.sas("gw-a")["gw-a"].sas == ()
        assert "ip address del" in Told(pair.a.agent).connection(NAME)["notices"]["stale-vip"]
        note(seen, f"keepalived {way}, its VIP stays behind", evidence=ENDS[way])
        flush_neighbours(pair, seen)
        assert sent(seen, "gw-a", "flushed") == []
        note(seen, f"the same ({way}), then every neighbour cache is flushed", evidence=ENDS[way], since="flushed")
    _mend(pair, way)
    _back_to_a(pair, seen)
    # A thawed keepalived answers all adverts that it has slept through: gw-b may have been the master once more.
    wait_until(lambda: seen.sas("gw-b")["gw-b"].sas == (), "no SA is left on gw-b")


def _end(pair: Pair, way: str) -> None:
    if way == "killed":
        pair.a.keepalived.kill()
    else:
        pair.a.keepalived.freeze()


def _mend(pair: Pair, way: str) -> None:
    if way == "killed":
        pair.a.keepalived.start()
    else:
        pair.a.keepalived.thaw()


def test_agent_restarted_on_an_address_left_behind(pair: Pair, seen: Observer) -> None:
    """What is fenced stays so: through a restart of the agent, and through the other's silence.

    Then the other gateway's keepalived is killed as well, and leaves its VIP behind, too: it keeps the tunnel, since
    nobody else is heard. Only the old master's own keepalived ends the fence. Broken by: ``evidence.fenced`` answering
    None (the old master takes the tunnel over when it has been restarted and hears nobody).
    """
    with _ghost(pair.a) as ghost:
        seen.mark("fault")
        pair.a.keepalived.kill()
        seen.wait_through(by="gw-b", after="fault")
        told = Told(pair.a.agent)
        told.wait_for(NAME, reason="another-master", fence="fenced")
        pair.a.agent.kill()
        pair.a.agent.start()
        told.wait_for(NAME, role="standby", reason="another-master", fence="fenced")
        pair.b.keepalived.kill()
        killed = seen.mark("both killed")
        # Longer than any wait for adverts in the agent, or in a backup.
        wait_until(lambda: seen.mark("now") - killed > 6 * ADVERT_S, "silence")
        pair.a.agent.kill()
        pair.a.agent.start()
        told.wait_for(NAME, role="standby", reason="another-master", fence="fenced")
        wait_for_tries(ghost)
        assert seen.timeline(since="both killed").lost == 0
        assert seen.running().runner_at(killed) == "gw-b"
        assert_handed_over(seen)
        note(
            seen,
            "keepalived killed, swanherd restarted, the other gateway's keepalived killed too",
            evidence=ENDS["killed"],
        )
    pair.b.keepalived.start()
    pair.a.keepalived.start()
    _back_to_a(pair, seen)


@pytest.mark.parametrize("way", ["killed", "frozen"])
def test_nobody_else_is_there(way: str, pair: Pair, seen: Observer) -> None:
    """Without another gateway the tunnel stays while nobody else is heard, and through a restart of the agent.

    Broken by: ``Situations._running`` naming nobody before charon was read (the restarted agent fences itself).
    """
    pair.b.keepalived.stop()
    seen.mark("fault")
    _end(pair, way)
    killed = seen.mark("ended")
    wait_until(lambda: seen.mark("now") - killed > 6 * ADVERT_S, "silence")
    told = Told(pair.a.agent)
    told.wait_for(NAME, role="active", reason="up")
    pair.a.agent.kill()
    pair.a.agent.start()
    told.wait_for(NAME, role="active", reason="up")
    seen.wait_through(by="gw-a", after=seen.mark("restarted"))
    verdict = seen.timeline(since="fault")
    assert verdict.lost == 0
    assert verdict.first_init_ms is None
    note(seen, f"keepalived {way}, and no other gateway is alive", evidence="`adverts`, or none at all")
    _mend(pair, way)
    pair.b.keepalived.start()
    _back_to_a(pair, seen)


@pytest.mark.parametrize("which", ["child", "parent"])
def test_one_of_keepaliveds_processes_killed(which: str, pair: Pair, seen: Observer) -> None:
    """The VRRP child killed: its parent starts another. The parent killed: the child ends. One runner, no ghost."""
    with _ghost(pair.a):
        seen.mark("fault")
        parent, *children = pair.a.keepalived.pids()
        if which == "child":
            os.kill(children[0], signal.SIGKILL)
        else:
            os.kill(parent, signal.SIGKILL)
            pair.a.keepalived.wait_ended()
            wait_until(lambda: not any(is_alive(pid) for pid in children), "the child ends with its parent")
            pair.a.keepalived.start()
        wait_until(lambda: len(pair.a.keepalived.pids()) > 1, "keepalived is whole again")
        _back_to_a(pair, seen)
        verdict = seen.timeline(since="fault")
        # Both may be masters for the moment in which they have not heard each other yet: what has the VIP runs.
        assert verdict.double_running_ms <= verdict.both_hold_ms + 1000 * FENCE_S
        note(seen, f"keepalived's {which} process killed", evidence="none")
    wait_until(lambda: seen.sas("gw-b")["gw-b"].sas == (), "no SA is left on gw-b")


@pytest.fixture(scope="module")
def deaf() -> Iterator[Pair]:
    """A pair whose agents hear no adverts: they only see that keepalived's processes live."""
    conf = agent_conf(interfaces=(INTERFACE + LAN).replace("0.2 }", '0.2, evidence = ["process"] }'))
    with agent_pair(conf.text, files=conf.files) as built:
        yield built


def test_keepalived_killed_and_nobody_listens(deaf: Pair) -> None:
    """Without the listener the old master stands down by itself 2.5 advert intervals after keepalived's death.

    A backup waits for three: one runner, although the old master hears nobody. Broken by: ``evidence.abandoned``
    answering None (both run it).
    """
    with Observer(deaf.lab) as seen, _ghost(deaf.a) as ghost:
        seen.wait_through(by="gw-a")
        seen.mark("fault")
        deaf.a.keepalived.kill()
        killed = seen.mark("killed")
        seen.wait_through(by="gw-b", after="fault")
        wait_for_tries(ghost)
        assert sent(seen, "gw-a", killed + GRACE_INTERVALS * ADVERT_S + FENCE_S) == []
        assert max(packet.at for packet in sent(seen, "gw-a", "fault")) > killed + 2 * ADVERT_S
        verdict = seen.timeline(since="fault")
        assert verdict.double_running_ms == 0
        assert verdict.new == "gw-b"
        note(seen, "keepalived killed, and nobody listens", evidence="`process` (this row has nothing else)")
        told = Told(deaf.a.agent)
        told.wait_for(NAME, role="standby", fence="fenced")
        assert "keepalived-gone" in told.reasons(NAME)
        deaf.a.keepalived.start()
        _back_to_a(deaf, seen)
