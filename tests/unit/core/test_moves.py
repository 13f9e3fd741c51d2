"""Moves of a connection that goes on to be run here: make before break, and how often."""

from dataclasses import replace
from typing import Final

import pytest

from swanherd.core.decide import decide
from swanherd.core.decision import Decision
from swanherd.core.facts import CharonConnection, IkeSa, Known, Network
from swanherd.core.intent import IPAddress
from swanherd.core.plan import Initiate, Load, Terminate, plan
from swanherd.core.record import Entry
from swanherd.core.view import Memory, View
from swanherd.core.words import Reason, Role
from tests.unit.core.charon import expected
from tests.unit.core.settings import BETA, VIP_LTE, VIP_WAN
from tests.unit.core.views import NOW, VERSION, digest, network, sa, view

BY_WAN: Final = (("eth0", 10), ("eth1", 20))
BY_LTE: Final = (("eth1", 5), ("eth0", 10))
ONLY_LTE: Final = (("eth1", 5),)
HERE: Final = ((str(VIP_WAN), "eth0"), (str(VIP_LTE), "eth1"))
DIGESTS: Final = {source: digest(BETA, source) for source in (VIP_WAN, VIP_LTE)}
OLD: Final = replace(sa("beta-1", unique_id=1, local=VIP_WAN), name="beta")
NEW: Final = replace(sa("beta-1", unique_id=2, local=VIP_LTE), name="beta")
HALF: Final = replace(NEW, state="CONNECTING", since=None, children=())


def beta(network_: Network, *sas: IkeSa, loaded: IPAddress = VIP_WAN) -> View:
    """BETA, which has both VIPs, with *sas* in charon, and loaded from *loaded*."""
    here = CharonConnection(config=expected(BETA, loaded), secret=VERSION, sas=sas)
    return view(
        name="beta",
        connection=BETA,
        network=Known(network_, 1.0),
        here=here,
        entry=Entry(frozenset(DIGESTS.values()), BETA.shared_id),
        digests=DIGESTS,
    )


def by(*defaults: tuple[str, int], down: tuple[str, ...] = ()) -> Network:
    """Both VIPs here, and these default routes."""
    return network(*HERE, defaults=defaults, down=down)


def decided(seen: View, memory: Memory | None = None, *, now: float = NOW) -> Decision:
    """The decision after one that ran from the WAN."""
    return decide(seen, memory or Memory(source=VIP_WAN, role=Role.ACTIVE), now)


def steps(seen: View, decision: Decision) -> list[type]:
    """The kinds of step that the plan for it has."""
    return [type(step) for step in plan(decision, seen).steps]


def test_the_new_way_is_made_before_the_old_one_is_broken() -> None:
    """Both ways live: the new SA is initiated and the old one stays until the new one carries everything, then it goes.

    Broken by: ``sas.unwanted`` without ``goes_on``; ``up_on_way`` taking every SA.
    """
    seen = beta(by(*BY_LTE), OLD)
    first = decided(seen)
    assert (first.source, first.reason, first.terminate) == (VIP_LTE, Reason.MOVING, ())
    assert steps(seen, first) == [Load, Initiate]

    half = decided(beta(by(*BY_LTE), OLD, HALF, loaded=VIP_LTE), first.memory)
    assert (half.terminate, half.initiate) == ((), ())

    seen = beta(by(*BY_LTE), OLD, NEW, loaded=VIP_LTE)
    made = decided(seen, first.memory)
    assert made.terminate == (OLD.unique_id,)
    assert steps(seen, made) == [Terminate]

    done = decided(beta(by(*BY_LTE), NEW, loaded=VIP_LTE), first.memory)
    assert (done.reason, done.terminate) == (Reason.UP, ())


@pytest.mark.parametrize(
    ("seen", "forfeited"),
    [
        (by(*ONLY_LTE), True),
        (by(*BY_LTE, down=("eth0",)), True),
        (network(HERE[1], defaults=BY_LTE), True),
    ],
    ids=["no default route by it", "link down", "address gone"],
)
def test_a_dead_way_is_broken_first(seen: Network, *, forfeited: bool) -> None:
    """Whatever has killed the old way: its SA goes at once, before the new one is initiated, and nothing delays that.

    Broken by: ``source.living`` that looks at no route; ``forfeited`` left out of the plan's key.
    """
    there = beta(seen, OLD)
    decision = decided(there)
    assert decision.source == VIP_LTE
    assert decision.terminate == (OLD.unique_id,)
    assert steps(there, decision) == [Load, Terminate, Initiate]
    others = plan(replace(decision, forfeited=()), there)
    assert (plan(decision, there).key != others.key) is forfeited


def test_a_way_that_comes_and_goes_takes_the_tunnel_along_once() -> None:
    """The first move is made at once; within ``move_hold_s`` after it the tunnel stays, and the reason says why.

    Broken by: ``moves.settle`` returning the choice as it is.
    """
    first = decided(beta(by(*BY_LTE), OLD))
    back = beta(by(*BY_WAN), NEW, loaded=VIP_LTE)
    soon = decided(back, first.memory, now=NOW + 1)
    assert (soon.source, soon.reason, soon.terminate) == (VIP_LTE, Reason.UP, ())
    assert soon.look_again_at == NOW + BETA.move_hold_s
    later = decided(back, soon.memory, now=NOW + BETA.move_hold_s)
    assert (later.source, later.reason) == (VIP_WAN, Reason.MOVING)


@pytest.mark.parametrize(
    "seen",
    [
        beta(by(("eth0", 10)), NEW, loaded=VIP_LTE),
        beta(by(*BY_WAN, down=("eth1",)), NEW, loaded=VIP_LTE),
        beta(network(HERE[0], defaults=BY_WAN), NEW, loaded=VIP_LTE),
        beta(by(*BY_WAN), loaded=VIP_LTE),
    ],
    ids=["route gone", "link down", "address gone", "nothing up by it"],
)
def test_a_way_that_has_died_holds_nobody(seen: View) -> None:
    """Within ``move_hold_s`` the tunnel leaves a way that has died, or by which nothing is up, at once.

    Broken by: ``settle`` without ``living``, or without looking for an SA.
    """
    first = decided(beta(by(*BY_LTE), OLD))
    assert decided(seen, first.memory, now=NOW + 1).source == VIP_WAN


def test_the_right_is_lost_at_once_in_the_middle_of_a_move() -> None:
    """No VIP left: standby, whatever is remembered of a move; and coming back is the first move again.

    Broken by: ``_standby`` keeping ``moved_at``.
    """
    first = decided(beta(by(*BY_LTE), OLD))
    lost = decided(beta(network(defaults=BY_LTE), OLD, HALF, loaded=VIP_LTE), first.memory, now=NOW + 1)
    assert (lost.role, lost.memory.source, lost.memory.moved_at) == (Role.STANDBY, None, None)


def test_shared_default_routes_choose_the_interface_that_is_listed_first() -> None:
    """ECMP: of the hops of one route, the connection's own order decides, not the kernel's; a dead hop does not count.

    Broken by: ``_by_default_route`` looking at the first hop only.
    """
    shared = (("eth1", 10), ("eth0", 10))
    assert decided(beta(by(*shared)), Memory()).source == VIP_WAN
    assert decided(beta(by(*shared, down=("eth0",))), Memory()).source == VIP_LTE
