"""Each instance has its own master: two at once, each with a tunnel; and one that gives nothing back."""

import re
import signal
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Self

import pytest

from tests.lab import layouts
from tests.lab.demo.faults import FAULTS
from tests.lab.layouts import layout_pair
from tests.lab.observe import Between, Observer
from tests.lab.pair import Pair
from tests.lab.peer import NAME, far_address
from tests.lab.standin import StandIn
from tests.lab.told import Told
from tests.lab.topology import address, place, vip
from tests.lab.waiting import wait_until
from tests.pair.handover import (
    FENCE_S,
    SLOWER,
    SLOWER_MS,
    assert_as_fast,
    assert_handed_over,
    assert_no_outage_before,
    sent,
    wait_for_tries,
)
from tests.pair.noted import note

SECOND: Final = f"{NAME}-1"
"""The connection of gw-b."""
FIRST_VIP: Final = vip("wan1")
SECOND_VIP: Final = vip("wan1", number=1)
MEMBERS: Final = {NAME: FIRST_VIP, SECOND: SECOND_VIP}
BECOMES_S: Final = 1.0
"""Five advert intervals: a backup that hears nobody is the master after three."""
AT_WORK: Final = 102
"""The client's address that goes by gw-b's tunnel."""


class Pings:
    """A ping each 10 ms through the second tunnel, from ``__enter__`` to ``__exit__``."""

    def __init__(self, pair: Pair) -> None:
        self._client = pair.lab.client
        self.lost = 0

    def __enter__(self) -> Self:
        source = place("lan", AT_WORK)
        argv = ("ping", "-n", "-q", "-i", "0.01", "-I", source, far_address(1))
        self._ping = self._client.spawn(*argv, stdout=-1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ping.send_signal(signal.SIGINT)
        said = self._ping.communicate(timeout=10)[0].decode()
        counts = re.search(r"(\d+) packets transmitted, (\d+) received", said)
        assert counts is not None, said
        # The last one may still be under way.
        self.lost = max(0, int(counts[1]) - int(counts[2]) - 1)


@pytest.fixture(scope="module")
def shared() -> Iterator[Pair]:
    """Each gateway is the master of one instance, and runs one tunnel; each test leaves it so."""
    with layout_pair(layouts.SHARED) as pair:
        route = ("route", "replace", "default", "via", vip("lan", number=1), "dev", "lan", "table", str(AT_WORK))
        pair.lab.client.run("ip", *route)
        yield pair


@pytest.fixture
def seen(shared: Pair) -> Iterator[Observer]:
    """The observer, traffic passing by gw-a through the first tunnel."""
    with Observer(shared.lab) as observer:
        observer.wait_through(by="gw-a")
        _wait_until_shared(shared)
        yield observer


def _wait_until_shared(pair: Pair) -> None:
    for gateway, mine, other in ((pair.a, NAME, SECOND), (pair.b, SECOND, NAME)):
        told = Told(gateway.agent)
        told.wait_for(mine, role="active", reason="up")
        told.wait_for(other, role="standby", reason="no-address", fence="fenced")


def _runner(seen: Observer, source: str) -> str | None:
    """Who runs the tunnel from *source* now."""
    return seen.running(Between(local=source)).runner_at(seen.mark("now"))


def _assert_one_runner(seen: Observer, source: str, *, since: str = "fault") -> None:
    verdict = seen.timeline(since=since, tunnel=Between(local=source), vip=source)
    assert verdict.double_running_ms <= (verdict.both_hold_ms + 1000 * FENCE_S if verdict.both_hold_ms else 0)


@pytest.mark.parametrize("who", ["gw-a", "gw-b"])
def test_one_of_two_masters_is_upgraded(who: str, shared: Pair, seen: Observer, plain_ms: float) -> None:
    """While one's keepalived is stopped the other runs both tunnels; its own loses no packet then, nor on the way back.

    Broken by: ``choose`` taking the first interface of the settings for every connection (gw-b's tunnel never runs on
    gw-b).
    """
    gateway = shared.a if who == "gw-a" else shared.b
    other = shared.other(gateway)
    moved, stays = (FIRST_VIP, SECOND_VIP) if who == "gw-a" else (SECOND_VIP, FIRST_VIP)
    with Pings(shared) as pings:
        seen.mark("fault")
        gateway.keepalived.stop()
        for name in MEMBERS:
            Told(other.agent).wait_for(name, role="active", reason="up")
            Told(gateway.agent).wait_for(name, role="standby", reason="no-address", fence="fenced")
        seen.wait_for(lambda: seen.holders(moved) == {other.name}, "the VIP moves")
        seen.wait_through(after=seen.mark("moved"))
        assert _runner(seen, moved) == other.name
        taken_ms = seen.timeline(since="fault", tunnel=Between(local=moved), vip=moved).takeover_ms
        assert taken_ms is not None
        assert taken_ms <= SLOWER * plain_ms + SLOWER_MS
        gateway.keepalived.start()
        shared.wait_for_masters()
        _wait_until_shared(shared)
        seen.wait_through(after=seen.mark("back"))
    for source in (moved, stays):
        _assert_one_runner(seen, source)
    assert {source: _runner(seen, source) for source in (moved, stays)} == {moved: who, stays: other.name}
    if who == "gw-a":
        assert pings.lost == 0
    else:
        assert seen.timeline(since="fault").lost == 0


def test_one_of_two_gateways_is_lost(shared: Pair, seen: Observer) -> None:
    """gw-a loses power: gw-b runs both tunnels, its own without a loss; when gw-a is back each runs one again.

    Broken by: ``choose`` taking the first interface of the settings for every connection.
    """
    fault = next(each for each in FAULTS if each.name == "power-off")
    with Pings(shared) as pings:
        seen.mark("fault")
        fault.make(shared, seen)
        seen.wait_through(by="gw-b", after="fault")
        for name in MEMBERS:
            Told(shared.b.agent).wait_for(name, role="active", reason="up")
    assert pings.lost == 0
    for source in MEMBERS.values():
        assert _runner(seen, source) == "gw-b"
        _assert_one_runner(seen, source)
    fault.mend(shared)
    shared.wait_for_masters()
    _wait_until_shared(shared)
    seen.wait_through(by="gw-a", after=seen.mark("back"))


def test_one_of_two_masters_dies_and_its_address_stays(shared: Pair, seen: Observer) -> None:
    """gw-a's tunnel goes to gw-b, whose own loses no packet meanwhile, and gw-a fences that one address.

    Broken by: telling instances on one device apart by the device alone.
    """
    with Pings(shared) as pings, StandIn(shared.a.host, address("peer", "wan1"), source=FIRST_VIP) as ghost:
        seen.mark("fault")
        shared.a.keepalived.kill()
        seen.wait_through(by="gw-b", after="fault")
        wait_for_tries(ghost)
        assert_handed_over(seen, source=FIRST_VIP)
        assert_no_outage_before(seen)
        told = Told(shared.a.agent)
        told.wait_for(NAME, role="standby", reason="another-master", fence="fenced")
        assert told.status()["firewall"]["fenced"] == [FIRST_VIP]
        assert told.connection(SECOND)["reason"] == "no-address"
        note(seen, "keepalived killed on one of two masters", evidence="`dbus`, `adverts` or `process`")
        shared.a.keepalived.start()
        shared.wait_for_masters()
        seen.wait_through(by="gw-a", after=seen.mark("back"))
        _wait_until_shared(shared)
    assert pings.lost == 0
    _assert_one_runner(seen, SECOND_VIP)


@pytest.fixture
def keeping() -> Iterator[Pair]:
    """A pair in which nobody preempts; gw-a is the master."""
    with layout_pair(layouts.NOPREEMPT) as pair:
        yield pair


@pytest.mark.parametrize("way", ["stopped", "killed"])
def test_nopreempt(way: str, keeping: Pair, plain_ms: float) -> None:
    """The old master's keepalived returns, and nothing moves: not a packet is lost until the new master goes, too.

    Killed, it had left its addresses behind; its return takes them away, and with that the fence. Then the takeover is
    as fast as ever. Broken by: ``Store.due`` waking nobody.
    """
    with Observer(keeping.lab) as seen:
        seen.wait_through(by="gw-a")
        seen.mark("fault")
        if way == "stopped":
            keeping.a.keepalived.stop()
        else:
            keeping.a.keepalived.kill()
        seen.wait_through(by="gw-b", after="fault")
        if way == "killed":
            Told(keeping.a.agent).wait_for(NAME, reason="another-master", fence="fenced")
        seen.mark("returns")
        keeping.a.keepalived.start()
        keeping.wait_for_master(keeping.b)
        started = seen.mark("started")
        wait_until(lambda: seen.mark("now") - started > BECOMES_S, "it would have become the master")
        Told(keeping.a.agent).wait_for(NAME, role="standby", reason="no-address", fence="fenced")
        Told(keeping.b.agent).wait_for(NAME, role="active", reason="up")
        seen.wait_through(by="gw-b", after=seen.mark("returned"))
        verdict = seen.timeline(since="returns")
        assert (verdict.lost, verdict.stray_packets, verdict.first_init_ms) == (0, 0, None)
        assert sent(seen, "gw-a", "returns") == []
        seen.mark("fault")
        keeping.b.keepalived.stop()
        seen.wait_through(by="gw-a", after="fault")
        verdict = seen.timeline(since="fault")
        assert (verdict.old, verdict.new, verdict.double_running_ms) == ("gw-b", "gw-a", 0)
        assert_as_fast(plain_ms, verdict)
        note(seen, f"`nopreempt`: the new master stops, the old one was {way} before", evidence="none")
