"""What the tables hold when we change them, and what becomes of what belongs to others."""

import asyncio
import re
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from swanherd.core.facts import Flow, Unknown, Wire
from swanherd.world.firewall import Firewall, FirewallError

from .ruleset import FOREIGN, FULL, VIPS, WIRE, Running, listed, nft, others, pair, tables
from .stage import IPSEC, PEER, VIP, Stage

DECISION = Path(__file__).parents[3] / "docs/design/0003-firewall.md"


def _named(text: str) -> str:
    """A listing with protocols by name (a small root has no /etc/protocols)."""
    for number, name in ((50, "esp"), (51, "ah"), (58, "ipv6-icmp"), (112, "vrrp"), (2, "igmp")):
        text = text.replace(f"l4proto {number} ", f"l4proto {name} ")
    return text


async def test_the_listing_is_the_documented_one(firewall: Firewall) -> None:
    """What people see with `nft list` is word for word what the design decision shows."""
    await firewall.apply(
        Wire(
            guarded=VIPS,
            ours=frozenset({pair(VIP[4], "0.0.0.0/0"), pair(VIP[6], PEER[6])}),
            fenced=frozenset({VIP[4]}),
            fenced_pairs=frozenset({pair(VIP[6], PEER[6])}),
            leaks=frozenset({Flow("eth0", ip_network("10.10.0.0/24"), ip_network("10.20.0.0/16"))}),
        )
    )
    shown = re.search(r"```nft\n(.*?)```", DECISION.read_text(), re.DOTALL)
    assert shown is not None
    assert _named(tables()).split() == shown[1].split()


MANY = frozenset(Flow("wan", ip_network("10.10.0.0/24"), ip_network(f"10.{30 + 2 * n}.0.0/16")) for n in range(40))


@pytest.mark.parametrize("full", [FULL, replace(FULL, leaks=MANY)], ids=["few flows", "many flows"])
async def test_a_saved_listing_can_be_loaded(running: Running, full: Wire) -> None:
    """`nft list` of the tables is a script that gives the same tables: people save their ruleset that way."""
    await running.firewall.apply(full)
    saved = tables()
    nft("flush ruleset")
    await running.until(lambda: running.wire is None)
    nft(saved)
    await running.until(lambda: running.wire == full)


async def test_what_belongs_to_others_stays(running: Running) -> None:
    """Tables of others, one with our name in another family too, are byte for byte the same through everything."""
    nft(FOREIGN)
    before = others()
    firewall = running.firewall
    for wire in (WIRE, FULL, Wire(), FULL):
        await firewall.apply(wire)
        assert others() == before
    firewall.fence(addresses=VIPS, pairs=[pair(VIP[4], "198.51.100.0/24")])
    assert others() == before
    nft("delete table inet swanherd")
    await firewall.apply(FULL)
    assert others() == before
    await firewall.teardown()
    assert listed() == before


@pytest.mark.parametrize("family", ["inet", "arp"])
async def test_one_table_alone_is_none(running: Running, family: str) -> None:
    """Where one of the two was taken away, nothing holds as it should, also while no address is fenced."""
    await running.firewall.apply(WIRE)
    nft(f"delete table {family} swanherd")
    await running.until(lambda: running.wire is None)
    await running.firewall.apply(WIRE)
    assert running.wire == WIRE


async def test_counters_outlive_changes(stage: Stage, running: Running) -> None:
    """What was stopped is still counted when other elements come and go; a rebuilt table counts from zero."""
    await running.firewall.apply(WIRE)
    assert not stage.emit(IPSEC[0], VIP[4], PEER[4])
    await running.firewall.apply(replace(FULL, ike_ports=(500, 1500, 4500)))
    await running.firewall.apply(WIRE)
    assert running.firewall.stopped()["guard"] == 1
    nft("flush chain inet swanherd ipsec_output")
    await running.firewall.apply(WIRE)
    assert running.firewall.stopped()["guard"] == 0
    await running.firewall.teardown()
    assert running.firewall.stopped() == {}


async def test_what_was_fenced_is_remembered_where_a_rule_is_broken(running: Running) -> None:
    """A table that is not intact is none, but what it had fenced can still be read."""
    await running.firewall.apply(FULL)
    nft("flush chain inet swanherd ipsec_output")
    await running.until(lambda: running.wire is None)
    assert running.firewall.remains == FULL
    nft("add rule inet swanherd leaks tcp dport 22 accept")
    await running.until(lambda: running.firewall.remains == FULL)
    nft("delete table inet swanherd")
    await running.until(lambda: running.firewall.remains != FULL)
    assert running.firewall.remains == Wire(fenced=frozenset({VIP[4]}), ike_ports=()), "what the other table tells"
    await running.firewall.teardown()
    assert listed() == ""


async def test_a_new_agent_reads_what_is_there(running: Running) -> None:
    """A second firewall, as after a restart, knows the table of the first; it changes nothing where nothing differs."""
    await running.firewall.apply(FULL)
    again = Running()
    task = asyncio.create_task(again.firewall.run())
    await again.until(lambda: again.told)
    assert again.wire == FULL
    generation = again.firewall._kernel.generation()
    await again.firewall.apply(FULL)
    assert again.firewall._kernel.generation() == generation
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_teardown_of_nothing_is_success(running: Running) -> None:
    """Where a table is missing the other one goes; where both are, there is nothing to do."""
    await running.firewall.teardown()
    assert running.wire is None
    await running.firewall.apply(WIRE)
    nft("delete table arp swanherd")
    await running.firewall.teardown()
    await running.firewall.teardown()
    assert running.wire is None
    assert listed() == ""


@pytest.mark.parametrize("size", [2000])
async def test_many_pairs_of_both_families(running: Running, size: int) -> None:
    """More elements than fit into one message are built, read back and changed as a whole."""
    first = {4: int(ip_address("198.18.0.0")), 6: int(ip_address("2001:db8:1::"))}
    many = frozenset(
        pair(VIP[family], type(VIP[family])(first[family] + 7 * n)) for n in range(size) for family in (4, 6)
    )
    await running.firewall.apply(replace(WIRE, ours=many, fenced_pairs=many))
    assert running.wire == replace(WIRE, ours=many, fenced_pairs=many)
    half = frozenset(sorted(many, key=str)[::2])
    await running.firewall.apply(replace(WIRE, ours=half))
    assert running.wire == replace(WIRE, ours=half)


async def test_without_the_capability_it_says_what_to_do(namespace: None) -> None:  # noqa: ARG001 - a namespace of its own
    """A user without CAP_NET_ADMIN gets Unknown and an error that names it; with it, everything works."""
    program = Path(__file__).with_name("as_user.py")
    for capability, said in (("-all", "CAP_NET_ADMIN"), ("+net_admin", "guarded and fenced")):
        process = await asyncio.create_subprocess_exec(
            *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
            *(f"--inh-caps={capability}", f"--ambient-caps={capability}", f"--bounding-set={capability}"),
            *("/venv/bin/python3", str(program)),
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
        assert said in output.decode()
        assert process.returncode == 0


async def test_errors_are_ours(running: Running) -> None:
    """What the kernel refuses is a FirewallError with words for people."""
    with pytest.raises(FirewallError, match="inet swanherd"):
        running.firewall.fence(pairs=[pair(VIP[4], PEER[4])])
    assert not isinstance(running.firewall.state, Unknown)
