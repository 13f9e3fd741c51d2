"""What becomes of the tunnel when charon dies, freezes, or is changed by somebody else; judged by the observer."""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import pytest

from swanherd.cli.exits import Exit
from tests.lab.agent_conf import agent_conf
from tests.lab.charon import swanctl_conf
from tests.lab.configs import read_configs
from tests.lab.loaded import Loaded, read_loaded
from tests.lab.observe import Observer
from tests.lab.pair import Gateway, Pair, agent_pair
from tests.lab.peer import NAME, as_seen_by_peer, gateway_tunnel
from tests.lab.runner import AGENT_CONF
from tests.lab.standin import StandIn
from tests.lab.told import Told
from tests.lab.topology import address, vip
from tests.lab.waiting import wait_until

BACK_S: Final = 2.0
"""From charon's return to the first packet through the tunnel, at most."""
RELOADED_S: Final = 3.0
"""From somebody's ``swanctl --load-all`` to our connection being loaded again, at most."""
TRY_SOON_S: Final = (0.3, 0.7)
"""The next try comes so soon: after charon was frozen, and before the agent can know that (it asks charon every half a
second and waits a second for the answer)."""
FROZEN_S: Final = 4.0
"""Longer than the agent waits for any answer to a fence's call (2 s), so that calls are given up and made again."""
WAITS_FOR_CHARON_S: Final = 0.5
"""An agent that took longer to answer, or whose loop stood still longer, has waited for charon: its shortest deadline
for a call is a second."""
SILENT_MS: Final = 50.0
"""From the loss of the address to the last packet."""
WRONG: Final = "another one"
"""A secret that the gateways do not have."""
SWANCTL_CONF: Final = "/etc/swanctl/swanctl.conf"


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """A pair that runs by swanherd; each test leaves it as it was: ``gw-a`` master, the tunnel up."""
    conf = agent_conf()
    with agent_pair(conf.text, files=conf.files) as pair:
        yield pair


@pytest.fixture(scope="module")
def busy() -> Iterator[Pair]:
    """The same with two connections, of which the peer refuses the second: it is retried for ever."""
    conf = agent_conf(connections=2, agent="retry_min_s = 0.2")
    with agent_pair(conf.text, files=conf.files, connections=2) as pair:
        yield pair


@pytest.fixture
def seen(pair: Pair) -> Iterator[Observer]:
    """The observer of one fault on a pair that is well."""
    pair.wait_for_master(pair.a)
    with Observer(pair.lab) as seen:
        seen.wait_through(by="gw-a")
        Told(pair.a.agent).wait_for(NAME, reason="up")
        yield seen


def _load_all(gateway: Gateway, text: str) -> None:
    """What Debian's unit does after a start and on a reload, with this swanctl.conf."""
    gateway.host.write(SWANCTL_CONF, text, mode=0o600)
    gateway.host.run("swanctl", "--load-all")


def _all(gateway: Gateway) -> tuple[Loaded, dict[str, Any]]:
    """What the gateway's charon has loaded: names of all, and all of the connections."""
    return read_loaded(gateway.host), read_configs(gateway.host)


def _wait_for_loaded(gateway: Gateway, whole: tuple[Loaded, dict[str, Any]], *, since: float) -> None:
    """Wait until the gateway's charon has all of this again, within ``RELOADED_S`` of a time."""
    left_s = since + RELOADED_S - time.monotonic()
    wait_until(lambda: _all(gateway) == whole, f"ours is loaded again on {gateway.name}", within_s=left_s)


def _reload(gateway: Gateway, old: str = "", new: str = "") -> None:
    """Put the gateway's settings into force, with *new* in the place of *old*; without arguments as they were."""
    agent = gateway.agent
    assert old in agent.config
    agent.host.write(AGENT_CONF, agent.config.replace(old, new), mode=0o600)
    agent.reload()


def _tries_soon(told: Told, name: str) -> bool:
    """Whether the pause after a refused handshake of *name* ends soon."""
    each = told.connection(name)
    return each["reason"] == "auth-failed" and TRY_SOON_S[0] < (each["next_look_in_s"] or 0.0) < TRY_SOON_S[1]


def test_charon_killed_is_back_without_a_failover(pair: Pair, seen: Observer) -> None:
    """Charon dies with -9 and is started again: traffic is back within 2 s of its start, by the same gateway.

    The other gateway sends no IPsec at all, and never has the address.
    Broken by: ``RECONNECT_S`` in ``charon.watcher`` at 5 s.
    """
    seen.mark("fault")
    pair.a.charon.kill()
    Told(pair.a.agent).wait_for(NAME, reason="charon-gone")
    back = seen.mark("back")
    pair.a.charon.start()
    through = seen.wait_through(by="gw-a", after="back")
    timeline = seen.timeline(since="fault")

    assert through.at - back < BACK_S
    assert (timeline.old, timeline.new, timeline.vip_removed_ms) == ("gw-a", "gw-a", None)
    assert [packet for packet in seen.packets(port="b-wan1", leaving=True) if packet.is_ipsec] == []
    assert len(seen.sas("peer")["peer"].up) == 1


def test_a_frozen_charon_is_reported_and_its_tunnel_held(pair: Pair, seen: Observer) -> None:
    """Charon frozen on the master: said so in status and metrics, both of which answer; awake, the same SA goes on.

    Broken by: ``PROBE_DEADLINE_S`` in ``charon.watcher`` at 100 s (nothing is said); ``decide`` releasing while charon
    is frozen (another SA in the end).
    """
    told = Told(pair.a.agent)
    before = seen.sas("peer")["peer"].up
    pair.a.charon.freeze()
    try:
        told.wait_for(NAME, reason="charon-frozen", role="active")
        scrape = told.metrics()
    finally:
        pair.a.charon.thaw()
    seen.mark("thawed")
    seen.wait_through(by="gw-a", after="thawed")
    told.wait_for(NAME, reason="up")

    assert 'reason="charon-frozen"' in scrape
    assert seen.sas("peer")["peer"].up == before
    assert seen.timeline(since="thawed").first_auth_ms is None


def test_unloaded_by_somebody_is_loaded_again(pair: Pair, seen: Observer) -> None:
    """``swanctl --load-all`` with an empty swanctl.conf: our connection is back within 3 s, and nothing is lost.

    Broken by: ``REREAD_S`` and ``REREAD_YOUNG_S`` in ``charon.looker`` at 60 s; ``plan._run`` terminating before it
    loads (packets are lost).
    """
    told = Told(pair.a.agent)
    whole, end = _all(pair.a), told.log_end()
    before = seen.sas("peer")["peer"].up
    seen.mark("fault")
    _load_all(pair.a, "")
    seen.wait_for(lambda: "unloaded-by-other" in told.reasons(NAME, after=end), "noticed", within_s=RELOADED_S)
    _wait_for_loaded(pair.a, whole, since=seen.marked("fault"))
    told.wait_for(NAME, reason="up")
    timeline = seen.timeline(since="fault")

    assert timeline.lost == 0
    assert seen.sas("peer")["peer"].up == before
    assert timeline.first_init_ms is None


def test_charon_restarted_as_its_unit_does(pair: Pair, seen: Observer) -> None:
    """Charon stopped, started, and ``swanctl --load-all`` run by its unit: all of ours is back within 3 s of that.

    Broken by: ``REREAD_YOUNG_S`` in ``charon.looker`` at 60 s.
    """
    whole = _all(pair.a)
    pair.a.charon.stop()
    pair.a.charon.start()
    began = seen.mark("load-all")
    _load_all(pair.a, "")
    _wait_for_loaded(pair.a, whole, since=began)
    through = seen.wait_through(by="gw-a", after="load-all")
    Told(pair.a.agent).wait_for(NAME, reason="up")

    assert through.at - began < RELOADED_S
    assert len(seen.sas("peer")["peer"].up) == 1


def test_somebody_elses_connection_under_our_name(pair: Pair, seen: Observer) -> None:
    """Somebody loads a connection that bears our name: it is not touched, ours says ``name-taken``, its tunnel goes on.

    When they unload it, ours is back within 3 s. ``check`` refuses a name that swanctl.conf has.
    Broken by: ``View.foreign`` always false.
    """
    told = Told(pair.a.agent)
    whole = _all(pair.a)
    before = seen.sas("peer")["peer"].up
    seen.mark("fault")
    theirs = replace(gateway_tunnel(), remote_addrs="192.0.2.77", remote_id="somebody.example")
    _load_all(pair.a, swanctl_conf(theirs))
    found = read_configs(pair.a.host)[NAME]
    told.wait_for(NAME, reason="name-taken", within_s=RELOADED_S)
    checked = pair.a.host.run("python3", "-m", "swanherd", "check", AGENT_CONF, check=False)
    _reload(pair.a, f"[connections.{NAME}]\n", f"[connections.{NAME}]\npriority = 1\n")
    told.wait_for_pass()
    _reload(pair.a)
    left_alone = read_configs(pair.a.host)[NAME]
    pair.a.host.write(SWANCTL_CONF, "")
    unloaded = seen.mark("unloaded")
    _load_all(pair.a, "")
    _wait_for_loaded(pair.a, whole, since=unloaded)
    told.wait_for(NAME, reason="up")
    timeline = seen.timeline(since="fault")

    assert left_alone == found != whole[1][NAME]
    assert checked.returncode == Exit.USAGE
    assert f"connections.{NAME}" in checked.stderr
    assert timeline.lost == 0
    assert seen.sas("peer")["peer"].up == before


def test_calls_in_flight_to_a_frozen_charon_while_the_address_goes(busy: Pair) -> None:
    """Charon freezes, takes a ``load-conn`` and an ``initiate`` and answers neither; then the address leaves.

    Nothing leaves this gateway any more, a stand-in's packets included. Status says ``fence-pending`` for as long as
    charon stands still, and answers at once, as the metrics do: the loop waits for nobody. Awake, charon carries out
    both calls, and yet has nothing of ours in the end.
    Broken by: the guard's rule in ``firewall.rules`` without its verdict (the stand-in goes on); ``fence_state`` not
    asking for charon's state; ``Unload``, or ``Terminate``, left out of ``plan._release`` (never fenced); a lane that
    waits for a silent charon within the loop (``time.sleep`` in ``runtime.lane``).
    """
    pair, told, second = busy, Told(busy.a.agent), gateway_tunnel(1)
    pair.peer.load(as_seen_by_peer(gateway_tunnel()), as_seen_by_peer(replace(second, secret=WRONG)))
    pair.peer.host.run("swanctl", "--terminate", "--force", "--ike", "gw-1")
    with Observer(pair.lab) as seen, StandIn(pair.a.host, address("peer", "wan1"), source=vip("wan1")):
        wait_until(lambda: _tries_soon(told, second.name), "the end of a long pause between two tries", within_s=20)
        journal = len(pair.a.charon.journal())
        pair.a.charon.freeze()
        frozen = seen.mark("frozen")
        try:
            _reload(pair.a, f"[connections.{NAME}]\n", f"[connections.{NAME}]\ndpd_delay_s = 31\n")
            told.wait_for(NAME, reason="loading")
            told.wait_for(second.name, reason="connecting")
            pair.a.keepalived.ask_to_stop()
            seen.wait_through(by="gw-b", after="frozen")
            told.wait_for(NAME, second.name, role="standby", fence="fence-pending")
            while time.monotonic() < frozen + FROZEN_S:
                assert {each["fence"] for each in told.status()["connections"]} == {"fence-pending"}
                assert "swanherd_" in told.metrics()
        finally:
            pair.a.charon.thaw()
        told.wait_for(NAME, second.name, fence="fenced")
        left, here = read_loaded(pair.a.host), seen.sas("gw-a")["gw-a"]
        timeline = seen.timeline(since="frozen")
    ran = pair.a.charon.journal()[journal:]

    assert "vici initiate CHILD_SA" in ran
    assert f"vici connection: {NAME}\n" in ran
    assert not left.connections
    assert here.sas == ()
    assert (timeline.new, timeline.double_running_ms, timeline.stray_packets) == ("gw-b", 0, 0)
    assert timeline.vip_removed_ms is not None
    assert timeline.last_of_old_ms is not None
    assert timeline.last_of_old_ms <= timeline.vip_removed_ms + SILENT_MS
    assert told.slowest_s < WAITS_FOR_CHARON_S
    assert told.lag_ms < WAITS_FOR_CHARON_S * 1000
