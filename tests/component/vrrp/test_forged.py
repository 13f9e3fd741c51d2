"""Adverts that are not another master's: nothing changes, and each is counted by its reason."""

import asyncio
import gc
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address

import pytest

from swanherd.core.evidence import Heard, Situation, VrrpFacts, judge
from swanherd.core.facts import HeldAddress, Known
from swanherd.core.intent import EvidenceSource, VrrpDeclaration
from swanherd.world.vrrp import Watched
from swanherd.world.vrrp.adverts import claimed
from swanherd.world.vrrp.clock import KernelClock
from swanherd.world.vrrp.ear import Ear, Frame
from swanherd.world.vrrp.listener import SLICE_PACKETS
from tests.component.vrrp.forge import Forged, Forger, advertisement, arp, frame
from tests.component.vrrp.gateways import ADVERT_S, VRID, Gateways, Vrrp
from tests.component.vrrp.listening import Listening, listening, watched

MULTICAST_4 = watched(Vrrp())
MULTICAST_6 = watched(Vrrp(family=6))
UNICAST_4 = watched(Vrrp(unicast=True), "203.0.113.3")

FLOOD_S = 1.5
OURS = "203.0.113.2"
FORGED: dict[str, tuple[str, Watched, Forged]] = {
    "ttl": ("ttl", MULTICAST_4, Forged(ttl=254)),
    "ttl-v2": ("ttl", MULTICAST_4, Forged(version=2, ttl=64)),
    "hop-limit": ("ttl", MULTICAST_6, Forged(family=6, ttl=254)),
    "vrid": ("vrid", MULTICAST_4, Forged(vrid=VRID + 1)),
    "vrid-6": ("vrid", MULTICAST_6, Forged(family=6, vrid=VRID + 1)),
    "family": ("family", MULTICAST_4, Forged(family=6)),
    "family-4": ("family", MULTICAST_6, Forged()),
    "off-link": ("off-link", MULTICAST_4, Forged(source="198.51.100.3")),
    "off-link-6": ("off-link", MULTICAST_6, Forged(family=6, source="2001:db8::3")),
    "checksum": ("checksum", MULTICAST_4, Forged(checksum=1)),
    "checksum-v2": ("checksum", MULTICAST_4, Forged(version=2, checksum=1)),
    "checksum-6": ("checksum", MULTICAST_6, Forged(family=6, checksum=1)),
    "checksum-of-the-ip-header": ("checksum", MULTICAST_4, Forged(header_checksum=1)),
    "priority-0": ("priority-0", MULTICAST_4, Forged(priority=0)),
    "priority-0-v2": ("priority-0", MULTICAST_4, Forged(version=2, priority=0)),
    "priority-0-6": ("priority-0", MULTICAST_6, Forged(family=6, priority=0)),
    "our-own-address": ("own-address", MULTICAST_4, Forged(source="203.0.113.2")),
    "our-own-address-6": ("own-address", MULTICAST_6, Forged(family=6, source="fe80::2")),
    "unicast": ("not-multicast", MULTICAST_4, Forged(destination=OURS)),
    "multicast": ("not-unicast", UNICAST_4, Forged()),
    "not-a-peer": ("not-a-peer", UNICAST_4, Forged(source="203.0.113.4", destination=OURS)),
    "not-for-us": ("not-for-us", UNICAST_4, Forged(destination="203.0.113.9")),
    "checksum-unicast": ("checksum", UNICAST_4, Forged(checksum=1, destination=OURS)),
    "version": ("version", MULTICAST_4, Forged(version=4)),
    "version-2-of-6": ("version", MULTICAST_6, Forged(family=6, version=2)),
    "type": ("malformed", MULTICAST_4, Forged(kind=2)),
    "count": ("malformed", MULTICAST_4, Forged(count=9)),
}


@pytest.fixture
def forger(pair: Gateways) -> Iterator[Forger]:
    """Sends from the other gateway."""
    assert pair.theirs.netns is not None
    forger = Forger(pair.theirs.netns)
    yield forger
    forger.close()


@pytest.mark.parametrize("kind", FORGED)
async def test_what_is_no_other_masters_changes_nothing_and_is_counted(forger: Forger, kind: str) -> None:
    """Whatever is wrong with it; the same advert with nothing wrong is heard, so it is that which was noticed."""
    reason, instance, forged = FORGED[kind]
    right = Forged(family=instance.family, destination=OURS if instance.unicast_peers else "")
    async with listening({"wan": instance}) as it:
        it.told.clear()
        forger.send(forged.packet())
        await it.until(lambda: it.listener.counters[reason])
        assert +it.listener.counters == {reason: 1}
        assert it.heard == Heard()
        assert not it.told
        forger.send(right.packet())
        await it.until(lambda: it.heard.other_at)
        assert +it.listener.counters == {reason: 1, "heard": 1}


@pytest.mark.parametrize("version", [2, 3])
async def test_unicast_may_have_crossed_routers(forger: Forger, version: int) -> None:
    """With a TTL of 1, as keepalived takes it from a peer."""
    async with listening({"wan": UNICAST_4}) as it:
        forger.send(Forged(version=version, ttl=1, destination="203.0.113.2").packet())
        await it.until(lambda: it.heard.other_at)


async def test_adverts_of_another_vlan_are_not_ours(forger: Forger) -> None:
    """The device below a VLAN device sees its frames too; a tag of priority only (VLAN 0) is no VLAN."""
    async with listening({"wan": MULTICAST_4}) as it:
        forger.send(Forged(source="203.0.113.5").packet(), vlan=5 << 13)
        await it.until(lambda: it.heard.other_at)
        forger.send(Forged(source="203.0.113.4").packet(), vlan=7)
        forger.send(Forged(ttl=1).packet())
        await it.until(lambda: it.listener.counters["ttl"])
        assert it.heard.other == "203.0.113.5"
        assert +it.listener.counters == {"ttl": 1, "heard": 1}


async def test_what_is_of_no_interest_does_not_even_wake_the_agent(pair: Gateways, forger: Forger) -> None:
    """The kernel gives adverts and claims of the VIPs, and nothing else that is like them."""
    del pair
    vips = [ip_address(each) for each in ("203.0.113.10", "203.0.113.12", "fe80::10", "fe80::1:0:0:12")]
    ear = Ear("wan", outgoing=False, vips=vips, clock=KernelClock())
    try:
        for address in ("203.0.113.9", "203.0.113.10", "203.0.113.11", "203.0.113.12"):
            forger.send(arp(address, "203.0.113.10"))
        for address in ("fe80::10", "fe80::12", "fe80::1:0:0:12", "fe80::1:0:0:10", "fe81::10"):
            forger.send(advertisement(address))
        forger.send(advertisement("fe80::10", kind=135))
        forger.send(Forged().packet(), vlan=7)
        later_fragment = bytearray(Forged().packet())
        later_fragment[7] = 1
        forger.send(bytes(later_fragment))
        forger.send(bytes([*later_fragment[:9], 17, *later_fragment[10:]]))
        forger.send(Forged().packet())
        taken: list[Frame] = []
        deadline = asyncio.get_running_loop().time() + 5
        while not any(frame.ethertype == 0x0800 for frame in taken):
            assert asyncio.get_running_loop().time() < deadline
            taken += ear.take(64)
            await asyncio.sleep(0.001)
        claims = [claimed(frame.packet, frame.ethertype) for frame in taken[:-1]]
        assert [str(each) for each in claims] == [str(each) for each in vips]
    finally:
        ear.close()


async def test_only_claims_of_the_vip_are_claims(pair: Gateways, forger: Forger) -> None:
    """Who asks for the VIP, or claims another address, claims nothing."""
    pair.ours.ip("addr add 203.0.113.10/24 dev wan")
    async with listening({"wan": MULTICAST_4}) as it:
        await it.until(lambda: ip_address("203.0.113.10") in it.known_network.addresses)
        it.told.clear()
        forger.send(arp("203.0.113.3", "203.0.113.10", operation=1))
        forger.send(arp("0.0.0.0", "203.0.113.10", operation=1))
        forger.send(arp("203.0.113.11", "203.0.113.11"))
        forger.send(Forged(priority=0).packet())
        await it.until(lambda: it.listener.counters["priority-0"])
        assert it.heard == Heard()
        assert not it.told
        forger.send(arp("203.0.113.10", "203.0.113.1", operation=1))
        await it.until(lambda: it.heard.claimed_at)
        assert len(it.told) == 1


async def test_only_advertisements_of_the_vip_are_claims(pair: Gateways, forger: Forger) -> None:
    """A solicitation of it, or an advertisement of its neighbour, claims nothing."""
    pair.ours.ip("addr add fe80::10/128 dev wan nodad")
    async with listening({"wan": MULTICAST_6}) as it:
        await it.until(lambda: ip_address("fe80::10") in it.known_network.addresses)
        it.told.clear()
        forger.send(advertisement("fe80::10", kind=135))
        forger.send(advertisement("fe80::11"))
        forger.send(Forged(family=6, priority=0).packet())
        await it.until(lambda: it.listener.counters["priority-0"])
        assert it.heard == Heard()
        forger.send(advertisement("fe80::10"))
        await it.until(lambda: it.heard.claimed_at)
        assert len(it.told) == 1


async def test_a_right_advert_while_our_keepalived_vouches_takes_no_right(pair: Gateways, forger: Forger) -> None:
    """It is heard, and judged as two masters: forged or not, our own adverts leave."""
    vrrp = Vrrp()
    declared = VrrpDeclaration(
        vrid=VRID, evidence=frozenset({EvidenceSource.ADVERTS}), advert_interval_s=vrrp.advert_s, family=4
    )
    vip = ip_address(vrrp.vip)
    async with listening({"wan": watched(vrrp)}) as it:
        pair.ours.start(vrrp, priority=150)
        await it.until(lambda: it.heard.own_at and vip in it.known_network.addresses)
        held: HeldAddress = it.known_network.addresses[vip][0]
        forger.send(Forged(priority=1).packet())
        await it.until(lambda: it.heard.other_at)
        listener = it.listener.heard("wan")
        judgement = judge(
            declared, held, VrrpFacts(listener=listener), Situation(now=asyncio.get_running_loop().time())
        )
        assert judgement.right
        assert judgement.two_masters
        assert it.told[-1][2].other_at is not None
        own = replace(it.heard, own_at=None)
        silent = VrrpFacts(listener=Known(own, listener.since if isinstance(listener, Known) else 0.0))
        assert not judge(declared, held, silent, Situation(now=asyncio.get_running_loop().time())).right


async def test_a_flood_blocks_nothing_and_hides_none_of_our_own(pair: Gateways) -> None:
    """As fast as a machine sends: the loop is never held for 20 ms, each own advert is heard, drops are counted.

    Held is counted in the thread's processor time: on a busy machine the clock would judge the other processes.
    """
    vrrp = Vrrp()
    packets = [
        Forged(ttl=9).packet(),
        Forged(vrid=7).packet(),
        Forged(priority=1).packet(),
        Forged(priority=1, source="203.0.113.9").packet(),
        arp(vrrp.vip, vrrp.vip),
    ]
    async with listening({"wan": watched(vrrp)}) as it:
        pair.ours.start(vrrp, priority=150)
        await it.until(lambda: it.heard.own_at)
        assert pair.theirs.netns is not None
        argv = [
            "ip",
            "netns",
            "exec",
            pair.theirs.netns,
            sys.executable,
            "-m",
            "tests.component.vrrp.flood",
            str(FLOOD_S),
        ]
        flood = await asyncio.create_subprocess_exec(*argv, *(frame(packet).hex() for packet in packets), stdout=-1)
        await it.until(lambda: it.listener.counters["ttl"])
        it.told.clear()
        gc.collect()
        gc.freeze()  # what the test runner has in memory is not the listener's
        held_s, taken = await _held(it, flood)
        gc.unfreeze()
        output, _ = await flood.communicate()
        print(f"sent {output.decode().strip()}, held {held_s * 1e3:.1f} ms, told {len(it.told)} times")
        print(f"at most {taken} packets between two turns of other work, {dict(+it.listener.counters)}")
        assert held_s < 0.02
        assert taken <= 2 * SLICE_PACKETS
        assert it.heard.own_resumed_at is None
        # On a machine that is too busy to send faster than we hear, nothing is dropped, and all of it is counted.
        all_heard = int(output) // len(packets)
        await it.until(lambda: it.listener.counters["dropped"] or it.listener.counters["ttl"] >= all_heard)
        # Each of three kinds of news at most twice an interval.
        assert len(it.told) < 6 * (FLOOD_S + 0.5) / ADVERT_S


async def _held(it: Listening, flood: asyncio.subprocess.Process) -> tuple[float, int]:
    """What the loop did before it let a callback run, while the flood lasts: processor time, and counted packets.

    Of the time the 95th percentile, since the kernel bills us for some of its work on the flood.
    """
    held_s = []
    most = 0
    while flood.returncode is None:
        before_s, before = time.thread_time(), it.listener.counters.total()
        dropped = it.listener.counters["dropped"]
        await asyncio.sleep(0.001)
        held_s.append(time.thread_time() - before_s)
        most = max(most, it.listener.counters.total() - before - (it.listener.counters["dropped"] - dropped))
    return sorted(held_s)[len(held_s) * 95 // 100], most
