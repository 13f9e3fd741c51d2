"""What ``test_moves.py`` proves of the examples by IPv4, with IPv6 outside: at the peer, through a failover and back.

AH (by IKEv1), transport mode, GRE, a trap, an XFRM interface, forced encapsulation; peers that may be anywhere; and
each family in the other where the examples have no such connection.
"""

from collections.abc import Mapping
from typing import Any, Final

import pytest

from tests.kernel.examples import (
    AH_6,
    BOTH_IN_FOUR,
    FORCED_6,
    FOUR_IN_SIX,
    INSIDE_GRE_6,
    OVER_IPV6,
    OWN_6,
    RARELY_6,
    TUNNEL_6,
    UP_S,
    VANS,
    examples_on,
    load_at_peer,
    of_files,
)
from tests.kernel.test_moves import L2TP, PINGS, link, passes
from tests.lab.asking import vici_session
from tests.lab.charon import VICI
from tests.lab.loaded import read_loaded
from tests.lab.pair import Gateway, Pair
from tests.lab.told import Told
from tests.lab.topology import address, place, vip
from tests.lab.waiting import wait_until

CONNECTIONS: Final = {example.name: example for example in of_files(*OVER_IPV6)}
CALL: Final = frozenset(
    {"tunnel6", "ah6", "transport6", "gre6", "forced6", "four-in-six", "both-in-four", "transport-all"}
)
"""What comes up by itself."""
PINGED: Final = {
    "demand6": (RARELY_6,),
    "tunnel6": (TUNNEL_6,),
    "ah6": (AH_6,),
    "forced6": (FORCED_6,),
    "gre6": INSIDE_GRE_6,
    "four-in-six": (FOUR_IN_SIX,),
    "both-in-four": BOTH_IN_FOUR,
    **{name: (inside,) for name, inside in VANS.items()},
}
"""Behind the peer, by connection."""
DEVICES: Final = {"ipsec-six": (TUNNEL_6, {OWN_6}), "gre-six": (INSIDE_GRE_6[1], {"172.31.6.1", "fd00:31::1"})}
"""What is routed into each, and its addresses."""


PLACES: Final = 41, 42
"""Where else on the WAN the peer is, one after another: addresses that nobody has before or after, since the gateways
remember for a while whose device an address was (that of a router once, whose packets then came round by the peer)."""


def placed(last: int) -> dict[str, str]:
    """Where the peers that may be anywhere are: their address on the WAN, by connection."""
    return {name: place("wan1", last, CONNECTIONS[name].outside) for name in VANS}


def sas(pair: Pair, old: frozenset[bytes]) -> dict[str, dict[str, Any]]:
    """The peer's newest IKE_SA that carries traffic, of each connection that has one which is not *old*."""
    with vici_session(pair.lab.peer.path(VICI)) as session:
        listed = [(name, sa) for item in session.list_sas() for name, sa in item.items() if name in CONNECTIONS]
    return {
        name: sa
        for name, sa in listed
        if sa["initiator-spi"] not in old and any(child["state"] == b"INSTALLED" for child in sa["child-sas"].values())
    }


def counted(pair: Pair, old: frozenset[bytes]) -> dict[str, int]:
    """Packets that the peer has taken out of the SAs of each."""
    return {
        name: sum(int(child["packets-in"]) for child in sa["child-sas"].values()) for name, sa in sas(pair, old).items()
    }


def call(pair: Pair, at: Mapping[str, str]) -> None:
    """Have the peers that may be anywhere call from there."""
    bits = {4: "32", 6: "128 nodad"}
    addresses = [f"address replace {each}/{bits[CONNECTIONS[name].outside]} dev wan1\n" for name, each in at.items()]
    pair.lab.peer.run("ip", "-batch", "-", text_in="".join(addresses))
    load_at_peer(pair, "anywhere", at=at)
    with vici_session(pair.lab.peer.path(VICI)) as session:
        for name in VANS:
            for sa in [sa for item in session.list_sas({"ike": name}) for sa in item.values()]:
                list(session.terminate({"ike-id": sa["uniqueid"], "force": "yes", "timeout": "-1"}))
            list(session.initiate({"ike": name, "child": "net", "timeout": "-1"}))


def say_l2tp(gateway: Gateway) -> None:
    """Send what transport mode encrypts: packets of the gateway's own, from the VIP to the peer."""
    ends = f"({vip('wan1', 6)!r}, 0)", f"({address('peer', 'wan1', 6)!r}, 0)"
    open_it = f"import socket; s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, {L2TP}); s.bind({ends[0]})"
    gateway.host.run("python3", "-c", f"{open_it}; [s.sendto(bytes(40), {ends[1]}) for _ in range({PINGS})]")


def own_passes(gateway: Gateway, source: str, target: str) -> bool:
    """Whether all pings of the gateway itself are answered."""
    ping = ("ping", "-n", "-q", "-c", str(PINGS), "-i", "0.2", "-W", "5", "-I", source, target)
    return f" {PINGS} received" in gateway.host.run(*ping, check=False).stdout


def prove(pair: Pair, master: Gateway, at: Mapping[str, str], old: frozenset[bytes]) -> frozenset[bytes]:
    """Everything that the peer and both gateways must show, and traffic by each; the peer's SPIs, none *old*."""
    wait_until(lambda: sas(pair, old).keys() >= CALL, "what calls is up at the peer", within_s=UP_S, every_s=0.5)
    wait_until(lambda: read_loaded(master.host).traps == {"demand6/rarely"}, "the trap is on the master")
    Told(master.agent).wait_for(*VANS, role="active", reason="waiting-for-peer", within_s=UP_S)
    assert sas(pair, old).keys() == CALL
    call(pair, at)
    for name, hosts in PINGED.items():  # the first packet brings demand6 up
        for host in hosts:
            wait_until(lambda host=host: passes(pair, host), f"{name}: traffic to {host}", within_s=UP_S)  # type: ignore[misc]
    before = counted(pair, old)
    assert before.keys() == CONNECTIONS.keys()
    for name, hosts in PINGED.items():
        for host in hosts:
            assert passes(pair, host), f"{name}: no traffic to {host}"
    assert own_passes(master, OWN_6, TUNNEL_6), "from the XFRM interface's own address"
    assert own_passes(master, vip("wan1"), address("peer", "wan1")), "between the ends"
    say_l2tp(master)
    after = counted(pair, old)
    expected = {name: PINGS * len(PINGED.get(name, [""])) + (PINGS if name == "tunnel6" else 0) for name in CONNECTIONS}
    few = {name: (before[name], after[name]) for name in CONNECTIONS if after[name] - before[name] < expected[name]}
    assert few == {}, "the peer has taken each packet out of the connection's own SA"

    found = sas(pair, old)
    children = {
        name: next(child for child in sa["child-sas"].values() if child["state"] == b"INSTALLED")
        for name, sa in found.items()
    }
    assert {name for name, child in children.items() if child["mode"] == b"TRANSPORT"} == {
        "transport6",
        "gre6",
        "transport-all",
    }
    assert {name for name, child in children.items() if child["protocol"] != b"ESP"} == {"ah6"}
    ah = children["ah6"]
    # A Quick Mode has its key exchange at once.
    assert (ah["integ-alg"], ah["dh-group"], found["ah6"]["version"]) == (b"HMAC_SHA2_512_256", b"MODP_2048", b"1")
    assert {name for name, child in children.items() if child.get("encap")} == {"forced6"}
    assert {name for name, sa in found.items() if sa.get("nat-remote")} == {"forced6"}
    assert {name for name, sa in found.items() if sa.get("initiator")} == VANS.keys()
    for name, sa in found.items():
        outside = CONNECTIONS[name].outside
        ends = vip("wan1", outside), at.get(name, address("peer", "wan1", outside))
        assert (sa["remote-host"].decode(), sa["local-host"].decode()) == ends, name

    standby = pair.other(master)
    for device, (inside, own) in DEVICES.items():
        assert ",UP" in link(master, device)
        said = master.host.run("ip", "-o", "address", "show", "dev", device, "scope", "global").stdout
        assert {line.split()[3].partition("/")[0] for line in said.splitlines()} == own
        assert f"dev {device}" in master.host.run("ip", "route", "get", inside).stdout
        wait_until(
            lambda device=device: link(standby, device) and ",UP" not in link(standby, device),  # type: ignore[misc]
            f"{device} is down on the standby",
        )
        assert "unreachable" in standby.host.run("ip", "-6", "route", "show", "match", inside).stdout
    wait_until(lambda: not read_loaded(standby.host).traps, "no trap on the standby")
    wait_until(lambda: not standby.host.run("ip", "xfrm", "state").stdout, "no SA in the standby's kernel")
    return frozenset(sa["initiator-spi"] for sa in found.values())


@pytest.mark.timeout(1800)
def test_all_move(pair: Pair) -> None:
    """All are up at the peer and carry traffic by IPv6, after a failover by the other gateway, and back again.

    Who may be anywhere calls from two addresses, before and after, and nobody calls it. The XFRM interface has its IPv6
    address again, which the kernel forgets when the device goes down. Broken by: ``ANYWHERE`` with IPv4's network for
    "::" (nobody is let in); ``_gre`` that answers "gre" whatever the ends are; ``_one`` that adds addresses to a new
    device only (the gateway that is back has none).
    """
    with examples_on(pair, *OVER_IPV6):
        first = prove(pair, pair.a, placed(PLACES[0]), frozenset())
        pair.a.keepalived.stop()
        pair.wait_for_master(pair.b, within_s=UP_S)
        second = prove(pair, pair.b, placed(PLACES[1]), first)
        pair.a.keepalived.start()
        pair.wait_for_master(pair.a, within_s=UP_S)
        prove(pair, pair.a, placed(PLACES[0]), first | second)
    for each in (where for last in PLACES for where in placed(last).values()):
        pair.lab.peer.run("ip", "address", "del", f"{each}/{128 if ':' in each else 32}", "dev", "wan1")
    for gateway in pair.gateways:
        for device in DEVICES:
            wait_until(lambda gateway=gateway, device=device: not link(gateway, device), f"{device} is gone")  # type: ignore[misc]
