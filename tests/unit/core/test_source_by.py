"""The route to the endpoint as what chooses among several interfaces: what each answer of the kernel means."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address
from typing import Final

import pytest

from swanherd.core.decide import decide
from swanherd.core.decision import Decision
from swanherd.core.explain import explain
from swanherd.core.facts import IkeSa, Known, Link, Network, Path, Unknown
from swanherd.core.intent import IPAddress
from swanherd.core.routes import NO_PATH, PathFact
from swanherd.core.source import choose, living
from swanherd.core.view import Memory, View
from swanherd.core.words import Reason, Role
from tests.unit.core.settings import BETA, INTERFACES, PEER, VIP_LTE, VIP_WAN
from tests.unit.core.test_moves import HERE, NEW, OLD, beta
from tests.unit.core.test_source import GRE, MACVLAN, USERLAND
from tests.unit.core.views import NOW, network

POLICY: Final = replace(BETA, source_by="route-to-endpoint")
UNTIL: Final = Reason.LOADING
"""What a choice with a source says; the decision goes on from there."""
BY_WAN: Final = (("eth0", 10),)


def to(device: str | None, table: int = 100) -> Known[Path]:
    """The kernel's answer."""
    return Known(Path(ip_address(PEER), device, table), 1.0)


def both(*links: Link, down: Iterable[str] = (), defaults: Iterable[tuple[str, int]] = BY_WAN) -> Network:
    """Both VIPs are here; unless it says otherwise, the default route leaves by eth0."""
    return network(*HERE, down=down, links=links, defaults=defaults)


MUTE: Final[Unknown[Path]] = Unknown(NOW - 100, "mute")
TOLD_LAST: Final = Unknown(NOW - 100, "mute", Path(ip_address(PEER), "eth1", 100))
ROWS: Final[dict[str, tuple[Network, PathFact, IPAddress | None, Reason, str]]] = {
    "against the default route": (both(), to("eth1"), VIP_LTE, UNTIL, "leaves by eth1 (table 100)"),
    "with the default route": (both(), to("eth0", 254), VIP_WAN, UNTIL, "leaves by eth0 (table 254)"),
    "without any default route": (both(defaults=()), to("eth1"), VIP_LTE, UNTIL, "leaves by eth1"),
    "its address is not here": (network(HERE[0]), to("eth1"), None, Reason.NO_ADDRESS, "leaves by eth1"),
    "its link is down": (both(down=("eth1",)), to("eth1"), None, Reason.LINK_DOWN, "leaves by eth1"),
    "no route": (both(), to(None), None, Reason.NO_ROUTE, f"there is no route to {PEER}"),
    "by none of the interfaces": (both(), to("eth2"), None, Reason.NO_ROUTE, "which is none of wan, lte"),
    "by keepalived's macvlan": (both(MACVLAN), to("vrrp.51"), VIP_WAN, UNTIL, "leaves by vrrp.51"),
    "by a tunnel, the default route decides": (
        both(GRE), to("gre1"), VIP_WAN, UNTIL, "gre1 (table 100), a tunnel, which never counts; the IPv4 default",
    ),
    "by a tunnel, and no default route": (
        both(USERLAND, defaults=()), to("ipsec0"), None, Reason.NO_DEFAULT_ROUTE, "a tunnel",
    ),
    "nobody is called": (both(), NO_PATH, VIP_WAN, UNTIL, "the IPv4 default route leaves by eth0"),
    "what was told last": (both(), TOLD_LAST, VIP_LTE, UNTIL, "leaves by eth1"),
    "never told": (both(), MUTE, None, Reason.STARTING, "could not be asked for the route to the endpoint (mute)"),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_choice_by_the_route_to_the_endpoint(row: str) -> None:
    """Each row: the gateway, the kernel's answer, the source, the reason, and which route it says it looked at.

    Broken by: ``way_out`` taking the default route whatever the path; no ``is_tunnel`` there, or no ``beneath``.
    """
    seen, path, source, reason, looked_at = ROWS[row]
    choice = choose(POLICY, INTERFACES, seen, path=path)
    assert (choice.source, choice.reason) == (source, reason)
    assert looked_at in choice.detail


def test_the_old_way_lives_while_packets_can_leave_by_it() -> None:
    """By a live default route, or by the route to the endpoint itself; else its SA goes at once.

    Broken by: ``passable`` without the path's device; ``living`` without ``passable``.
    """
    seen = both(defaults=())
    assert living(VIP_LTE, POLICY, INTERFACES, seen, path=to("eth1")) is not None
    assert living(VIP_WAN, POLICY, INTERFACES, seen, path=to("eth1")) is None
    assert living(VIP_WAN, POLICY, INTERFACES, both(), path=to("eth1")) is not None


def policy(path: PathFact, seen: Network, *sas: IkeSa, loaded: IPAddress = VIP_WAN) -> View:
    """BETA by the route to its endpoint."""
    return replace(beta(seen, *sas, loaded=loaded), connection=POLICY, path=path)


def decided(view: View, source: IPAddress | None = VIP_WAN) -> Decision:
    """The decision after one that ran from *source*, or of an agent that has just started."""
    memory = Memory() if source is None else Memory(source=source, role=Role.ACTIVE)
    return decide(view, memory, NOW)


def test_another_rule_moves_it_and_the_old_one_goes_last() -> None:
    """The kernel says another way: loaded from there, and the old SA stays until the new one is up.

    Broken by: ``decide`` that does not hand the path to ``choose`` (it stays).
    """
    moved = decided(policy(to("eth1"), both(), OLD))
    assert (moved.source, moved.reason, moved.terminate) == (VIP_LTE, Reason.MOVING, ())
    at_rest = decided(policy(to("eth1"), both(), OLD, NEW, loaded=VIP_LTE), VIP_LTE)
    assert at_rest.terminate == (OLD.unique_id,)


@pytest.mark.parametrize("before", [VIP_LTE, None], ids=["remembered", "restarted"])
def test_what_runs_stays_while_the_kernel_has_never_told(before: IPAddress | None) -> None:
    """There is no socket to ask by, for a new endpoint or a new agent: the tunnel stays from where it is.

    A restarted agent knows from its SA where that is. When the address leaves, it goes all the same.
    Broken by: ``decide`` without ``unmoved`` (a tunnel ends since a socket could not be had).
    """
    stays = decided(policy(MUTE, both(), NEW, loaded=VIP_LTE), before)
    assert (stays.role, stays.source, stays.terminate) == (Role.ACTIVE, VIP_LTE, ())
    gone = decided(policy(MUTE, network(HERE[0]), NEW, loaded=VIP_LTE), before)
    assert (gone.role, gone.reason) == (Role.STANDBY, Reason.STARTING)


@pytest.mark.parametrize(
    ("path", "what", "why", "defaults"),
    [
        (to("eth1"), f"* to {PEER} by eth1 table 100", "for a packet without mark and source", 0),
        (TOLD_LAST, f"* to {PEER} by eth1 table 100", "cannot be asked now: mute", 0),
        (to("gre1"), f"  to {PEER} by gre1 table 100", "the default route decides", 1),
        (to(None), f"  to {PEER}", "there is none", 0),
        (MUTE, "  to the endpoint", "cannot be asked now: mute", 0),
    ],
    ids=["told", "told last", "tunnel", "nowhere", "mute"],
)
def test_it_explains_what_the_kernel_said(path: PathFact, what: str, why: str, defaults: int) -> None:
    """The route to the endpoint stands where the default routes do; those are told of only where they decide.

    Broken by: ``explain`` telling of default routes always.
    """
    view = policy(path, both(GRE), OLD)
    decision = decided(view)
    told = explain(view, decision, decision.memory, {}, NOW).routes
    assert f"{'*' if told[0].won else ' '} {told[0].what}" == what
    assert why in "; ".join(told[0].because)
    assert len(told) == 1 + defaults
