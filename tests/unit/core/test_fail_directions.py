"""What each role does when a source turns Unknown: the table of fail directions, row by row."""

from dataclasses import replace

import pytest

from swanherd.core.decide import decide
from swanherd.core.decision import Goal
from swanherd.core.facts import (
    NETWORK_HOLD_S,
    CharonConnection,
    CharonIdentity,
    Known,
    LoadedConfig,
    Path,
    Unknown,
    Wire,
)
from swanherd.core.plan import Initiate, Load, LoadSecret, ReadBack, Terminate, Unload, plan
from swanherd.core.routes import PathFact
from swanherd.core.view import LaneFacts, Memory, View
from swanherd.core.wire import standing, wanted
from swanherd.core.words import Fence, Reason, Role
from tests.unit.core.settings import BETA, VERSIONS, VIP_LTE, VIP_WAN
from tests.unit.core.test_moves import NEW, beta, by
from tests.unit.core.views import BACKUP, CHARON, LOADED, MASTER, NOTHING, NOW, REMOTE, RUNNING, entry, view

HERE = Known(MASTER, 1.0)
LOST_NOW = Unknown(NOW - 0.1, "overflow", MASTER)
LOST_LONG = Unknown(NOW - NETWORK_HOLD_S, "overflow", MASTER)
LOST_BACKUP = Unknown(NOW - 0.1, "overflow", BACKUP)
GONE: Unknown[CharonIdentity] = Unknown(NOW - 1, "gone")
FROZEN: Unknown[CharonIdentity] = Unknown(NOW - 1, "frozen")
NO_TABLE: Known[Wire | None] = Known(None, 1.0)
NO_NFT: Unknown[Wire | None] = Unknown(NOW - 1, "nft is not usable")
FOREIGN = CharonConnection(config=LoadedConfig("alpha", "theirs.?", VIP_WAN))

NEVER_TOLD: Unknown[Path] = Unknown(NOW - 1, "mute")


def routed(path: PathFact) -> View:
    """BETA, whose route to the endpoint chooses, up by its second interface."""
    seen = beta(by(("eth0", 10)), NEW, loaded=VIP_LTE)
    return replace(seen, connection=replace(BETA, source_by="route-to-endpoint"), path=path)


ROWS: dict[str, tuple[View, Role, Goal, Reason, Fence]] = {
    "netlink lost, active: hold": (
        view(network=LOST_NOW, here=RUNNING), Role.ACTIVE, Goal.RUN, Reason.UP, Fence.NOT_NEEDED,
    ),
    "netlink lost, active, not read within the deadline: fence": (
        view(network=LOST_LONG, here=RUNNING), Role.STANDBY, Goal.RELEASE, Reason.NETWORK_UNKNOWN, Fence.PENDING,
    ),
    "netlink lost, standby: stay": (
        view(network=LOST_BACKUP), Role.STANDBY, Goal.RELEASE, Reason.NO_ADDRESS, Fence.FENCED,
    ),
    "netlink not read yet: touch nothing": (
        view(network=Unknown(0.0, "not-read"), here=RUNNING),
        Role.STANDBY, Goal.HOLD, Reason.STARTING, Fence.NOT_NEEDED,
    ),
    "the kernel tells no route, active: what it told last decides": (
        routed(Unknown(NOW - 100, "mute", Path(REMOTE, "eth1"))), Role.ACTIVE, Goal.RUN, Reason.UP, Fence.NOT_NEEDED,
    ),
    "the kernel has never told a route, active: stay": (
        routed(NEVER_TOLD), Role.ACTIVE, Goal.RUN, Reason.UP, Fence.NOT_NEEDED,
    ),
    "the kernel has never told a route, nothing runs: stay": (
        replace(routed(NEVER_TOLD), here=NOTHING), Role.STANDBY, Goal.RELEASE, Reason.STARTING, Fence.FENCED,
    ),
    "charon gone, active: nothing to hold": (
        view(network=HERE, charon=GONE, here=CharonConnection()),
        Role.ACTIVE, Goal.HOLD, Reason.CHARON_GONE, Fence.NOT_NEEDED,
    ),
    "charon gone, standby: load nothing": (
        view(charon=GONE, here=CharonConnection()), Role.STANDBY, Goal.RELEASE, Reason.NO_ADDRESS, Fence.PENDING,
    ),
    "charon frozen, active: hold while the VIP is here": (
        view(network=HERE, charon=FROZEN, here=RUNNING),
        Role.ACTIVE, Goal.HOLD, Reason.CHARON_FROZEN, Fence.NOT_NEEDED,
    ),
    "charon frozen, VIP lost: fence pending": (
        view(charon=FROZEN, here=RUNNING), Role.STANDBY, Goal.RELEASE, Reason.NO_ADDRESS, Fence.PENDING,
    ),
    "charon frozen, nothing known of it, VIP lost: fence pending": (
        view(charon=FROZEN, here=NOTHING), Role.STANDBY, Goal.RELEASE, Reason.NO_ADDRESS, Fence.PENDING,
    ),
    "firewall not usable, active: hold": (
        view(network=HERE, wire=NO_NFT, here=RUNNING), Role.ACTIVE, Goal.RUN, Reason.UP, Fence.NOT_NEEDED,
    ),
    "table gone, active: hold": (
        view(network=HERE, wire=NO_TABLE, here=RUNNING), Role.ACTIVE, Goal.RUN, Reason.UP, Fence.NOT_NEEDED,
    ),
    "firewall not usable, standby: stay, and not verified": (
        view(wire=NO_NFT), Role.STANDBY, Goal.RELEASE, Reason.NO_ADDRESS, Fence.PENDING,
    ),
    "table gone, standby: stay, and not verified": (
        view(wire=NO_TABLE), Role.STANDBY, Goal.RELEASE, Reason.NO_ADDRESS, Fence.PENDING,
    ),
    "all known, nothing left: fenced": (view(), Role.STANDBY, Goal.RELEASE, Reason.NO_ADDRESS, Fence.FENCED),
    "all known, something sent and not read back: pending": (
        view(lane=LaneFacts(touched=True)), Role.STANDBY, Goal.RELEASE, Reason.NO_ADDRESS, Fence.PENDING,
    ),
    "all known, an SA left: pending": (
        view(here=replace(RUNNING, config=None)), Role.STANDBY, Goal.RELEASE, Reason.NO_ADDRESS, Fence.PENDING,
    ),
    "all known, a trap left: pending": (
        view(here=CharonConnection(traps=frozenset({"alpha-1"}))),
        Role.STANDBY, Goal.RELEASE, Reason.NO_ADDRESS, Fence.PENDING,
    ),
    "the VIP's guard is missing: pending": (
        view(wire=Known(Wire(), 1.0)), Role.STANDBY, Goal.RELEASE, Reason.NO_ADDRESS, Fence.PENDING,
    ),
    "somebody else's, active": (
        view(network=HERE, here=FOREIGN), Role.STANDBY, Goal.HOLD, Reason.NAME_TAKEN, Fence.NOT_NEEDED,
    ),
    "somebody else's, VIP lost": (view(here=FOREIGN), Role.STANDBY, Goal.HOLD, Reason.NAME_TAKEN, Fence.NOT_NEEDED),
    "somebody else's, netlink lost": (
        view(network=LOST_LONG, here=FOREIGN), Role.STANDBY, Goal.HOLD, Reason.NAME_TAKEN, Fence.NOT_NEEDED,
    ),
    "somebody else's, the agent stops": (
        view(network=HERE, here=FOREIGN, stopping=True), Role.STANDBY, Goal.HOLD, Reason.NAME_TAKEN, Fence.NOT_NEEDED,
    ),
    "somebody else's, removed from the settings": (
        view(connection=None, here=FOREIGN, digests={}),
        Role.STANDBY, Goal.HOLD, Reason.NAME_TAKEN, Fence.NOT_NEEDED,
    ),
    "ours, the agent stops": (
        view(network=HERE, here=RUNNING, stopping=True), Role.STANDBY, Goal.RELEASE, Reason.STOPPING, Fence.PENDING,
    ),
    "ours, removed from the settings": (
        view(connection=None, network=HERE, here=RUNNING, digests={}),
        Role.STANDBY, Goal.RELEASE, Reason.REMOVED, Fence.PENDING,
    ),
    "ours, removed while netlink is lost": (
        view(connection=None, network=LOST_LONG, here=RUNNING, digests={}),
        Role.STANDBY, Goal.RELEASE, Reason.REMOVED, Fence.PENDING,
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_fail_direction(row: str) -> None:
    """Each row: what is unknown, and the role, goal, reason and fence that follow."""
    seen, role, goal, reason, fence = ROWS[row]
    decision = decide(seen, Memory(), NOW)
    assert (decision.role, decision.goal, decision.reason, decision.fence) == (role, goal, reason, fence)


def test_the_hold_on_an_unreadable_kernel_ends_by_itself() -> None:
    """An active connection looks again at the moment at which its right ends, though nothing happens."""
    decision = decide(view(network=LOST_NOW, here=RUNNING), Memory(), NOW)
    assert decision.look_again_at == pytest.approx(LOST_NOW.since + NETWORK_HOLD_S)


RELEASES: dict[str, View] = {
    "everything known": view(here=RUNNING),
    "netlink lost": view(here=RUNNING, network=LOST_LONG),
    "firewall not usable": view(here=RUNNING, wire=NO_NFT),
    "table gone": view(here=RUNNING, wire=NO_TABLE),
    "charon frozen": view(here=RUNNING, charon=FROZEN),
    "not in the record": view(here=RUNNING, entry=None),
    "secret not known": view(here=RUNNING, secret_version=None),
    "in the window's queue": view(here=RUNNING, lane=LaneFacts(busy=True, queued=True)),
    "refused before": view(here=RUNNING, lane=LaneFacts(touched=True)),
    "the agent stops": view(here=RUNNING, network=HERE, stopping=True),
}


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("row", RELEASES)
def test_a_release_depends_on_nothing_but_charon(row: str, *, recorded: bool) -> None:
    """Whatever else is unknown or broken, the first steps of a release are the same, and urgent."""
    seen = replace(RELEASES[row], recorded_in=CHARON if recorded else None)
    todo = plan(decide(seen, Memory(), NOW), seen)
    assert todo.steps[:3] == (Unload("alpha"), Terminate("alpha"), ReadBack("alpha"))
    assert todo.urgent
    assert not any(isinstance(step, Load | Initiate) for step in todo.steps)


def test_a_gone_charon_is_sent_nothing() -> None:
    """Nobody is there who could run it."""
    seen = view(charon=GONE, here=CharonConnection(), lane=LaneFacts(touched=True))
    assert plan(decide(seen, Memory(), NOW), seen).steps == ()


def test_a_standby_loads_its_secret_and_nothing_else() -> None:
    """The secret is made ready on the standby too, and is no part of the fence."""
    seen = view(here=CharonConnection())
    decision = decide(seen, Memory(), NOW)
    assert [type(step) for step in plan(decision, seen).steps] == [LoadSecret]
    assert decision.fence is Fence.FENCED


def test_nothing_is_loaded_before_the_record_is_written() -> None:
    """Neither the secret nor the connection: only what is written is known to a run that comes after.

    Nor under the name of a charon that is gone: what is found of it in another charon would be called somebody else's.
    """
    for unwritten in ({"entry": None}, {"recorded_in": None}, {"recorded_in": CharonIdentity(2, 2)}):
        seen = view(network=HERE, here=CharonConnection(), **unwritten)
        assert plan(decide(seen, Memory(), NOW), seen).steps == ()
    written = view(network=HERE, here=CharonConnection())
    steps = plan(decide(written, Memory(), NOW), written).steps
    assert [type(step) for step in steps] == [LoadSecret, Load, Initiate]


def test_a_fenced_wire_is_lifted_before_anything_is_initiated() -> None:
    """While the address is still in ``fenced`` a first packet would be refused; loading goes on."""
    cut = Wire(guarded=frozenset({VIP_WAN}), fenced=frozenset({VIP_WAN}))
    seen = view(network=HERE, here=NOTHING, wire=Known(cut, 1.0))
    steps = plan(decide(seen, Memory(), NOW), seen).steps
    assert [type(step) for step in steps] == [Load]
    loaded = view(network=HERE, here=LOADED, wire=Known(cut, 1.0))
    assert plan(decide(loaded, Memory(), NOW), loaded).steps == ()


def test_the_table_keeps_its_fences_while_the_kernel_cannot_be_read() -> None:
    """No address is fenced or lifted blindly."""
    intent = VERSIONS["all"].intent
    before = replace(standing(intent, {"alpha": entry()}), fenced=frozenset({VIP_WAN}))
    assert wanted(standing(intent, {"alpha": entry()}), intent, None, before=before).fenced == {VIP_WAN}
    assert wanted(standing(intent, {"alpha": entry()}), intent, MASTER, before=before).fenced == frozenset()
