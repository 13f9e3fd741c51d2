"""AH, transport mode, GRE, a trap and an XFRM interface, by their examples: at the peer before and after a failover."""

from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.kernel.examples import AH, ALWAYS, EXAMPLES, INSIDE_GRE, NEVER, RARELY, TUNNEL, UP_S, examples_on
from tests.lab.asking import vici_session
from tests.lab.charon import VICI
from tests.lab.loaded import read_loaded
from tests.lab.pair import Gateway, Pair
from tests.lab.topology import address, vip
from tests.lab.waiting import wait_until

NAMES: Final = frozenset(example.name for example in EXAMPLES.values())
DEVICES: Final = {"ipsec-branch": TUNNEL, "gre-branch": INSIDE_GRE}
"""And an address that is routed into each."""


@pytest.fixture
def moving(pair: Pair) -> Iterator[Pair]:
    """The ring's pair, which runs the examples too."""
    with examples_on(pair, *EXAMPLES):
        yield pair


def sas(pair: Pair) -> dict[str, dict[str, Any]]:
    """The peer's newest IKE_SA that carries traffic, of each of the examples."""
    with vici_session(pair.lab.peer.path(VICI)) as session:
        listed = [(name, sa) for item in session.list_sas() for name, sa in item.items() if name in NAMES]
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
        return found.keys() >= NAMES - {"on-demand"} and not old & {sa["initiator-spi"] for sa in found.values()}

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
