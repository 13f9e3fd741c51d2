"""What the leak guard does to packets, seen at the far end of the link."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import pytest

from swanherd.core.facts import ANY_PORTS, Flow, Wire
from swanherd.core.intent import IPNetwork
from swanherd.world.firewall import Firewall

from .behind import BEYOND, INSIDE, Behind, behind_it
from .ruleset import Running, listed, nft
from .stage import IPSEC, OTHERS, OWN, PEER, TCP, UDP, VIP, Stage, Traffic, ip, vip

FAMILIES = pytest.mark.parametrize("family", [4, 6])
INNER: dict[int, IPNetwork] = {4: IPv4Network("10.10.0.0/24"), 6: IPv6Network("fd00:10::/64")}
OUTER: dict[int, IPNetwork] = {4: IPv4Network("10.20.0.0/20"), 6: IPv6Network("fd00:20::/60")}
ALL: dict[int, IPNetwork] = {4: IPv4Network("0.0.0.0/0"), 6: IPv6Network("::/0")}
WEB, MAIL, WEB_BY_UDP = (
    Traffic("web", TCP, (40000, 443)),
    Traffic("mail", TCP, (40000, 25)),
    Traffic("quic", UDP, (4, 443)),
)
PING = {4: Traffic("ping4", 1, head=b"\x08\0"), 6: Traffic("ping6", 58, head=b"\x80\0")}
PONG = {4: Traffic("pong4", 1, head=b"\0\0"), 6: Traffic("pong6", 58, head=b"\x81\0")}
DISCOVERY = tuple(Traffic(f"icmpv6-{kind}", 58, head=bytes([kind, 0])) for kind in (*range(130, 138), 143))
LEAKS = frozenset(Flow("wan", INNER[family], OUTER[family]) for family in (4, 6))


@pytest.fixture
def behind(stage: Stage) -> Iterator[Behind]:
    """A host whose packets the gateway forwards by ``wan``."""
    with behind_it(stage) as host:
        yield host


def _flow(family: int, **more: object) -> Wire:
    flow = Flow("wan", INNER[family], OUTER[family])
    return Wire(leaks=frozenset({replace(flow, **more)}))  # type: ignore[arg-type]  # fields of Flow, by name


@FAMILIES
async def test_forwarded_in_clear_is_dropped(behind: Behind, firewall: Firewall, family: int) -> None:
    """Between the networks nothing passes in clear, whatever it is; to others, and from others, all does.

    Broken by: the chain ``leak_forward`` without its hook; ``_network`` comparing nothing.
    """
    kinds = (WEB, PING[family], *OTHERS, *IPSEC)
    sent = dict.fromkeys((kind.label for kind in kinds), 20)
    assert behind.arrived(kinds, BEYOND[family]) == sent, "a wire that is silent anyway proves nothing"
    await firewall.apply(Wire(leaks=LEAKS))
    assert behind.arrived(kinds, BEYOND[family]) == dict.fromkeys(sent, 0)
    assert behind.arrived((WEB,), PEER[family])["web"] == 20
    other = ip_address({4: "10.11.0.5", 6: "fd00:11::5"}[family])
    assert behind.arrived((WEB,), BEYOND[family], source=other)["web"] == 20
    assert firewall.stopped()["leak"] == sum(sent.values())
    await firewall.apply(Wire())
    assert behind.arrived(kinds, BEYOND[family]) == sent


@FAMILIES
async def test_own_packets_in_clear_are_dropped(stage: Stage, firewall: Firewall, family: int) -> None:
    """What the gateway itself says from the network to the peer's never leaves in clear either.

    Broken by: the chain ``leak_output`` without its hook.
    """
    vip("replace")
    _route(str(OUTER[family]), family)
    assert stage.arrived((WEB,), INSIDE[family], BEYOND[family])["web"] == 20
    await firewall.apply(Wire(leaks=LEAKS))
    assert stage.arrived((WEB,), INSIDE[family], BEYOND[family])["web"] == 0
    assert stage.arrived((WEB,), VIP[family], BEYOND[family])["web"] == 20, "another source"


@FAMILIES
async def test_another_way_is_not_concerned(behind: Behind, firewall: Firewall, family: int) -> None:
    """What leaves by another device than a connection's own is the user's business.

    Broken by: ``_parts`` without the device.
    """
    await firewall.apply(Wire(leaks=frozenset({Flow("wan2", INNER[family], OUTER[family])})))
    assert behind.arrived((WEB,), BEYOND[family])["web"] == 20


@FAMILIES
async def test_what_carries_and_finds_passes(stage: Stage, firewall: Firewall, family: int) -> None:
    """With all the world among the selectors, IKE, ESP, AH, VRRP and neighbour discovery of this gateway still leave.

    Broken by: leaving any of these rules out of ``rules._leaks``.
    """
    vip("replace")
    carried = (*IPSEC, Traffic("vrrp", 112), Traffic("igmp", 2), *(DISCOVERY if family == 6 else ()))
    await firewall.apply(Wire(leaks=frozenset({Flow("wan", ALL[family], ALL[family])})))
    if family == 4:  # the packet by which the stage knows that all has arrived
        nft("insert rule inet swanherd leak_output udp sport 9 accept")
    assert stage.arrived(carried, VIP[family]) == dict.fromkeys((kind.label for kind in carried), 20)
    cut = (WEB, Traffic("gre", 47), Traffic("dns", UDP, (40000, 53)), PING[family])
    assert stage.arrived(cut, OWN[family]) == dict.fromkeys((kind.label for kind in cut), 0)


PORTS = {
    "one": (TCP, ANY_PORTS, (443, 443), WEB, MAIL),
    "range": (TCP, ANY_PORTS, (400, 500), WEB, MAIL),
    "own": (TCP, (40000, 40000), ANY_PORTS, WEB, Traffic("other", TCP, (40001, 443))),
    "protocol": (TCP, ANY_PORTS, ANY_PORTS, WEB, WEB_BY_UDP),
    "type of ICMP": (1, (8, 8), ANY_PORTS, PING[4], PONG[4]),
    "type of ICMPv6": (58, (128, 128), (0, 0), PING[6], PONG[6]),
}


@pytest.mark.parametrize(("protocol", "mine", "theirs", "cut", "passes"), PORTS.values(), ids=PORTS.keys())
async def test_ports_and_protocols(
    behind: Behind,
    firewall: Firewall,
    protocol: int,
    mine: tuple[int, int],
    theirs: tuple[int, int],
    cut: Traffic,
    passes: Traffic,
) -> None:
    """A child for one protocol or port guards that, and what nobody would encrypt passes.

    Broken by: ``_ports`` yielding nothing; ``_between`` taking ICMP's type for a port.
    """
    family = 6 if protocol == 58 else 4
    await firewall.apply(_flow(family, protocol=protocol, local_ports=mine, remote_ports=theirs))
    assert behind.arrived((cut, passes), BEYOND[family]) == {cut.label: 0, passes.label: 20}


@FAMILIES
async def test_later_fragments_have_no_ports(behind: Behind, firewall: Firewall, family: int) -> None:
    """The fragments that do not tell their port are dropped with their protocol, those of another one are not.

    Broken by: ``leaks.rules`` giving one rule for a flow with ports.
    """
    kinds = (WEB, WEB_BY_UDP)
    assert behind.arrived(kinds, BEYOND[family], later_fragment=True) == {"web": 20, "quic": 20}
    await firewall.apply(_flow(family, protocol=TCP, remote_ports=(443, 443)))
    assert behind.arrived(kinds, BEYOND[family], later_fragment=True) == {"web": 0, "quic": 20}


async def test_behind_a_masquerade(behind: Behind, firewall: Firewall) -> None:
    """Source NAT, which hides what the selectors say, comes after the guard.

    Broken by: hooking ``leak_forward`` into postrouting, behind the NAT.
    """
    nft("table ip user { chain post { type nat hook postrouting priority srcnat; oifname wan masquerade\n }\n }")
    # (Nobody translates a packet whose checksum is wrong; in UDP it may be missing.)
    assert behind.arrived((WEB_BY_UDP,), BEYOND[4])["quic"] > 0
    await firewall.apply(Wire(leaks=LEAKS))
    assert behind.arrived((WEB_BY_UDP,), BEYOND[4])["quic"] == 0


async def test_what_gets_another_target_late(stage: Stage, firewall: Firewall) -> None:
    """Somebody's destination NAT of own packets comes before the guard, which sees the target that they end up with.

    Broken by: giving ``leak_output`` the priority of the other chains.
    """
    _route("10.20.0.0/20", 4)
    nft("table ip user { chain out { type nat hook output priority -100; ip daddr 192.0.2.8 dnat to 10.20.0.5\n }\n }")
    assert stage.arrived((WEB,), OWN[4], ip_address("192.0.2.8"), each=3)["web"] > 0
    await firewall.apply(Wire(leaks=frozenset({Flow("wan", ip_network("192.0.2.0/24"), OUTER[4])})))
    assert stage.arrived((WEB,), OWN[4], ip_address("192.0.2.8"), each=3)["web"] == 0


async def test_replaced_without_a_gap(behind: Behind, running: Running) -> None:
    """While other flows come and go, and the table is built anew, not one packet of one that stays leaves.

    Broken by: committing the flush of the chain in a transaction of its own.
    """
    await running.firewall.apply(Wire(leaks=LEAKS))
    stop = asyncio.Event()
    sent = 0

    def flood() -> None:
        nonlocal sent
        while not stop.is_set():
            behind.emit(WEB, BEYOND[4])
            sent += 1

    flooding = asyncio.create_task(asyncio.to_thread(flood))
    await running.until(lambda: sent)
    for turn in range(25):
        more = frozenset(Flow("wan", INNER[4], ip_network(f"10.{30 + n}.0.0/16")) for n in range(turn % 7))
        if turn % 5 == 4:
            nft("add chain inet swanherd foreign")
        await running.firewall.apply(Wire(leaks=LEAKS | more))
        assert running.wire == Wire(leaks=LEAKS | more)
    stop.set()
    await flooding
    assert sent > 1000
    assert behind.heard()["web"] == 0


MANY = frozenset(Flow("wan", INNER[4], ip_network(f"10.{64 + n // 250}.{n % 250}.0/24")) for n in range(1000))


@FAMILIES
async def test_a_thousand_flows(behind: Behind, running: Running, family: int) -> None:
    """Among a thousand flows each is stopped, and what leads nowhere near passes without being compared with them.

    Broken by: ``_ranges`` without the addresses of the last stretch; ``look`` without its set.
    """
    every = MANY | LEAKS
    await running.firewall.apply(Wire(leaks=every))
    assert running.wire == Wire(leaks=every)
    assert behind.arrived((WEB,), BEYOND[family])["web"] == 0
    for last in ("10.64.0.1", "10.67.249.254"):
        assert behind.arrived((WEB,), ip_address(last), each=2)["web"] == 0
    assert behind.arrived((WEB,), PEER[family])["web"] == 20
    for beside in ("10.63.255.255", "10.64.250.0", "10.67.250.0", "10.20.16.0"):
        assert behind.arrived((WEB,), ip_address(beside), each=2)["web"] == 2
    chain = listed("chain", "inet", "swanherd", "leaks")
    assert "10.64.0.0-10.64.249.255" in chain
    await running.firewall.apply(Wire(leaks=MANY))
    assert running.wire == Wire(leaks=MANY)
    assert behind.arrived((WEB,), BEYOND[family])["web"] == 20


async def test_many_to_anywhere(behind: Behind, running: Running) -> None:
    """One flow to all the world among many: every packet is compared, and the highest address is stopped."""
    wide = MANY | {Flow("wan", INNER[4], ip_network("0.0.0.0/0"), TCP)}
    await running.firewall.apply(Wire(leaks=wide))
    assert running.wire == Wire(leaks=wide)
    assert behind.arrived((WEB,), BEYOND[4])["web"] == 0
    edge = MANY | {Flow("wan", INNER[4], ip_network("128.0.0.0/1"), TCP)}
    await running.firewall.apply(Wire(leaks=edge))
    assert running.wire == Wire(leaks=edge)
    assert behind.arrived((WEB,), ip_address("223.255.255.254"), each=2)["web"] == 0


def _route(network: str, family: int) -> None:
    ip(f"route add {network} via {PEER[family]} dev wan")
