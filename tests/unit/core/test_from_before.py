"""An SA that is older than the virtual address which it runs from: another gateway may have had that meanwhile."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from swanherd.core.decide import decide
from swanherd.core.facts import HeldAddress, Known, Network
from swanherd.core.intent import IPAddress
from swanherd.core.view import Memory
from swanherd.core.words import Reason
from tests.unit.core.settings import VIP_WAN
from tests.unit.core.views import MASTER, NOW, RUNNING, sa, view

UP_SINCE = 900.0
OWN = ip_address("192.0.2.200")
CHILDREN = ("alpha-1", "alpha-2")


def born(*moments: float | None, address: IPAddress = VIP_WAN) -> Known[Network]:
    """The address on as many devices as there are moments at which the kernel was given it."""
    entries = tuple(
        HeldAddress(address, 24, f"eth{n}", usable=True, since=NOW - 1, watched=False, born=at)
        for n, at in enumerate(moments)
    )
    return Known(replace(MASTER, addresses={**MASTER.addresses, address: entries}), 1.0)


@pytest.mark.parametrize(
    ("moments", "replaced"),
    [
        pytest.param((UP_SINCE + 50,), True, id="the address left and returned, and nobody was there to see it"),
        pytest.param((UP_SINCE - 0.5,), False, id="the address came, then the SA"),
        pytest.param((None,), False, id="not known"),
        pytest.param((UP_SINCE + 50, UP_SINCE - 50), False, id="another device has had it all the time"),
    ],
)
def test_an_agent_that_starts_finds_an_sa(moments: tuple[float | None, ...], *, replaced: bool) -> None:
    """Charon keeps an SA whose address leaves and returns; its peer may have thrown it away for another gateway's.

    Found by a random sequence: agent and keepalived killed, the other gateway takes over and dies too,
    keepalived started (it takes the address away and brings it back), the agent started.
    Broken by: ``sas._displaced`` answering False; by it looking at ``since``, which a restart begins anew.
    """
    decision = decide(
        view(network=born(*moments), here=replace(RUNNING, sas=(sa(*CHILDREN, since=UP_SINCE),))), Memory(), NOW
    )
    assert decision.terminate == ((1,) if replaced else ())
    assert (decision.reason is Reason.DISPLACED) == replaced


def test_an_address_that_no_vrrp_moves_is_not_concerned() -> None:
    """Nobody else has a device's own address: an SA from it is as good as before, whenever it was put here."""
    own = sa(*CHILDREN, unique_id=2, since=UP_SINCE, local=OWN)
    decision = decide(view(network=born(UP_SINCE + 50, address=OWN), here=replace(RUNNING, sas=(own,))), Memory(), NOW)
    assert decision.reason is not Reason.DISPLACED
