"""keepalived's word cannot be had: the bus is dead, frozen, new or absent, or a call is never answered.

WAN and LAN are declared with D-Bus and keepalived's processes alone, so that nothing else can make up for the bus.
"""

from collections.abc import Iterator
from typing import Final

import pytest

from tests.lab.agent_conf import agent_conf
from tests.lab.bus import SOCKET
from tests.lab.daemon import Daemon
from tests.lab.footprint import Footprint
from tests.lab.keepalived import Vrrp
from tests.lab.observe import Observer
from tests.lab.pair import Gateway, Pair, agent_pair
from tests.lab.peer import NAME
from tests.lab.runner import AGENT_CONF
from tests.lab.told import Told
from tests.lab.waiting import wait_until
from tests.pair.handover import assert_fails_over, assert_one_ran
from tests.pair.noted import note

ADVERT_S: Final = 0.2
INTERFACES: Final = """\
[interfaces.wan]
device = "wan1"
vips = ["203.0.113.10"]
vrrp = { instance = "VI_WAN1", vrid = 51, advert_interval_s = 0.2, evidence = ["dbus", "process"] }

[interfaces.lan]
device = "lan"
vips = ["10.10.0.1"]
vrrp = { instance = "VI_LAN", vrid = 52, advert_interval_s = 0.2, evidence = ["dbus", "process"] }
"""
SILENCE_S: Final = 6 * ADVERT_S
"""Longer than any wait in the agent for a word of keepalived's, and than a backup waits for adverts."""
CALLS: Final = 30
"""So many more reads would have been asked for meanwhile, if one waited not for the other."""


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """Each test leaves gw-a master, with traffic, and both on their buses."""
    conf = agent_conf(interfaces=INTERFACES)
    with agent_pair(conf.text, files=conf.files, vrrp=Vrrp(dbus=True)) as built:
        for gateway, word in ((built.a, "master"), (built.b, "backup")):
            _wait_for_word(gateway, word)
        with Observer(built.lab) as observer:
            observer.wait_through(by="gw-a")
            assert_fails_over(built, observer)  # what is opened at the first takeover is no leak
        yield built


def _word(gateway: Gateway) -> str:
    """What the agent says of D-Bus's word about the WAN."""
    (wan,) = [each for each in Told(gateway.agent).status()["evidence"] if each["interface"] == "wan"]
    return str(wan["dbus"]["says"])


def _wait_for_word(gateway: Gateway, word: str) -> None:
    wait_until(lambda: _word(gateway) == word, f"{gateway.name}'s word is {word}", within_s=20.0)


def _assert_nothing_happens(seen: Observer, since: str) -> None:
    """No packet is lost and nothing is initiated until every wait for a word is over."""
    now = seen.mark("now")
    wait_until(lambda: seen.mark("later") - now > SILENCE_S, "every wait is over")
    verdict = seen.timeline(since=since)
    assert verdict.lost == 0
    assert verdict.first_init_ms is None


def _restart(keepalived: Daemon) -> None:
    keepalived.stop()
    keepalived.start()


@pytest.mark.parametrize("way", ["killed", "frozen"])
def test_bus_is_gone_and_returns(way: str, pair: Pair, seen: Observer) -> None:
    """Without a bus, with one that does not answer, and with a new one without keepalived: roles go by the address.

    Nothing moves, not when an agent starts without a bus either, and when the VIP moves the tunnel follows it. A
    keepalived that comes to the new bus is read. No task hangs, no descriptor is left. Broken by: ``evidence._dead``
    taking ``no-bus`` for a death, or leaving ``lives`` out (the master fences itself).
    """
    before = {each.name: Footprint.of(each.agent) for each in pair.gateways}
    seen.mark("fault")
    for gateway in pair.gateways:
        if way == "killed":
            gateway.bus.kill()
            gateway.host.path(SOCKET).unlink()
        else:
            gateway.bus.freeze()
    for gateway in pair.gateways:
        _wait_for_word(gateway, "no-bus")
    if way == "killed":
        pair.a.agent.kill()
        pair.a.agent.start()
        _wait_for_word(pair.a, "no-bus")
    _assert_nothing_happens(seen, "fault")
    note(seen, f"dbus-daemon {way} on both gateways", evidence="none: the address is enough")
    assert_fails_over(pair, seen)
    seen.mark("mended")
    if way == "killed":
        _new_bus(pair, seen)
    else:
        for gateway in pair.gateways:
            gateway.bus.thaw()
    for gateway, state in ((pair.a, "master"), (pair.b, "backup")):
        _wait_for_word(gateway, state)
        before[gateway.name].assert_given_back(gateway.agent)


def _new_bus(pair: Pair, seen: Observer) -> None:
    """Both have one, and keepalived comes to it when it is restarted: 2.2.7 never comes to another bus by itself."""
    for gateway in pair.gateways:
        gateway.bus.start()
    _wait_for_word(pair.a, "gone")  # its agent never saw keepalived on a bus
    _wait_for_word(pair.b, "not-on-new-bus")
    _assert_nothing_happens(seen, "mended")
    _restart(pair.b.keepalived)
    _wait_for_word(pair.b, "backup")
    restarted = seen.mark("restarted")
    _restart(pair.a.keepalived)
    pair.wait_for_master(pair.a)
    seen.wait_through(by="gw-a", after=restarted)
    assert_one_ran(seen, "restarted")


def test_a_call_is_never_answered(pair: Pair, seen: Observer) -> None:
    """What has keepalived's name takes calls and answers none: at most one waits, and adverts keep the right.

    keepalived itself lives, and its adverts leave, so it is no frozen one. Broken by: ``InstanceReader._answered``
    asking again before the late answer has come (a silence is counted for each call), or ``_blame`` taking silence for
    a BACKUP.
    """
    text = pair.a.agent.config
    with_adverts = text.replace('["dbus", "process"]', '["dbus", "adverts", "process"]')
    before = Footprint.of(pair.a.agent)
    seen.mark("fault")
    pair.a.host.write(AGENT_CONF, with_adverts, mode=0o600)
    pair.a.agent.reload()
    pair.a.bus.kill()
    pair.a.bus.start()
    _wait_for_word(pair.a, "not-on-new-bus")
    mute = Daemon(pair.a.host, "python3", "-m", "tests.lab.mute", log="mute.log")
    mute.start()
    _wait_for_word(pair.a, "silent")
    silences = Told(pair.a.agent).status()["counts"]["keepalived"]["silences"]
    with_mute = Footprint.of(pair.a.agent)
    for _ in range(CALLS):
        pair.a.host.run("python3", "-m", "swanherd", "notify")
    _assert_nothing_happens(seen, "fault")
    Told(pair.a.agent).wait_for(NAME, role="active", reason="up")
    Told(pair.a.agent).wait_for_pass()
    after = Footprint.of(pair.a.agent)
    assert after.tasks - with_mute.tasks < CALLS / 3, "each look has left a call behind"
    assert len(after.descriptors) - len(with_mute.descriptors) < CALLS / 3
    more = Told(pair.a.agent).status()["counts"]["keepalived"]["silences"] - silences
    assert more < CALLS / 3, "each look was a call more that nobody answered"
    mute.kill()
    _wait_for_word(pair.a, "gone")
    _assert_nothing_happens(seen, "fault")
    pair.a.host.write(AGENT_CONF, text, mode=0o600)
    pair.a.agent.reload()
    restarted = seen.mark("restarted")
    _restart(pair.a.keepalived)
    pair.wait_for_master(pair.a)
    seen.wait_through(by="gw-a", after=restarted)
    _wait_for_word(pair.a, "master")
    before.assert_given_back(pair.a.agent)
