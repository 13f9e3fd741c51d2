"""What is heard when real keepaliveds take over, leave, are killed, frozen and started again."""

import itertools
import socket
import struct
import subprocess
import time
from ipaddress import ip_address

import pytest

from swanherd.core.evidence import VOUCH_INTERVALS
from swanherd.world.vrrp.listener import SLICE_PACKETS
from tests.component.vrrp.forge import Forged, Forger
from tests.component.vrrp.gateways import ADVERT_S, VRID, Gateways, Vrrp
from tests.component.vrrp.listening import Listening, listening, watched, wrong
from tests.lab.namespaces import socket_in
from tests.lab.waiting import wait_until

TOLD_S = 0.05
"""From the other's advert leaving it to the listener's word."""

VIRTUAL = {"plain": Vrrp(), "vmac": Vrrp(extra="use_vmac"), "vmac-v6": Vrrp(family=6, extra="use_vmac")}


async def our_master(it: Listening, pair: Gateways, vrrp: Vrrp) -> None:
    """Ours is the master and the other one a backup."""
    pair.ours.start(vrrp, priority=150)
    await it.until(lambda: it.heard.own_at)
    pair.theirs.start(vrrp, priority=100)
    await it.until(lambda: "Entering BACKUP STATE" in pair.theirs.log())


@pytest.mark.parametrize("kind", VIRTUAL)
async def test_killed_with_9_the_others_first_advert_is_told_at_once(pair: Gateways, kind: str) -> None:
    """Our own adverts end, the VIP stays, and the other's first advert is told within 50 ms of leaving it."""
    vrrp = VIRTUAL[kind]
    assert pair.theirs.netns is not None
    with socket_in(f"/run/netns/{pair.theirs.netns}", socket.AF_PACKET, socket.SOCK_DGRAM, 0) as capture:
        async with listening({"wan": watched(vrrp)}) as it:
            await our_master(it, pair, vrrp)
            await it.until(lambda: pair.ours.holds(vrrp.vip))
            _stamp(capture)
            it.told.clear()
            pair.ours.kill()
            killed_at = time.monotonic()
            await it.until(lambda: it.heard.other_at)
            told_at, names, heard = it.told[0]
            left_at = _first_advert(capture)
            print(f"told {(told_at - left_at) * 1e3:.2f} ms after it left")
            assert names == {"wan"}
            assert told_at - left_at < TOLD_S
            assert heard.other_at == pytest.approx(left_at, abs=0.005)
            assert heard.own_at is not None
            assert heard.own_at < killed_at < left_at
            assert pair.ours.holds(vrrp.vip)
            assert not wrong(it.listener.counters)
            await it.until(lambda: it.heard.claimed_at and it.heard.claimed_at > killed_at)


def _stamp(capture: socket.socket) -> None:
    capture.setsockopt(socket.SOL_SOCKET, 35, 1)
    capture.bind(("wan", 3))


def _first_advert(capture: socket.socket) -> float:
    """When the first advert left the other gateway, by its own kernel."""
    while True:
        packet, ancillary, _, address = capture.recvmsg(2048, 64)
        is_advert = packet[9] == 112 if address[1] == 0x0800 else address[1] == 0x86DD and packet[6] == 112
        if address[2] == socket.PACKET_OUTGOING and is_advert:
            seconds, nanoseconds = struct.unpack("@ll", ancillary[0][2])
            return float(seconds + nanoseconds / 1e9 - (time.time() - time.monotonic()))


async def test_with_both_running_the_other_is_the_other_also_under_the_same_mac(pair: Gateways) -> None:
    """IPv6 with ``use_vmac``: both have the virtual router's MAC; the backup still hears the master as another."""
    vrrp = VIRTUAL["vmac-v6"]
    async with listening({"wan": watched(vrrp)}) as it:
        pair.theirs.start(vrrp, priority=150)
        await it.until(lambda: it.heard.other_at)
        pair.ours.start(vrrp, priority=100)
        await it.until(lambda: "Entering BACKUP STATE" in pair.ours.log())
        heard_at = it.heard.other_at or 0
        await it.until(lambda: (it.heard.other_at or 0) > heard_at + 5 * ADVERT_S)
        assert it.heard.own_at is None
        assert not wrong(it.listener.counters)


async def test_frozen_and_continued_is_a_pause(pair: Gateways) -> None:
    """While ours is frozen the other takes over; then what ours sends is told, and where the pause ended."""
    vrrp = Vrrp()
    async with listening({"wan": watched(vrrp)}) as it:
        await our_master(it, pair, vrrp)
        assert it.heard.own_resumed_at is None
        it.told.clear()
        pair.ours.freeze()
        await it.until(lambda: it.heard.other_at)
        last_own = it.heard.own_at
        thawed_at = time.monotonic()
        pair.ours.thaw()
        await it.until(lambda: it.heard.own_at != last_own)
        assert it.heard.own_resumed_at is not None
        assert it.heard.own_resumed_at > thawed_at
        await it.until(lambda: it.told and it.told[-1][2].own_resumed_at is not None)


async def test_stopped_ours_takes_its_voucher_back(pair: Gateways) -> None:
    """Its last word has priority 0: from then on it vouches for nothing, and is told."""
    vrrp = Vrrp()
    async with listening({"wan": watched(vrrp)}) as it:
        pair.ours.start(vrrp, priority=150)
        await it.until(lambda: it.heard.own_at)
        it.told.clear()
        pair.ours.stop()
        await it.until(lambda: it.heard.own_at is None)
        assert it.told[-1][2].own_at is None


async def test_stopped_the_other_is_counted_and_no_master(pair: Gateways) -> None:
    """Its last word has priority 0: it moves nothing, and the time of its last real advert stays."""
    vrrp = Vrrp()
    async with listening({"wan": watched(vrrp)}) as it:
        pair.theirs.start(vrrp, priority=150)
        await it.until(lambda: it.heard.other_at)
        it.told.clear()
        pair.theirs.stop()
        await it.until(lambda: it.listener.counters["priority-0"])
        left_at = time.monotonic()
        assert it.heard.other_at is not None
        assert it.heard.other_at < left_at
        assert not it.told


async def test_adverts_in_their_time_are_not_told(pair: Gateways) -> None:
    """Ten of ours in a row: one word, that of the first; the time of the last is there for who asks."""
    vrrp = Vrrp()
    async with listening({"wan": watched(vrrp)}) as it:
        it.told.clear()
        pair.ours.start(vrrp, priority=150)
        await it.until(lambda: it.heard.own_at)
        first = it.heard.own_at or 0.0
        await it.until(lambda: (it.heard.own_at or 0) > first + 10 * ADVERT_S)
        assert len(it.told) <= 1 + _late(it)
        assert it.heard.own_resumed_at is None


def _late(it: Listening) -> int:
    """How many of the words were about an advert that really was late, on a busy machine."""
    times = [heard.own_at for _, _, heard in it.told if heard.own_at is not None]
    return sum(later - earlier > VOUCH_INTERVALS * ADVERT_S for earlier, later in itertools.pairwise(times))


async def test_a_vip_that_comes_while_another_is_the_master_is_no_old_story(pair: Gateways) -> None:
    """The other has long been heard in its time, told once; the VIP is put here by hand: its next advert is told."""
    vrrp = Vrrp(advert_s=1)
    async with listening({"wan": watched(vrrp)}) as it:
        pair.theirs.start(vrrp, priority=150)
        await it.until(lambda: it.heard.other_at)
        second = it.heard.other_at
        await it.until(lambda: it.heard.other_at != second)
        it.told.clear()
        pair.ours.ip(f"addr add {vrrp.vip}/24 dev wan")
        await it.until(lambda: ip_address(vrrp.vip) in it.known_network.addresses)
        came_at = it.known_network.addresses[ip_address(vrrp.vip)][0].since
        await it.until(lambda: (it.heard.other_at or 0) > came_at)
        assert it.told[-1][0] - (it.heard.other_at or 0) < TOLD_S


async def test_what_queued_while_the_agent_stood_still_is_dated_when_it_came(pair: Gateways) -> None:
    """The loop does not run while ours is killed and the other takes over: both times are the true ones afterwards."""
    vrrp = Vrrp()
    async with listening({"wan": watched(vrrp)}) as it:
        await our_master(it, pair, vrrp)
        it.told.clear()
        pair.ours.kill()
        killed_at = time.monotonic()
        # From here on nothing runs in our loop: these waits are blocking.
        wait_until(lambda: "Entering MASTER STATE" in pair.theirs.log(), "the takeover")
        taken_at = time.monotonic()
        wait_until(lambda: time.monotonic() > taken_at + 5 * ADVERT_S, "a few more adverts")
        assert not it.told
        await it.until(lambda: it.heard.other_at)
        woken_at = time.monotonic()
        assert it.heard.own_at is not None
        assert killed_at - 2 * ADVERT_S < it.heard.own_at < killed_at
        assert it.heard.other_at is not None
        assert it.heard.other_at < woken_at
        assert it.heard.own_at < it.heard.other_at
        # Nobody was told of the other's advert before ours were taken in.
        assert it.told[0][2].own_at == it.heard.own_at


async def test_a_long_queue_is_dated_to_its_end(pair: Gateways) -> None:
    """More than a slice of it queued while the agent stood still: the last is as old as it is."""
    assert pair.theirs.netns is not None
    async with listening({"wan": watched(Vrrp())}) as it:
        forger = Forger(pair.theirs.netns)
        for _ in range(5 * SLICE_PACKETS):
            forger.send(Forged().packet())
        sent_at = time.monotonic()
        wait_until(lambda: time.monotonic() > sent_at + ADVERT_S, "the queue grew old")
        forger.send(Forged(ttl=1).packet())
        forger.close()
        await it.until(lambda: it.listener.counters["ttl"])
        assert it.heard.other_at is not None
        assert it.heard.other_at < sent_at + 0.01


async def test_the_hardware_keeps_receiving_when_keepalived_is_killed(pair: Gateways) -> None:
    """Killed, it takes its membership of VRRP's groups along; the listener's own stays, and ends with it."""
    async with listening({"wan": watched(Vrrp())}) as it:
        pair.ours.start(Vrrp(), priority=150)
        await it.until(lambda: it.heard.own_at)
        pair.ours.kill()
        assert {"01:00:5e:00:00:12", "33:33:00:00:00:12"} <= _memberships()
    wait_until(lambda: "01:00:5e:00:00:12" not in _memberships(), "the membership ended")


def _memberships() -> set[str]:
    shown = subprocess.run(["ip", "maddr", "show", "dev", "wan"], capture_output=True, text=True, check=True).stdout
    return {line.split()[1] for line in shown.splitlines() if line.strip().startswith("link")}


async def test_two_interfaces_of_one_instance_hear_the_same(pair: Gateways) -> None:
    """VIPs of one instance may be split over several interfaces of the settings; another VRID there hears nothing."""
    vrrp = Vrrp()
    mine = watched(vrrp)
    other = type(mine)(device="wan", vrid=VRID + 1, family=4)
    async with listening({"wan": mine, "second": mine, "third": other}) as it:
        pair.theirs.start(vrrp, priority=150)
        await it.until(lambda: it.heard.other_at)
        assert it.last("second") == it.last("wan")
        assert it.last("third").other_at is None
        assert it.told[-1][1] == {"wan", "second"}
