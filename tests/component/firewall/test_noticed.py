"""What others do to the tables is noticed, and put right."""

import asyncio
import re
import statistics

import pytest

from swanherd.world.firewall import Firewall, requests
from swanherd.world.firewall.firewall import GENERATION_CHECK_S
from swanherd.world.firewall.kernel import Kernel
from tests.lab.waiting import PATIENCE

from .ruleset import FULL, Running, listed, nft, tables


async def test_a_flush_is_heard_at_once(running: Running) -> None:
    """The table taken away by somebody is told within 10 ms (median of 9), and put back by the next apply."""
    loop = asyncio.get_running_loop()
    somebody = Kernel()
    heard_ms = []
    for _ in range(9):
        await running.firewall.apply(FULL)
        await running.until(lambda: running.wire == FULL)
        running.told.clear()
        somebody.commit(requests.remove())
        gone_at = loop.time()
        await running.until(lambda: running.told)
        heard_ms.append((running.told[0] - gone_at) * 1000)
        assert running.wire is None
    somebody.close()
    assert statistics.median(heard_ms) < 10 * PATIENCE, "about 0.3 ms on a quiet machine"
    nft("flush ruleset")
    await running.until(lambda: running.wire is None)
    await running.firewall.apply(FULL)
    assert running.wire == FULL


CHANGES = {
    "rule deleted": "flush chain inet swanherd ipsec_output",
    "rule added": "insert rule inet swanherd output ip daddr 192.0.2.9 accept",
    "rule replaced": "replace rule inet swanherd output handle {handle} meta l4proto 51 goto ipsec_output",
    "chain added": "add chain inet swanherd foreign",
    "policy": "chain inet swanherd output {{ type filter hook output priority -310; policy drop; }}",
    "dormant": "add table inet swanherd {{ flags dormant; }}",
    "set added": "add set inet swanherd foreign {{ type ipv4_addr; }}",
    "counter added": "add counter inet swanherd foreign",
    "range that is no network": "add element inet swanherd ours_networks4 {{ 192.0.2.1 . 10.0.0.1-10.0.0.6 }}",
    "range of sources": "add element inet swanherd fenced_networks4 {{ 192.0.2.4-192.0.2.7 . 10.0.0.1 }}",
    "guarded element deleted": "delete element inet swanherd guarded4 {{ 192.0.2.1 }}",
    "fenced element deleted": "delete element inet swanherd fenced6 {{ 2001:db8::1 }}",
    "pair deleted": "delete element inet swanherd ours6 {{ 2001:db8::1 . 2001:db8::9 }}",
    "port added": "add element inet swanherd ike_ports {{ 22 }}",
    "set flushed": "flush set inet swanherd fenced_networks6",
    "table deleted": "delete table inet swanherd",
    "leak guard's rules deleted": "flush chain inet swanherd leaks",
    "leak guard's rule added": "add rule inet swanherd leaks ip saddr 10.10.0.0/24 accept",
    "leak guard's rule of another network": 'insert rule inet swanherd leaks oifname "wan" ip saddr 10.9.0.0/24 '
    'ip daddr 10.20.0.0/16 counter name "leak" drop',
    "leak guard's way round it": "insert rule inet swanherd leaks meta nfproto ipv4 accept",
    "leak guard's way in deleted": "flush chain inet swanherd leak_forward",
    "leak guard's exception added": "insert rule inet swanherd leak_output tcp dport 22 accept",
    "ARP rule deleted": "flush chain arp swanherd output",
    "ARP chain added": "add chain arp swanherd foreign",
    "ARP policy": "chain arp swanherd output {{ type filter hook output priority -310; policy drop; }}",
    "ARP dormant": "add table arp swanherd {{ flags dormant; }}",
    "ARP set added": "add set arp swanherd foreign {{ type ipv4_addr; }}",
    "ARP counter added": "add counter arp swanherd foreign",
    "ARP element added": "add element arp swanherd fenced {{ 192.0.2.2 }}",
    "ARP element deleted": "delete element arp swanherd fenced {{ 192.0.2.1 }}",
    "ARP table deleted": "delete table arp swanherd",
    "neighbour rule deleted": "flush chain inet swanherd neighbour_output",
    "made by somebody else": "delete table inet swanherd; add table inet swanherd",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
async def test_changes_by_others_are_noticed_and_put_right(running: Running, change: str) -> None:
    """Whatever somebody changes in our table is noticed without being asked, and undone by the next apply."""
    await running.firewall.apply(FULL)
    as_built = tables()
    handle = re.search(r"# handle (\d+)\n", listed("chain", "inet", "swanherd", "output").split("goto", 1)[1])
    assert handle is not None
    nft(change.format(handle=handle[1]))
    assert _safely_listed() != as_built
    await running.until(lambda: running.wire != FULL)
    await running.firewall.apply(FULL)
    assert running.wire == FULL
    assert tables() == as_built


def _safely_listed() -> str:
    there = listed()
    return tables() if "table inet swanherd" in there and "table arp swanherd" in there else ""


async def test_lost_notifications_are_made_up_for(running: Running) -> None:
    """A flood that overflows the socket, with the loss of our table at its end, is noticed before the slow check."""
    await running.firewall.apply(FULL)
    nft("add table inet user; add set inet user s { type ipv4_addr; }")
    for part in range(4):  # the loop stands still meanwhile
        nft(f"add element inet user s {{ {_many_addresses(part)} }}")
    nft("delete table inet swanherd")
    await running.until(lambda: running.wire is None, deadline_s=GENERATION_CHECK_S * 0.7)


def _many_addresses(part: int) -> str:
    return ", ".join(f"10.{part}.{n // 250}.{n % 250}" for n in range(20_000))


async def test_a_foreign_flood_leaves_the_loop_free(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Notifications of 20,000 foreign elements are taken in between other work, and touch nothing of ours."""
    # The regular look at the generation is due once nft has taken two seconds (emulated), and would know it first.
    monkeypatch.setattr("swanherd.world.firewall.firewall.GENERATION_CHECK_S", 600.0)
    await running.firewall.apply(FULL)
    await running.until(lambda: running.wire == FULL)
    running.told.clear()
    nft("add table inet user; add set inet user s { type ipv4_addr; }")
    before = running.firewall._kernel.generation()
    await running.until(lambda: _known_generation(running.firewall) == before)
    nft(f"add element inet user s {{ {_many_addresses(0)} }}")
    generation = running.firewall._kernel.generation()
    turns = 0
    while _known_generation(running.firewall) != generation:
        await asyncio.sleep(0)
        turns += 1
    assert turns > 20
    assert running.told == []


def _known_generation(firewall: Firewall) -> int | None:
    return firewall._snapshot.generation if firewall._snapshot is not None else None
