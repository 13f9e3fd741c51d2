"""AH, transport mode, GRE, a trap and an XFRM interface, by their examples: at the peer before and after a failover."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from tests.lab.asking import vici_session
from tests.lab.charon import VICI
from tests.lab.loaded import read_loaded
from tests.lab.pair import Gateway, Pair
from tests.lab.peer import SECRET
from tests.lab.topology import address, subnet, vip
from tests.lab.waiting import wait_until

EXAMPLES: Final = Path(__file__).parents[2] / "docs/examples"
CONF_D: Final = "/etc/swanherd/conf.d"
FILES: Final = ("ah", "transport", "gre-interface", "on-demand", "xfrm-interface", "nat-traversal")
UP_S: Final = 120.0
"""For all of them to come up, on an emulated machine."""

AH: Final = "10.21.0.17"
RARELY: Final = "10.21.0.11"
ALWAYS: Final = "10.21.0.12"
TUNNEL: Final = "10.21.0.20"
NEVER: Final = "10.21.0.16"
INSIDE_GRE: Final = "10.60.0.1"
"""Behind the peer's end of the GRE."""
GRE: Final = {"mode": "transport", "local_ts": ["dynamic[47]"], "remote_ts": ["dynamic[47]"]}
L2TP: Final = {"mode": "transport", "local_ts": ["dynamic[115]"], "remote_ts": ["dynamic[115]"]}
DEVICES: Final = {"ipsec-branch": TUNNEL, "gre-branch": INSIDE_GRE}
"""And an address that is routed into each."""
THEIR_GRE: Final = f"""\
link add gre-branch type gre local {address("peer", "wan1")} remote {vip("wan1")}
address add 172.31.0.2/32 dev gre-branch
address add {INSIDE_GRE}/32 dev gre-branch
link set gre-branch mtu 1400 up
rule add from {INSIDE_GRE} lookup 60
route add default dev gre-branch table 60
"""
"""The peer's end, which is always up: what answers from behind it goes back through it."""


def to(host: str, **more: Any) -> dict[str, Any]:
    """The peer's child for traffic to *host*."""
    return {"local_ts": [f"{host}/32"], "remote_ts": [subnet("lan")], **more}


PEER: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "ah": ("ah", {"net": to(AH, ah_proposals=["sha256"])}),
    "transport": ("transport", {"l2tp": L2TP}),
    "gre": ("gre", {"gre": GRE}),
    "on-demand": ("demand", {"rarely": to(RARELY), "always": to(ALWAYS)}),
    "tunnel": ("tunnel", {"net": to(TUNNEL)}),
    "nat-never": ("never", {"net": to(NEVER)}),
}
"""What each is called in its identities, and the peer's children."""


@pytest.fixture
def moving(pair: Pair) -> Iterator[Pair]:
    """The ring's pair, which runs the examples too."""
    batch = "".join(f"address replace {host}/32 dev lo\n" for host in (AH, RARELY, ALWAYS, TUNNEL, NEVER))
    pair.lab.peer.run("ip", "-batch", "-", text_in=batch + THEIR_GRE)
    with vici_session(pair.lab.peer.path(VICI)) as session:
        for name, (word, children) in PEER.items():
            ids = f"sun-{word}.example", f"moon-{word}.example"
            session.load_shared({"id": name, "type": "IKE", "data": SECRET, "owners": list(ids)})
            ends = {"local": {"auth": "psk", "id": ids[0]}, "remote": {"auth": "psk", "id": ids[1]}}
            session.load_conn({name: {"local_addrs": [address("peer", "wan1")], **ends, "children": dict(children)}})
    more = {f"{CONF_D}/{name}.toml": (EXAMPLES / f"{name}.toml").read_text() for name in FILES}
    more["/etc/swanherd/secrets/branch.psk"] = SECRET
    for gateway in pair.gateways:
        gateway.agent.files |= more
        gateway.agent.install()
        gateway.agent.reload()
    yield pair
    if not pair.a.keepalived.running:
        pair.a.keepalived.start()
    for gateway in pair.gateways:
        for path in more:
            gateway.agent.files.pop(path, None)
            gateway.host.run("rm", "-f", path)
        gateway.agent.reload()
    with vici_session(pair.lab.peer.path(VICI)) as session:
        for name in PEER:
            session.unload_conn({"name": name})
    pair.lab.peer.run("ip", "-batch", "-", text_in=f"link del gre-branch\nrule del from {INSIDE_GRE} lookup 60\n")
    pair.wait_for_master(pair.a, within_s=UP_S)
    pair.wait_for_traffic(within_s=UP_S)


def sas(pair: Pair) -> dict[str, dict[str, Any]]:
    """The peer's newest IKE_SA that carries traffic, of each of the examples."""
    with vici_session(pair.lab.peer.path(VICI)) as session:
        listed = [(name, sa) for item in session.list_sas() for name, sa in item.items() if name in PEER]
    return {
        name: sa for name, sa in listed if any(child["state"] == b"INSTALLED" for child in sa["child-sas"].values())
    }


def passes(pair: Pair, host: str) -> bool:
    """Whether a ping from the client, by the VIP, reaches *host* behind the peer, and an answer comes back."""
    ping = ("ping", "-n", "-q", "-c", "3", "-W", "5", "-I", address("client", "lan"), host)
    return pair.lab.client.run(*ping, check=False).returncode == 0


def link(gateway: Gateway, device: str) -> str:
    """The device on a gateway; "" where it has none."""
    return gateway.host.run("ip", "-o", "link", "show", device, check=False).stdout


def counted(pair: Pair) -> int:
    """Packets that the peer has taken out of the SA for GRE."""
    return sum(int(child["packets-in"]) for child in sas(pair)["gre"]["child-sas"].values())


def prove(pair: Pair, master: Gateway, old: frozenset[bytes]) -> frozenset[bytes]:
    """Everything that the peer and both gateways must show, and traffic by each; the peer's SPIs, none *old*."""

    def settled() -> bool:
        found = sas(pair)
        return found.keys() >= PEER.keys() - {"on-demand"} and not old & {sa["initiator-spi"] for sa in found.values()}

    wait_until(settled, "all are up at the peer", within_s=UP_S, every_s=0.5)
    wait_until(lambda: read_loaded(master.host).traps == {"on-demand/rarely"}, "the trap is on the master")
    for host in (AH, ALWAYS, TUNNEL, NEVER):
        wait_until(lambda host=host: passes(pair, host), f"traffic to {host}", within_s=UP_S)  # type: ignore[misc]
    passes(pair, RARELY)
    wait_until(lambda: passes(pair, RARELY), "the first packet has brought the tunnel up", within_s=UP_S)

    found = sas(pair)
    (ah,) = found["ah"]["child-sas"].values()
    modes = [child["mode"] for name in ("transport", "gre") for child in found[name]["child-sas"].values()]
    assert (ah["protocol"], *modes) == (b"AH", b"TRANSPORT", b"TRANSPORT")
    assert {sa["remote-host"].decode() for sa in found.values()} == {vip("wan1")}
    assert "nat-any" not in found["nat-never"]

    wait_until(lambda: passes(pair, INSIDE_GRE), "traffic through the GRE", within_s=UP_S)
    before = counted(pair)
    assert passes(pair, INSIDE_GRE)
    assert counted(pair) - before >= 3, "all of it in the SA"

    standby = pair.other(master)
    for device, inside in DEVICES.items():
        wait_until(lambda device=device: ",UP" in link(master, device), f"{device} is up on the master")  # type: ignore[misc]
        assert f"dev {device}" in master.host.run("ip", "route", "get", inside).stdout
        wait_until(
            lambda device=device: link(standby, device) and ",UP" not in link(standby, device),  # type: ignore[misc]
            f"{device} is down on the standby",
        )
        assert "unreachable" in standby.host.run("ip", "route", "show", "match", inside).stdout
    wait_until(lambda: not read_loaded(standby.host).traps, "no trap on the standby")
    return frozenset(sa["initiator-spi"] for sa in found.values())


@pytest.mark.timeout(590)
def test_all_move(moving: Pair) -> None:
    """All are up at the peer and carry traffic; after a failover all are, by the other gateway, and so are the devices.

    Nobody but swanherd makes a device or a route on a gateway: what goes through the GRE goes on after it. Broken by:
    ``links.wanted`` that has a device up whatever the role (it is up on the standby), or no routes into a GRE device;
    ``_run`` without ``Install`` (no trap on the new master).
    """
    pair = moving
    before = prove(pair, pair.a, frozenset())
    pair.a.keepalived.stop()
    pair.wait_for_master(pair.b, within_s=UP_S)
    prove(pair, pair.b, before)
