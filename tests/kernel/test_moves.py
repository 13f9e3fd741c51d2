"""Examples of what needs a kernel with IPsec, as they are shipped: at the peer before and after a failover.

AH, transport mode, GRE, a trap, XFRM interfaces, encapsulation that is forced, and each IP family in the other.
"""

from typing import Any, Final

import pytest

from swanherd.world.links import ROUTE_PROTOCOL
from tests.kernel.examples import (
    AH,
    ALWAYS,
    BOTH,
    EXAMPLES,
    FORCED,
    INSIDE_GRE,
    NEVER,
    RARELY,
    SHARED,
    SIX_IN_FOUR,
    TUNNEL,
    UP_S,
    examples_on,
    of_files,
)
from tests.lab.asking import vici_session
from tests.lab.charon import VICI
from tests.lab.loaded import read_loaded
from tests.lab.pair import Gateway, Pair
from tests.lab.told import Told
from tests.lab.topology import address, vip
from tests.lab.waiting import wait_until

CONNECTIONS: Final = {example.name: example for example in of_files(*EXAMPLES)}
DEVICES: Final = {"ipsec-branch": TUNNEL, "ipsec-shared": SHARED[1], "gre-branch": INSIDE_GRE}
"""And an address that is routed into each."""
ADDRESSES: Final = {"ipsec-branch": "169.254.10.1", "gre-branch": "172.31.0.1"}
"""Of their own."""
PINGED: Final = {
    "ah": (AH,),
    "on-demand": (ALWAYS,),
    "tunnel": (TUNNEL,),
    "depot": SHARED[:1],
    "harbour": SHARED[1:],
    "nat-forced": (FORCED,),
    "nat-never": (NEVER,),
    "over-ipv6": BOTH,
    "over-ipv4": (SIX_IN_FOUR,),
    "gre": (INSIDE_GRE,),
}
"""Behind the peer, by connection; on-demand's other child is judged by itself."""
PINGS: Final = 3
L2TP: Final = 115


def sas(pair: Pair) -> dict[str, dict[str, Any]]:
    """The peer's newest IKE_SA that carries traffic, of each of the examples."""
    with vici_session(pair.lab.peer.path(VICI)) as session:
        listed = [(name, sa) for item in session.list_sas() for name, sa in item.items() if name in CONNECTIONS]
    return {
        name: sa for name, sa in listed if any(child["state"] == b"INSTALLED" for child in sa["child-sas"].values())
    }


def passes(pair: Pair, host: str) -> bool:
    """Whether pings from the client, by the VIP, reach *host* behind the peer, and all answers come back."""
    source = address("client", "lan", 6 if ":" in host else 4)
    ping = ("ping", "-n", "-q", "-c", str(PINGS), "-i", "0.2", "-W", "5", "-I", source, host)
    return f" {PINGS} received" in pair.lab.client.run(*ping, check=False).stdout


def say_l2tp(gateway: Gateway) -> None:
    """Send what the transport example encrypts: packets of the gateway's own, from the VIP to the peer."""
    ends = f"({vip('wan1')!r}, 0)", f"({address('peer', 'wan1')!r}, 0)"
    open_it = f"import socket; s = socket.socket(socket.AF_INET, socket.SOCK_RAW, {L2TP}); s.bind({ends[0]})"
    code = f"{open_it}; [s.sendto(bytes(40), {ends[1]}) for _ in range({PINGS})]"
    gateway.host.run("python3", "-c", code)


def link(gateway: Gateway, device: str) -> str:
    """The device on a gateway; "" where it has none."""
    return gateway.host.run("ip", "-o", "link", "show", device, check=False).stdout


def counted(pair: Pair) -> dict[str, int]:
    """Packets that the peer has taken out of the SAs of each."""
    return {name: sum(int(child["packets-in"]) for child in sa["child-sas"].values()) for name, sa in sas(pair).items()}


def prove(pair: Pair, master: Gateway, old: frozenset[bytes]) -> frozenset[bytes]:
    """Everything that the peer and both gateways must show, and traffic by each; the peer's SPIs, none *old*."""

    def settled() -> bool:
        found = sas(pair)
        return found.keys() >= CONNECTIONS.keys() and not old & {sa["initiator-spi"] for sa in found.values()}

    wait_until(settled, "all are up at the peer", within_s=UP_S, every_s=0.5)
    wait_until(lambda: read_loaded(master.host).traps == {"on-demand/rarely"}, "the trap is on the master")
    before = counted(pair)
    for name, hosts in PINGED.items():
        for host in hosts:
            wait_until(lambda host=host: passes(pair, host), f"{name}: traffic to {host}", within_s=UP_S)  # type: ignore[misc]
    say_l2tp(master)
    after = counted(pair)
    few = {
        name: (before[name], after[name])
        for name in CONNECTIONS
        if after[name] - before[name] < PINGS * len(PINGED.get(name, [""]))
    }
    assert few == {}, "the peer has taken each packet out of the connection's own SA"
    assert {child["name"] for child in sas(pair)["on-demand"]["child-sas"].values()} == {b"always"}, (
        "until a packet came"
    )
    passes(pair, RARELY)
    wait_until(lambda: passes(pair, RARELY), "the first packet has brought the tunnel up", within_s=UP_S)

    found = sas(pair)
    modes = {name: {child["mode"] for child in sa["child-sas"].values()} for name, sa in found.items()}
    assert {name for name, each in modes.items() if each == {b"TRANSPORT"}} == {"transport", "gre"}
    protocols = {name: {child["protocol"] for child in sa["child-sas"].values()} for name, sa in found.items()}
    assert {name for name, each in protocols.items() if each != {b"ESP"}} == {"ah"}
    assert protocols["ah"] == {b"AH"}
    for name, sa in found.items():
        assert sa["remote-host"].decode() == vip("wan1", CONNECTIONS[name].outside)
        # What is forced is the claim of a NAT, as charon does it; nothing else here is in UDP.
        assert sa.get("nat-remote") == (b"yes" if name == "nat-forced" else None), name
        encapsulated = {child.get("encap") for child in sa["child-sas"].values()}
        assert encapsulated == {b"yes" if name == "nat-forced" else None}, name

    standby = pair.other(master)
    for device, inside in DEVICES.items():
        wait_until(lambda device=device: ",UP" in link(master, device), f"{device} is up on the master")  # type: ignore[misc]
        assert f"dev {device}" in master.host.run("ip", "route", "get", inside).stdout
        assert ADDRESSES.get(device, "") in master.host.run("ip", "-o", "address", "show", "dev", device).stdout
        wait_until(
            lambda device=device: link(standby, device) and ",UP" not in link(standby, device),  # type: ignore[misc]
            f"{device} is down on the standby",
        )
        assert "unreachable" in standby.host.run("ip", "route", "show", "match", inside).stdout
    wait_until(lambda: not read_loaded(standby.host).traps, "no trap on the standby")
    return frozenset(sa["initiator-spi"] for sa in found.values())


@pytest.mark.timeout(900)
def test_all_move(pair: Pair) -> None:
    """All are up at the peer and carry traffic; after a failover all are, by the other gateway, and so are the devices.

    Nobody but swanherd makes a device or a route on a gateway: what goes through the GRE goes on after it. An agent
    that is killed and started has the same devices, and they are gone with their settings. Broken by:
    ``links.wanted`` that has a device up whatever the role (it is up on the standby), or no routes into a device;
    ``_run`` without ``Install`` (no trap on the new master); ``convert`` without ``encap`` (nothing is in UDP).
    """
    with examples_on(pair, *EXAMPLES):
        before = prove(pair, pair.a, frozenset())
        there = {device: link(pair.a, device) for device in DEVICES}
        pair.a.agent.kill()
        pair.a.agent.start()
        Told(pair.a.agent).wait_for("tunnel", "gre", role="active", reason="up", within_s=UP_S)
        assert {device: link(pair.a, device) for device in DEVICES} == there
        assert frozenset(sa["initiator-spi"] for sa in sas(pair).values()) == before
        pair.a.keepalived.stop()
        pair.wait_for_master(pair.b, within_s=UP_S)
        prove(pair, pair.b, before)
    for gateway in pair.gateways:
        for device in DEVICES:
            wait_until(lambda gateway=gateway, device=device: not link(gateway, device), f"{device} is gone")  # type: ignore[misc]
        assert gateway.host.run("ip", "route", "show", "proto", str(ROUTE_PROTOCOL)).stdout == ""
