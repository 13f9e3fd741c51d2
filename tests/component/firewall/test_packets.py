"""What the table does to packets, seen at the far end of the link."""

import asyncio
import time
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from swanherd.core.facts import Wire
from swanherd.world.firewall import Firewall, FirewallError

from .ruleset import VIPS, WIRE, Running, nft, pair
from .stage import IPSEC, OTHER_PEER, OTHERS, OWN, PEER, VIP, Stage, Traffic, vip

NONE = dict.fromkeys((kind.label for kind in IPSEC), 0)
ALL = dict.fromkeys((kind.label for kind in IPSEC), 20)
OTHERS_ALL = dict.fromkeys((kind.label for kind in OTHERS), 20)
FAMILIES = pytest.mark.parametrize("family", [4, 6])


@FAMILIES
async def test_guard_stops_ipsec_from_an_address_that_is_not_here(
    stage: Stage, firewall: Firewall, family: int
) -> None:
    """Without the guard all leaves; with it nothing of IPsec leaves without the VIP, and all with it."""
    assert stage.arrived(IPSEC, VIP[family]) == ALL, "the sender proves nothing"
    await firewall.apply(Wire(guarded=VIPS))
    assert stage.arrived(IPSEC, VIP[family]) == NONE
    vip("replace")
    assert stage.arrived(IPSEC, VIP[family]) == ALL
    vip("del")
    assert stage.arrived(IPSEC, VIP[family]) == NONE
    others = dict.fromkeys(("fence", "fence_pairs", "mobike", "stale_vip", "leak"), 0)
    assert firewall.stopped() == {"guard": 2 * sum(ALL.values()), **others}


@FAMILIES
async def test_only_ipsec_is_concerned(stage: Stage, firewall: Firewall, family: int) -> None:
    """BGP, SSH, BFD, VRRP ... pass, from a guarded address that is not here and from a fenced one, to the same peer."""
    await firewall.apply(replace(WIRE, fenced=VIPS, fenced_pairs=WIRE.ours))
    assert stage.arrived(OTHERS, VIP[family]) == OTHERS_ALL
    vip("replace")
    assert stage.arrived(OTHERS, VIP[family]) == OTHERS_ALL
    assert stage.arrived(IPSEC, VIP[family]) == NONE


@FAMILIES
async def test_other_sources_are_not_concerned(stage: Stage, firewall: Firewall, family: int) -> None:
    """IPsec from the gateway's own address passes, whatever the VIP may not do."""
    await firewall.apply(replace(WIRE, fenced=VIPS, fenced_pairs=WIRE.ours))
    assert stage.arrived(IPSEC, OWN[family]) == ALL


async def test_configured_ports_are_guarded(stage: Stage, firewall: Firewall) -> None:
    """A configured IKE port is one, from the moment it is applied until it is configured no more."""
    custom = (Traffic("custom", 17, (1500, 40000)), Traffic("custom-to", 17, (40000, 1500)))
    await firewall.apply(WIRE)
    assert sum(stage.arrived(custom, VIP[4]).values()) == 40
    await firewall.apply(replace(WIRE, ike_ports=(500, 1500, 4500)))
    assert sum(stage.arrived(custom, VIP[4]).values()) == 0
    await firewall.apply(WIRE)
    assert sum(stage.arrived(custom, VIP[4]).values()) == 40


@FAMILIES
async def test_fenced_address_stops_ours_alone(stage: Stage, firewall: Firewall, family: int) -> None:
    """A fenced address that is here reaches no peer of ours by IPsec, but others; then it is lifted."""
    vip("replace")
    await firewall.apply(WIRE)
    assert stage.arrived(IPSEC, VIP[family]) == ALL
    firewall.fence(addresses=[VIP[family]])
    assert stage.arrived(IPSEC, VIP[family]) == NONE
    assert stage.arrived(IPSEC, VIP[family], OTHER_PEER[family]) == ALL
    assert stage.arrived(IPSEC, VIP[10 - family], PEER[10 - family]) == ALL, "the other family is not fenced"
    assert firewall.stopped()["fence"] == sum(ALL.values())
    await firewall.apply(WIRE)
    assert stage.arrived(IPSEC, VIP[family]) == ALL


@FAMILIES
async def test_a_peer_can_be_anywhere(stage: Stage, firewall: Firewall, family: int) -> None:
    """With /0 among ours, beside a remote within it, a fenced address reaches nobody by IPsec."""
    vip("replace")
    anywhere = pair(VIP[family], {4: "0.0.0.0/0", 6: "::/0"}[family])
    await firewall.apply(replace(WIRE, ours=WIRE.ours | {anywhere}))
    firewall.fence(addresses=[VIP[family]])
    assert stage.arrived(IPSEC, VIP[family]) == NONE
    assert stage.arrived(IPSEC, VIP[family], OTHER_PEER[family]) == NONE
    assert stage.arrived(OTHERS, VIP[family], OTHER_PEER[family]) == OTHERS_ALL


@FAMILIES
async def test_mobike_leaves_only_what_is_ours(stage: Stage, firewall: Firewall, family: int) -> None:
    """Where a connection may roam, IPsec leaves between addresses of ours alone; everything else but IPsec passes.

    Broken by: leaving one of the three lookups out of the rule, or ``MOBIKE`` without ESP.
    """
    vip("replace")
    await firewall.apply(replace(WIRE, mobike=True))
    assert stage.arrived(IPSEC, VIP[family]) == ALL
    assert stage.arrived(IPSEC, VIP[family], OTHER_PEER[family]) == NONE
    assert stage.arrived(IPSEC, OWN[family]) == NONE
    assert stage.arrived(OTHERS, OWN[family]) == OTHERS_ALL
    assert firewall.stopped()["mobike"] == 2 * sum(ALL.values())
    anywhere = pair(VIP[family], {4: "0.0.0.0/0", 6: "::/0"}[family])
    wide = pair(OWN[family], {4: "192.0.2.0/24", 6: "2001:db8::/64"}[family])
    await firewall.apply(replace(WIRE, mobike=True, ours=frozenset({anywhere, wide})))
    assert stage.arrived(IPSEC, VIP[family], OTHER_PEER[family]) == ALL
    assert stage.arrived(IPSEC, OWN[family]) == ALL
    await firewall.apply(WIRE)
    assert stage.arrived(IPSEC, OWN[family], OTHER_PEER[family]) == ALL


@FAMILIES
async def test_fenced_pair_stops_one_connection(stage: Stage, firewall: Firewall, family: int) -> None:
    """A fenced pair is stopped though it is in `ours` no more, another peer from the same address is not."""
    vip("replace")
    await firewall.apply(Wire(guarded=VIPS))
    firewall.fence(pairs=[pair(VIP[family], PEER[family])])
    assert stage.arrived(IPSEC, VIP[family]) == NONE
    assert stage.arrived(IPSEC, VIP[family], OTHER_PEER[family]) == ALL
    assert firewall.stopped()["fence_pairs"] == sum(ALL.values())
    await firewall.apply(Wire(guarded=VIPS))
    assert stage.arrived(IPSEC, VIP[family]) == ALL


NARROW_AND_WIDE = {
    "address in network": {4: (PEER[4], "192.0.2.0/24"), 6: (PEER[6], "2001:db8::/64")},
    "network in network": {4: ("192.0.2.9/31", "192.0.2.0/24"), 6: ("2001:db8::9/127", "2001:db8::/64")},
    "network at its beginning": {4: ("192.0.2.0/27", "192.0.2.0/24"), 6: ("2001:db8::/124", "2001:db8::/64")},
    "address in anything": {4: (PEER[4], "0.0.0.0/0"), 6: (PEER[6], "::/0")},
    "network in anything": {4: ("192.0.2.9/31", "0.0.0.0/0"), 6: ("2001:db8::9/127", "::/0")},
}


@FAMILIES
@pytest.mark.parametrize("wide_first", [True, False], ids=["wide first", "narrow first"])
@pytest.mark.parametrize("remotes", NARROW_AND_WIDE.values(), ids=NARROW_AND_WIDE.keys())
async def test_overlapping_fences_add_up(
    stage: Stage, running: Running, remotes: dict[int, tuple[str, str]], family: int, *, wide_first: bool
) -> None:
    """Fences that lie in one another stop both; either can be lifted, and the other one holds."""
    vip("replace")
    firewall = running.firewall
    peer, other = PEER[family], {4: ip_address("192.0.2.99"), 6: ip_address("2001:db8::99")}[family]
    narrow, wide = (pair(VIP[family], ip_network(remote, strict=False)) for remote in remotes[family])
    probe = IPSEC[:1]
    await firewall.apply(WIRE)
    for each in (wide, narrow) if wide_first else (narrow, wide):
        firewall.fence(pairs=[each])
        state = running.wire
        assert state is not None
        firewall.fence(pairs=[each])
        assert running.wire == state, "again is no error, and changes nothing"
    assert [*stage.arrived(probe, VIP[family], peer).values()] == [0]
    assert not stage.emit(probe[0], VIP[family], other)
    both = replace(WIRE, fenced_pairs=frozenset({narrow, wide}))
    await firewall.apply(both)
    assert running.wire == both, "what was asked for is told, though a narrow one needs no element"
    for _ in range(2):
        await firewall.apply(replace(WIRE, fenced_pairs=frozenset({narrow})))
        assert [*stage.arrived(probe, VIP[family], peer).values()] == [0]
        assert stage.emit(probe[0], VIP[family], other)
        await firewall.apply(replace(WIRE, fenced_pairs=frozenset({wide})))
        assert [*stage.arrived(probe, VIP[family], peer).values()] == [0]
        assert not stage.emit(probe[0], VIP[family], other)
    await firewall.apply(WIRE)
    assert [*stage.arrived(probe, VIP[family], peer).values()] == [20]


@FAMILIES
async def test_a_thousand_pairs_in_one(stage: Stage, running: Running, family: int) -> None:
    """A thousand pairs are fenced by one transaction: nobody sees a half, no packet leaves after the call."""
    vip("replace")
    await running.firewall.apply(WIRE)
    first = int(ip_address({4: "198.18.0.0", 6: "2001:db8:1::"}[family]))
    kind = type(VIP[family])
    many = [pair(VIP[family], PEER[family]), *(pair(VIP[family], kind(first + 7 * n)) for n in range(999))]
    generation = running.firewall._kernel.generation()
    started = time.perf_counter()
    running.firewall.fence(pairs=many)
    took_ms = (time.perf_counter() - started) * 1000
    assert stage.arrived(IPSEC, VIP[family]) == NONE
    assert running.firewall._kernel.generation() == generation + 1
    assert running.wire == replace(WIRE, fenced_pairs=frozenset(many))
    assert took_ms < 250, "about 30 ms on a quiet machine, read-back included"


async def test_a_fence_is_refused_without_a_table(stage: Stage, running: Running) -> None:
    """Without the table a fence says so, and `apply` sets it."""
    vip("replace")
    with pytest.raises(FirewallError, match="not there"):
        running.firewall.fence(addresses=[VIP[4]])
    assert running.wire is None
    await running.firewall.apply(replace(WIRE, fenced=VIPS))
    assert stage.arrived(IPSEC, VIP[4]) == NONE


@pytest.mark.parametrize("heard", [True, False], ids=["after its notification", "before its notification"])
async def test_a_fence_without_its_rule_is_none(running: Running, *, heard: bool) -> None:
    """With the rules gone an element alone stops nothing, so the fence says that the table must be built anew."""
    await running.firewall.apply(WIRE)
    nft("flush chain inet swanherd ipsec_output")
    if heard:
        await running.until(lambda: running.wire is None)
    with pytest.raises(FirewallError, match="built"):
        running.firewall.fence(addresses=[VIP[4]])
    with pytest.raises(FirewallError):
        running.firewall.fence(pairs=[pair(VIP[4], "198.51.100.0/24")])
    assert running.wire is None


@pytest.mark.parametrize(
    "fenced",
    [
        replace(WIRE, fenced=VIPS),
        replace(WIRE, fenced=VIPS, ours=frozenset({pair(VIP[4], "0.0.0.0/0"), pair(VIP[6], "::/0")})),
        replace(WIRE, fenced_pairs=WIRE.ours),
        replace(WIRE, fenced_pairs=frozenset({pair(VIP[4], "0.0.0.0/0"), pair(VIP[6], "::/0")})),
    ],
    ids=["addresses", "addresses, peers anywhere", "pairs", "pairs, peers anywhere"],
)
async def test_repair_leaves_no_gap(stage: Stage, running: Running, fenced: Wire) -> None:
    """While the table is replaced over and over, not one packet of a sender at full speed leaves."""
    vip("replace")
    await running.firewall.apply(fenced)
    esp = IPSEC[0]
    stop = asyncio.Event()
    sent = 0

    def flood() -> None:
        nonlocal sent
        while not stop.is_set():
            stage.emit(esp, VIP[4], PEER[4])
            stage.emit(esp, VIP[6], PEER[6])
            sent += 2

    flooding = asyncio.create_task(asyncio.to_thread(flood))
    await running.until(lambda: sent)
    for turn in range(25):
        nft("add chain inet swanherd foreign")
        await running.firewall.apply(replace(fenced, ike_ports=(500, 4500 + turn % 2, 4510)))
    stop.set()
    await flooding
    assert sent > 1000
    assert stage.counted([esp]) == [0]
