"""contrib/ is run as it is shipped: each keepalived example, the notify hook, charon's file, the agent without root."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from tests.lab.agent_conf import INTERFACE, agent_conf
from tests.lab.keepalived import CONF
from tests.lab.observe import Observer
from tests.lab.pair import SETTLED_S, Gateway, Pair
from tests.lab.shipped import shipped_pair
from tests.lab.told import Told
from tests.lab.waiting import wait_until

COMPLETE: Final = agent_conf(
    agent='notify_fifo = "/run/swanherd/notify.fifo"',
    interfaces=INTERFACE.replace("0.2 }", '0.2, evidence = ["adverts", "process", "dbus", "fifo"] }'),
)
LEAST: Final = agent_conf(interfaces=INTERFACE.replace(", advert_interval_s = 0.2", ""))


@pytest.fixture(scope="module")
def complete() -> Iterator[Pair]:
    """The complete example on both; each test leaves it carrying traffic."""
    with shipped_pair({"gw-a": "pair/gateway-a", "gw-b": "pair/gateway-b"}, COMPLETE) as pair:
        pair.wait_for_traffic()
        yield pair


@contextmanager
def least(example: str) -> Iterator[Pair]:
    """A pair with an example that moves the WAN's address alone, so that nothing passes from behind it."""
    with shipped_pair(dict.fromkeys(("gw-a", "gw-b"), example), LEAST) as pair:
        _active(pair)
        yield pair


def _active(pair: Pair) -> Gateway:
    """The one gateway whose agent runs the tunnel, the other standing by; waits until it is so."""

    def reasons() -> dict[str, str]:
        return {gateway.name: Told(gateway.agent).connection("site")["reason"] for gateway in pair.gateways}

    wait_until(lambda: list(reasons().values()).count("up") == 1, "one runs it", within_s=SETTLED_S, every_s=0.02)
    told = reasons()
    return next(gateway for gateway in pair.gateways if told[gateway.name] == "up")


def _counted(gateway: Gateway, name: str) -> float:
    """A counter of the agent's."""
    (value,) = re.findall(rf"^swanherd_{name}_total (\S+)$", Told(gateway.agent).metrics(), re.MULTILINE)
    return float(value)


def _assert_runs_in_one_place(pair: Pair, gateway: Gateway) -> None:
    with Observer(pair.lab) as seen:
        up = {host: reading.up for host, reading in seen.sas().items()}
    assert len(up[gateway.name]) == len(up["peer"]) == 1
    assert up[pair.other(gateway).name] == ()


@pytest.mark.parametrize("example", ["pair/gateway-a", "pair/gateway-b", "minimal", "notify"])
def test_keepalived_has_nothing_to_say(complete: Pair, example: str) -> None:
    """``keepalived -t`` takes each example without a word, and says what is wrong with one that is misspelt."""
    host = complete.a.host
    mine = host.path(CONF).read_text()
    try:
        host.run("cp", f"/src/contrib/keepalived/{example}.conf", CONF)
        assert host.run("sh", "-c", "keepalived -t 2>&1").stdout == ""
        host.run("sed", "-i", "s/virtual_router_id/virtual_ruoter_id/", CONF)
        assert "virtual_ruoter_id" in host.run("sh", "-c", "keepalived -t 2>&1", check=False).stdout
    finally:
        host.write(CONF, mine)


def test_complete_pair_uses_all_that_it_declares(complete: Pair) -> None:
    """The tunnel moves to the other gateway; D-Bus was read and the FIFO heard, by an agent that is not root.

    Broken by: ``enable_dbus`` or ``vrrp_notify_fifo`` taken out of the example; ``group = vici`` out of charon's.
    """
    master = _active(complete)
    other = complete.other(master)
    lines = _counted(other, "notify_fifo_lines")
    with Observer(complete.lab) as seen:
        seen.wait_through(by=master.name)
        seen.mark("fault")
        master.keepalived.stop()
        seen.wait_through(by=other.name, after="fault")
        verdict = seen.timeline(since="fault")
    assert verdict.double_running_ms == 0
    assert verdict.stray_packets == 0
    wait_until(lambda: _counted(other, "notify_fifo_lines") > lines, "the FIFO is heard")
    assert _counted(other, "keepalived_reads") > 0
    sources = {source["name"]: source["detail"] for source in Told(other.agent).status()["sources"]}
    assert not any(sources.values()), sources
    master.keepalived.start()
    complete.wait_for_traffic()
    assert _active(complete) is other, "nopreempt"


def test_complete_pair_moves_both_addresses_together(complete: Pair) -> None:
    """A gateway that loses its LAN gives the WAN's address away too, and with it the tunnel.

    Broken by: ``vrrp_sync_group`` taken out of the example (the WAN stays, and nothing passes).
    """
    master = _active(complete)
    with Observer(complete.lab) as seen:
        seen.wait_through(by=master.name)
        seen.mark("fault")
        master.cut("lan")
        seen.wait_through(by=complete.other(master).name, after="fault")
        verdict = seen.timeline(since="fault")
    assert verdict.double_running_ms == 0
    assert not master.holds()
    master.restore("lan")
    complete.wait_for_traffic()


def test_minimal_example_is_enough() -> None:
    """By the address, the adverts and the processes alone the tunnel follows the address."""
    with least("minimal") as pair:
        master = _active(pair)
        _assert_runs_in_one_place(pair, master)
        master.keepalived.stop()
        wait_until(lambda: _active(pair) is not master, "the other one runs it", within_s=SETTLED_S)
        _assert_runs_in_one_place(pair, pair.other(master))


def test_notify_hook() -> None:
    """The hook's hints are heard; and without an agent it does no harm and says nothing.

    Broken by: a wrong path in contrib/keepalived/notify.sh; ``notify`` taken out of notify.conf.
    """
    with least("notify") as pair:
        master = _active(pair)
        other = pair.other(master)
        before = _counted(other, "notify_hints")
        master.keepalived.stop()
        wait_until(lambda: _counted(other, "notify_hints") > before, "a hint is heard", within_s=SETTLED_S)
        other.agent.kill()
        end = len(other.keepalived.said())
        other.keepalived.stop()
        said = other.keepalived.said()[end:]
        assert "exited with status" not in said
        assert "Unsafe permissions" not in other.keepalived.said()
