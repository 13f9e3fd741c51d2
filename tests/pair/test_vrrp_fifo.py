"""keepalived's notify FIFO: full, with stale lines, unlinked, replaced by another: only hints are lost."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest

from tests.lab.agent_conf import agent_conf
from tests.lab.footprint import Footprint
from tests.lab.keepalived import Vrrp
from tests.lab.observe import Observer
from tests.lab.pair import Gateway, Pair, agent_pair
from tests.lab.peer import NAME
from tests.lab.told import Told
from tests.lab.waiting import wait_until
from tests.pair.handover import assert_fails_over
from tests.pair.noted import note

FIFO: Final = "/run/notify.fifo"
EVIDENCE: Final = '["dbus", "adverts", "process", "fifo"]'
INTERFACES: Final = f"""\
[interfaces.wan]
device = "wan1"
vips = ["203.0.113.10"]
vrrp = {{ instance = "VI_WAN1", vrid = 51, advert_interval_s = 0.2, evidence = {EVIDENCE} }}

[interfaces.lan]
device = "lan"
vips = ["10.10.0.1"]
vrrp = {{ instance = "VI_LAN", vrid = 52, advert_interval_s = 0.2, evidence = {EVIDENCE} }}
"""
STALE: Final = b'INSTANCE "VI_WAN1" FAULT 150\nINSTANCE "VI_LAN" FAULT 150\n'
MANY_LINES: Final = 1000
"""A pipe takes twice as many."""
RENEWALS: Final = 6
"""More than descriptors may be left over for other reasons."""


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """Each test leaves gw-a master, with traffic, and its agent reading the FIFO."""
    conf = agent_conf(agent=f'notify_fifo = "{FIFO}"', interfaces=INTERFACES)
    vrrp = Vrrp(dbus=True, extra_global=f"vrrp_notify_fifo {FIFO}")
    with agent_pair(conf.text, files=conf.files, vrrp=vrrp) as built:
        with Observer(built.lab) as observer:
            observer.wait_through(by="gw-a")
            assert_fails_over(built, observer)  # what is opened at the first takeover is no leak
        yield built


def _path(gateway: Gateway) -> Path:
    return gateway.host.path(FIFO)


def _full_of_stale_lines(gateway: Gateway) -> None:
    """It was full when the agent came, of lines that say FAULT."""
    gateway.agent.kill()
    keeper = os.open(_path(gateway), os.O_RDWR | os.O_NONBLOCK)
    with suppress(BlockingIOError):
        while True:
            os.write(keeper, STALE)
    gateway.agent.start()
    _wait_for_count(gateway, "fifo_lines", MANY_LINES)
    os.close(keeper)


def _stale_lines_while_it_runs(gateway: Gateway) -> None:
    before = _counts(gateway)["fifo_lines"]
    _path(gateway).write_bytes(STALE * 20)
    _wait_for_count(gateway, "fifo_lines", before + 40)


def _unlinked(gateway: Gateway) -> None:
    """Keepalived goes on writing to the one that is gone."""
    _path(gateway).unlink()
    wait_until(_path(gateway).is_fifo, "the agent makes another", within_s=20.0)


def _made_anew(gateway: Gateway) -> None:
    """Somebody puts another FIFO in its place, again and again."""
    for _ in range(RENEWALS):
        before = _counts(gateway)["fifo_reopens"]
        other = _path(gateway).with_name("other")
        os.mkfifo(other)
        other.rename(_path(gateway))
        _wait_for_count(gateway, "fifo_reopens", before + 1)


def _no_fifo_any_more(gateway: Gateway) -> None:
    """Something else is there for a while: left alone, and told."""
    _path(gateway).unlink()
    _path(gateway).write_text("keep")
    told = Told(gateway.agent)
    wait_until(lambda: f"notify: {FIFO}: is no FIFO" in told.status()["troubles"], "it is told", within_s=20.0)
    assert _path(gateway).read_text() == "keep"
    _path(gateway).unlink()
    wait_until(lambda: told.status()["well"], "it is well again", within_s=20.0)


def _counts(gateway: Gateway) -> dict[str, Any]:
    return dict(Told(gateway.agent).status()["counts"]["keepalived"])


def _wait_for_count(gateway: Gateway, what: str, least: int) -> None:
    wait_until(lambda: _counts(gateway)[what] >= least, f"{what} reaches {least}", within_s=20.0)


WAYS: Final[dict[str, Callable[[Gateway], None]]] = {
    "full of stale lines": _full_of_stale_lines,
    "stale lines": _stale_lines_while_it_runs,
    "unlinked": _unlinked,
    "made anew": _made_anew,
    "no FIFO": _no_fifo_any_more,
}


@pytest.mark.parametrize("way", WAYS)
def test_only_hints_are_lost(way: str, pair: Pair, seen: Observer) -> None:
    """No line is believed and none is needed: nothing moves, and a failover goes as ever.

    Broken by: ``Fifo._check`` not comparing what is open with what is there (the agent reads a dead one for ever), or
    ``_close`` leaving the old one open (descriptors).
    """
    before = Footprint.of(pair.a.agent)
    seen.mark("fault")
    WAYS[way](pair.a)
    Told(pair.a.agent).wait_for(NAME, role="active", reason="up")
    verdict = seen.timeline(since="fault")
    assert verdict.lost == 0
    assert verdict.first_init_ms is None
    note(seen, f"the notify FIFO: {way}", evidence="none")
    assert_fails_over(pair, seen)
    before.assert_given_back(pair.a.agent)
