"""A fenced address that is still here answers nobody: what the neighbour caches of another host say."""

from dataclasses import replace

import pytest

from swanherd.world.firewall import Firewall
from tests.lab.waiting import wait_until

from .lan import ASKER, ASKER_MAC, GATEWAY_MAC, NEW_MAC, OWNER_MAC, Lan
from .ruleset import FOREIGN, VIPS, WIRE, listed, nft, others
from .stage import OWN, VIP

FAMILIES = pytest.mark.parametrize("family", [4, 6])


@FAMILIES
async def test_a_fenced_address_does_not_answer(lan: Lan, firewall: Firewall, family: int) -> None:
    """Nobody finds a fenced address here, the gateway's own and the other family's are found; lifted, it is back."""
    nft(FOREIGN)
    before = others()
    await firewall.apply(WIRE)
    assert lan.asker.ask(VIP[family]) == GATEWAY_MAC, "the asker proves nothing"
    generation = firewall._kernel.generation()
    firewall.fence(addresses=[VIP[family]])
    assert firewall._kernel.generation() == generation + 1, "both tables changed in one transaction"
    assert lan.asker.ask(VIP[family]) is None
    assert lan.asker.ask(OWN[family]) == GATEWAY_MAC
    assert lan.asker.ask(VIP[10 - family]) == GATEWAY_MAC
    assert firewall.stopped()["stale_vip"] >= 3, "each question was asked three times"
    await firewall.apply(WIRE)
    assert lan.asker.ask(VIP[family]) == GATEWAY_MAC
    assert others() == before


@FAMILIES
async def test_a_table_built_with_a_fence_silences_too(lan: Lan, firewall: Firewall, family: int) -> None:
    """An address that is fenced when the tables are built, as after a flush, is as silent; removed, all answer."""
    await firewall.apply(replace(WIRE, fenced=VIPS))
    nft("flush ruleset")
    assert lan.asker.ask(VIP[family]) == GATEWAY_MAC, "the asker proves nothing"
    await firewall.apply(replace(WIRE, fenced=VIPS))
    assert lan.asker.ask(VIP[family]) is None
    await firewall.teardown()
    assert listed() == ""
    assert lan.asker.ask(VIP[family]) == GATEWAY_MAC


@FAMILIES
async def test_the_owner_answers_instead(lan: Lan, firewall: Firewall, family: int) -> None:
    """While two hosts have the address only the one that is not fenced is found, however often it is asked for."""
    await firewall.apply(replace(WIRE, fenced=VIPS))
    lan.own(family)
    assert lan.answers(family) == {OWNER_MAC}
    lan.disown(family)
    assert lan.asker.ask(VIP[family]) is None


async def test_the_owner_may_take_the_address(lan: Lan, firewall: Firewall) -> None:
    """A host that checks for duplicates before it takes an IPv6 address is refused, unless it is fenced here."""
    await firewall.apply(WIRE)
    lan.own(6, checked=True)
    assert lan.refused(6), "the check proves nothing"
    lan.disown(6)
    firewall.fence(addresses=[VIP[6]])
    lan.own(6, checked=True)
    assert not lan.refused(6)


@FAMILIES
async def test_a_question_from_it_teaches_nobody(lan: Lan, firewall: Firewall, family: int) -> None:
    """Who asks tells where he is, so a fenced address does not ask either; the gateway's own address still does."""
    await firewall.apply(WIRE)
    lan.own(family)
    lan.asker.forget(VIP[family])
    assert lan.gateway.ask(ASKER[family], source=VIP[family]) == ASKER_MAC
    assert lan.asker.knows(VIP[family]) == GATEWAY_MAC, "questions teach nothing, so this proves nothing"
    firewall.fence(addresses=[VIP[family]])
    assert lan.asker.ask(VIP[family]) == OWNER_MAC
    assert lan.gateway.ask(ASKER[family], source=VIP[family]) is None
    assert lan.asker.knows(VIP[family]) == OWNER_MAC
    assert lan.gateway.ask(ASKER[family], source=OWN[family]) == ASKER_MAC
    assert lan.asker.knows(OWN[family]) == GATEWAY_MAC


@FAMILIES
async def test_it_is_not_announced(lan: Lan, firewall: Firewall, family: int) -> None:
    """The kernel announces addresses when told to (gratuitous ARP, unsolicited advertisements), but no fenced one."""
    await firewall.apply(WIRE)
    lan.own(family)
    lan.gateway.run("sysctl", "-qw", "net.ipv4.conf.wan.arp_notify=1", "net.ipv6.conf.wan.ndisc_notify=1")
    _announce(lan, family, NEW_MAC)
    wait_until(lambda: lan.asker.knows(VIP[family]) == NEW_MAC, "the VIP is announced: the test proves something")
    firewall.fence(addresses=[VIP[family]])
    before = firewall.stopped()["stale_vip"]
    _announce(lan, family, GATEWAY_MAC)
    wait_until(lambda: firewall.stopped()["stale_vip"] > before, "the fenced address was to be announced")
    assert lan.asker.knows(VIP[family]) == OWNER_MAC


def _announce(lan: Lan, family: int, mac: str) -> None:
    """Give the gateway's device a new MAC and wait until the asker has heard of it for the own address."""
    lan.asker.ask(OWN[family])
    lan.asker.ip(f"neigh replace {VIP[family]} lladdr {OWNER_MAC} dev asker nud reachable")
    lan.gateway.ip(f"link set wan address {mac}")
    wait_until(lambda: lan.asker.knows(OWN[family]) == mac, "the own address is announced")


@FAMILIES
async def test_nothing_but_neighbours_is_concerned(lan: Lan, firewall: Firewall, family: int) -> None:
    """A fenced address still answers pings of a host that was told by hand where it is."""
    await firewall.apply(replace(WIRE, fenced=VIPS))
    lan.asker.ip(f"neigh replace {VIP[family]} lladdr {GATEWAY_MAC} dev asker nud permanent")
    lan.gateway.ip(f"neigh replace {ASKER[family]} lladdr {ASKER_MAC} dev wan nud permanent")
    assert "3 received" in lan.asker.run("ping", "-nqc3", "-i0.01", "-W5", str(VIP[family]))
