"""The clock is set by an hour, either way, on both gateways, the peer and everybody: nothing changes.

Only in the virtual machine: nobody's own clock is set. The observer dates by the kernel's wall clock, so it has no
verdict here; charon's SAs at both ends, the agents' own telling, and pings judge.
"""

import os
import time
from collections.abc import Iterator
from typing import Final

import pytest

from tests.kernel.dual import TUNNELS, VRRP
from tests.lab.guest import IN_GUEST
from tests.lab.observe.observer import VICI
from tests.lab.observe.sas import read_sas
from tests.lab.pair import Pair
from tests.lab.told import Told
from tests.lab.waiting import wait_until

HOUR_S: Final = 3600.0
LONG_S: Final = 6 * VRRP.advert_s
"""Longer than anything waits for adverts."""
NAMES: Final = tuple(tunnel.name for tunnel in TUNNELS.values())

pytestmark = pytest.mark.skipif(IN_GUEST not in os.environ, reason="would set the clock of the machine that you sit at")


@pytest.fixture
def clock() -> Iterator[None]:
    """The clock is right again afterwards."""
    off_s = time.time() - time.monotonic()
    yield
    time.clock_settime(time.CLOCK_REALTIME, time.monotonic() + off_s)


def _sas(pair: Pair) -> dict[str, set[str]]:
    hosts = (pair.a.host, pair.b.host, pair.peer.host)
    return {host.name: {sa.initiator_spi for sa in read_sas(host.name, host.path(VICI)).up} for host in hosts}


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("step_s", [HOUR_S, -HOUR_S], ids=["ahead", "back"])
def test_clock_is_set(step_s: float, pair: Pair) -> None:
    """No role or reason changes and no SA is another one, though every packet's stamp is an hour off.

    Broken by: ``KernelClock.look`` not following a step (adverts are dated an hour ago: silent, or never).
    """
    for gateway in pair.gateways:
        Told(gateway.agent).wait_for(*NAMES, within_s=120.0, well=True)
    wait_until(pair.passes, "traffic passes", within_s=60.0)
    before = _sas(pair)
    ends = {gateway.name: Told(gateway.agent).log_end() for gateway in pair.gateways}
    time.clock_settime(time.CLOCK_REALTIME, time.time() + step_s)
    stepped = time.monotonic()
    wait_until(lambda: time.monotonic() - stepped > LONG_S, "every wait for an advert is over", within_s=10 * LONG_S)
    wait_until(pair.passes, "traffic passes", within_s=60.0)
    for gateway in pair.gateways:
        told = Told(gateway.agent)
        assert [told.reasons(name, after=ends[gateway.name]) for name in NAMES] == [[], []]
        told.wait_for(*NAMES, within_s=60.0, well=True)
    assert _sas(pair) == before
    assert pair.master() is pair.a
