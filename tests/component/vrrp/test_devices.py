"""Where it is listened: devices come, go, change their names; and what the kernel does not allow."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address

import pytest

from swanherd.core.evidence import Heard
from swanherd.core.facts import Absent, Known, Unknown
from swanherd.world.vrrp import VrrpListener
from tests.component.vrrp.forge import Forged, Forger, advertisement, arp
from tests.component.vrrp.gateways import VRID, Gateways, Vrrp
from tests.component.vrrp.listening import Listening, listening, watched
from tests.lab.waiting import wait_until

WAN = watched(Vrrp())


@pytest.fixture
def forger(pair: Gateways) -> Iterator[Forger]:
    """Sends from the other gateway."""
    assert pair.theirs.netns is not None
    forger = Forger(pair.theirs.netns)
    yield forger
    forger.close()


def why(it: Listening, name: str = "wan") -> str:
    """Why nothing is known; empty: it is."""
    state = it.listener.heard(name)
    assert not isinstance(state, Absent)
    return state.why if isinstance(state, Unknown) else ""


async def test_nothing_is_known_before_it_runs() -> None:
    """Unknown, not silent; and Absent what nobody asked for."""
    listener = VrrpListener(on_change=lambda _names: None)
    listener.watch({"wan": WAN})
    state = listener.heard("wan")
    assert isinstance(state, Unknown)
    assert state.why == "not-read"
    assert isinstance(listener.heard("lan"), Absent)


async def test_a_device_that_comes_later_is_listened_to(pair: Gateways) -> None:
    """Unknown until it is there, for that reason; told when it is."""
    async with listening({"lan": replace(WAN, device="lan")}) as it:
        await it.until(lambda: why(it, "lan") == "no-device")
        it.told.clear()
        pair.ours.ip("link add lan type veth peer name lan2", "link set lan up")
        await it.until(lambda: not why(it, "lan"))
        assert it.told[0][1] == {"lan"}


async def test_a_device_that_was_made_anew_is_listened_to(pair: Gateways) -> None:
    """Deleted and made again under its name: heard again, on the new one; what was heard before stays known."""
    async with listening({"wan": WAN}) as it:
        pair.theirs.start(Vrrp(), priority=150)
        await it.until(lambda: it.heard.other_at)
        pair.ours.ip("link del wan")
        await it.until(lambda: why(it) == "no-device")
        lost = it.listener.heard("wan")
        assert isinstance(lost, Unknown)
        assert lost.last is not None
        assert lost.last.other_at is not None
        pair.ours.ip(
            f"link add wan type veth peer name wan netns {pair.theirs.netns}", "link set wan up",
            "addr add 203.0.113.2/24 dev wan",
        )  # fmt: skip
        pair.theirs.ip("link set wan up", "addr add 203.0.113.3/24 dev wan")
        await it.until(lambda: not why(it) and (it.heard.other_at or 0) > lost.since)
        state = it.listener.heard("wan")
        assert isinstance(state, Known)
        assert state.since > lost.since


async def test_a_device_that_was_swapped_unseen_is_listened_to(pair: Gateways) -> None:
    """Deleted and made anew while the agent stood still: one look at the network finds another one of the name."""
    async with listening({"wan": WAN}) as it:
        before = it.listener.heard("wan")
        pair.ours.ip(
            "link del wan", f"link add wan type veth peer name wan netns {pair.theirs.netns}", "link set wan up",
            "addr add 203.0.113.2/24 dev wan",
        )  # fmt: skip
        pair.theirs.ip("link set wan up", "addr add 203.0.113.3/24 dev wan")
        assert pair.theirs.netns is not None
        forger = Forger(pair.theirs.netns)
        await until_heard(it, forger)
        forger.close()
        after = it.listener.heard("wan")
        assert isinstance(before, Known)
        assert isinstance(after, Known)
        assert after.since > before.since


async def test_a_device_is_known_by_its_name(pair: Gateways, forger: Forger) -> None:
    """Renamed, it is another device; renamed back, it is the same again."""
    async with listening({"wan": WAN}) as it:
        pair.ours.ip("link set wan down", "link set wan name outside", "link set outside up")
        await it.until(lambda: why(it) == "no-device")
        pair.ours.ip("link set outside down", "link set outside name wan", "link set wan up")
        await it.until(lambda: not why(it))
        await until_heard(it, forger)


async def test_a_device_that_was_down_is_heard_again(pair: Gateways, forger: Forger) -> None:
    """Down and up: the same socket hears on."""
    async with listening({"wan": WAN}) as it:
        state = it.listener.heard("wan")
        pair.ours.ip("link set wan down")
        await it.until(lambda: not it.known_network.links["wan"].up)
        pair.ours.ip("link set wan up")
        await it.until(lambda: it.known_network.links["wan"].up)
        await until_heard(it, forger)
        assert isinstance(state, Known)
        now = it.listener.heard("wan")
        assert isinstance(now, Known)
        assert now.since == state.since


async def until_heard(it: Listening, forger: Forger) -> None:
    """Send until it is heard: a port that has just come up may swallow the first."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 5
    while it.last().other_at is None:
        assert loop.time() < deadline
        forger.send(Forged().packet())
        await asyncio.sleep(0.01)


async def test_other_settings_are_listened_to_at_once(pair: Gateways, forger: Forger) -> None:
    """Another VRID and another VIP take effect; what was heard of the former instance is not about this one."""
    pair.ours.ip("addr add 203.0.113.20/24 dev wan", "addr add fe80::20/128 dev wan nodad")
    async with listening({"wan": WAN}) as it:
        forger.send(Forged().packet())
        await it.until(lambda: it.heard.other_at)
        other = replace(WAN, vrid=VRID + 1, vips=(ip_address("203.0.113.20"), ip_address("fe80::20")))
        it.listener.watch({"wan": other})
        assert it.heard == Heard()
        forger.send(Forged().packet())
        await it.until(lambda: it.listener.counters["vrid"])
        assert it.heard == Heard()
        for claim in (arp("203.0.113.20", "203.0.113.20"), advertisement("fe80::20")):
            it.listener.watch({"wan": replace(other, vrid=VRID)})
            it.listener.watch({"wan": other})
            assert it.heard.claimed_at is None
            forger.send(claim)
            await it.until(lambda: it.heard.claimed_at)
        it.listener.watch({"wan": replace(other, advert_interval_s=2.0)})
        assert it.heard.claimed_at is not None


async def test_vrrp_speaks_on_another_device_than_the_vips_are_on(pair: Gateways, forger: Forger) -> None:
    """Adverts count where VRRP speaks, and claims where the VIPs are; the other way round neither says anything.

    Broken by: listening to adverts where the VIPs are.
    """
    pair.ours.ip(
        f"link add lan type veth peer name lan netns {pair.theirs.netns}", "link set lan up",
        "addr add 203.0.113.2/24 dev lan",
    )  # fmt: skip
    pair.theirs.ip("link set lan up")
    assert pair.theirs.netns is not None
    on_lan = Forger(pair.theirs.netns, device="lan")
    claim = arp("203.0.113.10", "203.0.113.10")
    async with listening({"wan": replace(WAN, device="lan", vip_device="wan")}) as it:
        forger.send(Forged().packet())
        await it.until(lambda: it.listener.counters["vrid"])
        on_lan.send(claim)
        assert it.heard == Heard()
        on_lan.send(Forged().packet())
        await it.until(lambda: it.heard.other_at)
        assert it.heard.claimed_at is None
        forger.send(claim)
        await it.until(lambda: it.heard.claimed_at)
    on_lan.close()


async def test_what_is_no_longer_watched_costs_no_socket(pair: Gateways) -> None:
    """Settings come and go, devices too: in the end there are as many open files as before."""
    async with listening({"wan": WAN}) as it:
        before = _open_files()
        for n in range(5):
            pair.ours.ip("link add lan type veth peer name lan2", "link set lan up")
            it.listener.watch({"wan": WAN, "lan": replace(WAN, device="lan"), "gone": replace(WAN, device=f"gone{n}")})
            await it.until(lambda: not why(it, "lan"))
            pair.ours.ip("link del lan")
            await it.until(lambda: why(it, "lan") == "no-device")
        it.listener.watch({})
        assert isinstance(it.listener.heard("wan"), Absent)
        it.listener.watch({"wan": WAN})
        await it.until(lambda: _open_files() == before)


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a path object would open it once more


async def test_when_it_ends_nothing_is_known_and_no_socket_is_open(pair: Gateways) -> None:
    """Cancelled."""
    del pair
    before = _open_files()
    async with listening({"wan": WAN}) as it:
        assert isinstance(it.listener.heard("wan"), Known)
    assert why(it) == "not-read"
    wait_until(lambda: _open_files() <= before, "sockets closed")


_WITHOUT_PERMISSION = """
import asyncio, socket, sys
from swanherd.core.facts import Known
from swanherd.world.netlink import NetworkSource
from swanherd.world.vrrp import VrrpListener, Watched

attempts = 0

def count(event, details):
    global attempts
    attempts += event == "socket.__new__" and details[1] == socket.AF_PACKET

sys.addaudithook(count)

async def main():
    told = []
    listener = VrrpListener(on_change=told.append)
    network = NetworkSource(on_change=lambda _: isinstance(network.state, Known)
                            and listener.network_changed(network.state.value))
    listener.watch({"wan": Watched("wan", 51, 4), "lan": Watched("lo", 52, 4)})
    tasks = [asyncio.create_task(each.run()) for each in (network, listener)]
    while not told:
        await asyncio.sleep(0.01)
    for _ in range(50):
        listener.network_changed(network.state.value)
    await asyncio.sleep(1.2)  # longer than a tick
    assert not any(task.done() for task in tasks), tasks
    print(listener.heard("wan").why, listener.heard("lan").why, len(told), attempts, listener.trouble, sep="|")

asyncio.run(main())
"""


def test_without_cap_net_raw_it_says_so_once(pair: Gateways) -> None:
    """Unknown for that reason, one line for people, and one attempt in all: it does not come by waiting."""
    del pair
    program = [sys.executable, "-c", _WITHOUT_PERMISSION]
    done = subprocess.run(
        ["setpriv", "--bounding-set", "-net_raw", *program], capture_output=True, text=True, check=True
    )
    wan, lan, told, attempts, trouble = done.stdout.strip().split("|")
    assert (wan, lan, told, attempts) == ("no-permission", "no-permission", "1", "1")
    assert "CAP_NET_RAW" in trouble
