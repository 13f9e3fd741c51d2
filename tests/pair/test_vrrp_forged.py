"""Somebody on the WAN sends adverts that no gateway has sent: nobody's role changes, and each is counted.

Adverts are one second apart, so that a busy machine does not pass for a silent router.
"""

import socket
from collections.abc import Callable, Iterator
from typing import Final

import pytest

from tests.component.vrrp.forge import Forged, frame
from tests.lab import keepalived
from tests.lab.agent_conf import INTERFACE, LAN, agent_conf
from tests.lab.namespaces import socket_in
from tests.lab.observe import Observer
from tests.lab.observe.packets import Vrrp
from tests.lab.pair import Pair, agent_pair
from tests.lab.peer import NAME
from tests.lab.told import Told
from tests.lab.topology import port
from tests.lab.waiting import wait_until
from tests.pair.noted import note

ADVERT_S: Final = 1.0
EACH: Final = 20
"""Of every kind, over four seconds: longer than anything in the agent or in keepalived waits for adverts."""
EVERY_S: Final = 0.2
# keepalived itself believes some of them (an off-link sender, no priority): the lowest priority changes nothing there.
WRONG: Final = {
    "ttl": Forged(ttl=254, priority=1),
    "vrid": Forged(vrid=77, priority=1),
    "off-link": Forged(source="192.0.2.3", priority=1),
    "checksum": Forged(checksum=1, priority=1),
    "priority-0": Forged(priority=0),
}
RIGHT: Final = Forged(priority=1)
"""From gw-b's own address, with nothing wrong."""


class Forger:
    """Sends from gw-b's cable."""

    def __init__(self, pair: Pair) -> None:
        self._sock = socket_in(pair.b.host.netns, socket.AF_PACKET, socket.SOCK_RAW)
        self._sock.bind(("wan1", 0))

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()

    def send(self, seen: Observer, *kinds: Forged, look: Callable[[], None] = lambda: None) -> None:
        """Send each of *kinds*, ``EACH`` times, look after each time, and see the last on gw-a's cable."""
        for _ in range(EACH):
            for kind in kinds:
                self._sock.send(frame(kind.packet()))
            sent = seen.mark("sent")
            look()
            wait_until(lambda sent=sent: seen.mark("now") - sent > EVERY_S, "the next round")  # type: ignore[misc]  # a bound default
        arrived = seen.packets(port=port("gw-a", "wan1"), leaving=False, content=Vrrp, since=sent - EVERY_S / 2)
        assert len(arrived) >= len(kinds)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """A pair that hears adverts and sees keepalived's processes; each test leaves gw-a master, with traffic."""
    interfaces = (INTERFACE + LAN).replace("advert_interval_s = 0.2", f"advert_interval_s = {ADVERT_S}")
    conf = agent_conf(interfaces=interfaces)
    with agent_pair(conf.text, files=conf.files, vrrp=keepalived.Vrrp(advert_s=ADVERT_S)) as built:
        yield built


@pytest.fixture
def forger(pair: Pair) -> Iterator[Forger]:
    """On gw-b's cable."""
    forger = Forger(pair)
    yield forger
    forger.close()


def _counts(told: Told) -> dict[str, int]:
    told.wait_for_pass()
    return dict(told.status()["counts"]["adverts"])


def _counted(told: Told, before: dict[str, int], *reasons: str) -> None:
    """All of each kind are in the status, and in the metrics."""
    after = _counts(told)
    assert {reason: after[reason] - before[reason] for reason in reasons} == dict.fromkeys(reasons, EACH)
    metrics = told.metrics()
    for reason in set(reasons) - {"heard"}:
        assert f'swanherd_adverts_ignored_total{{reason="{reason}"}} {after[reason]}.0' in metrics


def test_our_keepalived_vouches(pair: Pair, seen: Observer, forger: Forger) -> None:
    """Wrong adverts, and right ones while our own leave, take nothing away; a contested VIP is shown while it lasts.

    Broken by: ``evidence.another_master`` fencing although ``vouches``.
    """
    told = Told(pair.a.agent)
    before, log_end = _counts(told), told.log_end()
    seen.mark("fault")
    forger.send(seen, *WRONG.values())
    assert "two-masters" not in told.connection(NAME)["notices"]
    old = {sa.initiator_spi for sa in seen.sas("peer")["peer"].up}
    right = seen.mark("right")
    notices: dict[str, str] = {}
    forger.send(seen, RIGHT, look=lambda: notices.update(told.connection(NAME)["notices"]))
    assert "203.0.113.3" in notices["two-masters"]
    _counted(told, before, *WRONG, "heard")
    assert seen.timeline(since="fault", until=right).lost == 0
    assert seen.timeline(since="fault").double_running_ms == 0
    note(seen, "wrong adverts while our keepalived vouches", evidence="none", until=right)
    # That another one spoke makes the SA doubtful afterwards (it is renewed, by design); no role changes.
    seen.wait_for(lambda: not old & {sa.initiator_spi for sa in seen.sas("peer")["peer"].up}, "the SA is renewed")
    seen.wait_through(by="gw-a", after=seen.mark("renewed"))
    told.wait_for(NAME, role="active", reason="up")
    assert set(told.reasons(NAME, after=log_end)) <= {"up", "displaced", "connecting"}
    assert pair.master() is pair.a


def test_keepalived_is_dead_and_nobody_else_is_there(pair: Pair, seen: Observer, forger: Forger) -> None:
    """With nothing to vouch for a VIP that was left behind, a wrong advert still takes nothing away; a right one does.

    Nor does what was said while our keepalived still vouched (the test before this). Broken by: ``Instance.refuses``
    without its look at the TTL, the link, the checksum or priority 0, or ``another_master`` counting an advert from
    before our own last one (the tunnel is fenced, and nobody has it).
    """
    told = Told(pair.a.agent)
    pair.b.keepalived.stop()
    before = _counts(told)
    seen.mark("fault")
    pair.a.keepalived.kill()
    forger.send(seen, *WRONG.values())
    _counted(told, before, *WRONG)
    verdict = seen.timeline(since="fault")
    assert verdict.lost == 0
    assert verdict.first_init_ms is None
    told.wait_for(NAME, role="active", reason="up")
    note(seen, "wrong adverts while our keepalived is dead and alone", evidence="`adverts`, or none at all")
    forger.send(seen, RIGHT)
    told.wait_for(NAME, role="standby", reason="another-master", fence="fenced")
    pair.a.keepalived.start()
    pair.b.keepalived.start()
    pair.wait_for_master(pair.a)
    seen.wait_through(by="gw-a", after=seen.mark("back"))
