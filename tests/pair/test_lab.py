"""The lab itself, with the notify script in swanherd's place: what the demo and the fault tests stand on.

Where a test names a mutation, that change to the lab (or to the script) made it fail.
"""

import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.hosts import Host, HostDownError
from tests.lab.lab import Lab
from tests.lab.namespaces import socket_in
from tests.lab.pair import Gateway, Pair, notify_pair
from tests.lab.peer import Peer, far_address
from tests.lab.topology import GATEWAYS, address, port, vip
from tests.lab.waiting import wait_until

PING = ("ping", "-n", "-q", "-c", "1", "-W", "1")


def _sas(gateway: Gateway) -> str:
    return gateway.host.run("swanctl", "--list-sas").stdout


# --- hosts ----------------------------------------------------------------------------------------------------------


def test_a_lab_stands_in_a_second() -> None:
    """All hosts are built, wired and addressed in under a second (0.12 s alone; a second beside other work)."""
    started = time.monotonic()
    with Lab():
        assert time.monotonic() - started < 1


@pytest.mark.parametrize("family", [4, 6])
def test_neighbours_reach_each_other_at_once(lab: Lab, family: int) -> None:
    """Every host reaches its neighbour in either family, without waiting for duplicate address detection.

    Broken by: leaving out both ``nodad`` and ``accept_dad = 0`` (IPv6 addresses stay tentative for a second).
    """
    for host, target in (
        (lab.gw_a, address("peer", "wan1", family)),
        (lab.gw_b, address("peer", "wan2", family)),
        (lab.client, address("gw-b", "lan", family)),
        (lab.server, address("peer", "far", family)),
    ):
        host.run(*PING, target)


def test_the_client_has_a_way_through_each_gateway(lab: Lab) -> None:
    """From .101 the client's packets leave by gw-a, from .102 by gw-b, from .100 by the VIP."""
    for source, gateway in (("101", address("gw-a", "lan")), ("102", address("gw-b", "lan")), ("100", vip("lan"))):
        route = lab.client.run("ip", "route", "get", address("server", "far"), "from", f"10.10.0.{source}").stdout

        assert f" via {gateway} " in route


def test_the_peer_counts_and_drops_what_comes_in_clear(lab: Lab) -> None:
    """A packet for the far net that comes over a WAN without IPsec is counted and does not arrive.

    Broken by: taking the drop out of the peer's ruleset (the ping is answered).
    """
    lab.server.run("ip", "route", "add", "10.10.0.0/24", "via", address("peer", "far"))
    lab.peer.run("ip", "route", "add", "10.10.0.0/24", "via", address("gw-a", "wan1"))

    answered = lab.client.run(*PING, "-I", "10.10.0.101", address("server", "far"), check=False)

    assert answered.returncode != 0
    assert lab.clear_packets() == 1


def test_the_peer_of_a_thousand_knows_all_of_its_addresses(lab: Lab) -> None:
    """The peer's charon has missed no address: it installs no CHILD_SA for a selector that it does not know.

    Broken by: starting charon before the addresses are there (its netlink socket drops most of them).
    """
    peer = Peer(lab)
    peer.start(connections=1000)

    assert "No buffer space" not in peer.charon.journal()


def test_a_process_is_the_callers_child_and_dies_with_its_host(lab: Lab) -> None:
    """What is started in a host is signalled and waited for directly, and ends when the host loses power."""
    first = lab.gw_a.spawn("sleep", "1000")
    second = lab.gw_a.spawn("sleep", "1000")

    first.terminate()

    assert first.wait(5) == -15
    lab.power_off(lab.gw_a)
    assert second.wait(5) == -9


def test_a_command_runs_in_its_host_whatever_its_pid(tmp_path: Path) -> None:
    """A command whose pid within the host is the one that the lab knows the host by runs in the host all the same.

    Broken by: ``nsenter --target`` (util-linux 2.41 takes the number for one of the host's: about one command in a
    host's life runs in the lab's own network, and says ``Cannot assign requested address``).
    """
    for _ in range(100):  # the host's pid shall be one that the host itself has not used up yet
        subprocess.run(["true"], check=True)
    host = Host("alone", logs=tmp_path)
    host.launch()
    host.ready()
    try:
        pid = 0
        while pid < host.pid:
            own, net = host.run("readlink", "/proc/self", "/proc/self/ns/net").stdout.split()
            pid = int(own)
            assert net == str(Path(host.netns).readlink()), f"pid {pid} in {host}"
        assert pid == host.pid
    finally:
        host.stop()


def test_orphans_are_reaped(lab: Lab) -> None:
    """A host's first process takes over orphans and waits for them: no zombies pile up."""
    lab.gw_a.run("sh", "-c", "(sleep 0.01 &) & (sleep 0.02 &) &")

    wait_until(
        lambda: "<defunct>" not in (listed := lab.gw_a.run("ps", "ax").stdout) and "sleep 0.0" not in listed,
        "no orphan and no zombie left",
    )


def test_a_frozen_host_does_nothing_until_it_is_thawed(lab: Lab) -> None:
    """Freezing stops every process of the host, and thawing lets each go on where it was.

    Broken by: sending STOP to the first pid only.
    """
    # No shell with children: one that is stopped between vfork and exec leaves its parent in another kind of sleep.
    counter = (
        "import sys, time, itertools\n"
        "for i in itertools.count():\n open(sys.argv[1], 'w').write(str(i))\n time.sleep(.001)"
    )
    writers = [lab.gw_a.spawn("python3", "-c", counter, f"/run/count{number}") for number in (1, 2)]

    def counts() -> list[str]:
        return [lab.gw_a.path(f"/run/count{number}").read_text() for number in (1, 2)]

    wait_until(lambda: all(lab.gw_a.path(f"/run/count{number}").exists() for number in (1, 2)), "both count")
    lab.gw_a.freeze()
    wait_until(lambda: all(_state(writer.pid) == "T" for writer in writers), "both are stopped")
    before = counts()

    lab.gw_a.thaw()

    wait_until(lambda: all(new != old for new, old in zip(counts(), before, strict=True)), "both count again")


def test_sockets_stay_in_their_namespace(lab: Lab) -> None:
    """A socket made in a host's namespace has that host's addresses; the caller's thread stays where it is."""
    mine = Path("/proc/thread-self/ns/net").readlink()

    with socket_in(lab.gw_a.netns, socket.AF_INET, socket.SOCK_DGRAM) as inside:
        inside.bind((address("gw-a", "wan1"), 0))

    assert Path("/proc/thread-self/ns/net").readlink() == mine
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outside, pytest.raises(OSError, match="Cannot assign"):
        outside.bind((address("gw-a", "wan1"), 0))


def test_power_off_and_on(lab: Lab) -> None:
    """Without power a host is silent and its kernel's state is lost; the switch's ports live on; it boots clean."""
    host = lab.gw_a
    host.write("/etc/mine", "x")
    host.run("ip", "address", "add", f"{vip('wan1')}/24", "dev", "wan1")
    before = lab.switch.run("ip", "-o", "link", "show", port("gw-a", "wan1")).stdout.split(":")[0]

    lab.power_off(host)

    assert not host.up
    with pytest.raises(HostDownError):
        _ = host.pid
    assert lab.gw_b.run(*PING, address("gw-a", "wan1"), check=False).returncode != 0
    lab.power_on(host)
    assert lab.switch.run("ip", "-o", "link", "show", port("gw-a", "wan1")).stdout.split(":")[0] == before
    assert vip("wan1") not in host.run("ip", "address").stdout
    assert not host.path("/etc/mine").exists()
    lab.gw_b.run(*PING, address("gw-a", "wan1"))


def test_a_cut_cable_takes_the_carrier(lab: Lab) -> None:
    """A pulled cable is what a gateway sees as NO-CARRIER; its addresses stay, and plugged in again it works."""
    lab.cut(lab.gw_a, "wan1")

    assert "NO-CARRIER" in lab.gw_a.run("ip", "-o", "link", "show", "wan1").stdout
    assert address("gw-a", "wan1") in lab.gw_a.run("ip", "address", "show", "wan1").stdout
    lab.gw_a.run(*PING, address("peer", "wan2"))
    lab.restore(lab.gw_a, "wan1")
    lab.gw_a.run(*PING, address("peer", "wan1"))


def test_every_process_of_the_lab_is_marked(notified: Pair) -> None:
    """keepalived, charon and all else in a gateway carry the mark by which leftovers would be found."""
    for gateway in notified.gateways:
        for pid in (*gateway.keepalived.pids(), *gateway.charon.pids(), gateway.host.pid):
            assert b"SWANHERD_LAB=1" in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")


# --- the pair with the notify script --------------------------------------------------------------------------------


def _stop_keepalived(pair: Pair) -> Callable[[], None]:
    pair.a.keepalived.ask_to_stop()

    def mend() -> None:
        wait_until(lambda: not pair.a.keepalived.running, "keepalived has ended")
        pair.a.keepalived.start()

    return mend


def _kill_power(pair: Pair) -> Callable[[], None]:
    pair.a.power_off()
    return pair.a.power_on


def _cut_wan(pair: Pair) -> Callable[[], None]:
    pair.a.cut("wan1")
    return lambda: pair.a.restore("wan1")


def _flip(pair: Pair) -> Callable[[], None]:
    pair.a.keepalived.demote()
    return pair.a.keepalived.promote


@pytest.mark.parametrize("fault", [_stop_keepalived, _kill_power, _cut_wan, _flip])
def test_a_fault_moves_vip_and_tunnel_and_back(notified: Pair, fault: Callable[[Pair], Callable[[], None]]) -> None:
    """After each fault gw-b holds the VIPs and traffic passes through it; mended, gw-a has all of it again.

    Broken by: ``swanctl --load-all`` taken out of the script's MASTER branch (no traffic); ``track_file`` taken out of
    the instances (the flip never happens); cutting only the LAN's cable of a power-off.
    """
    assert "INSTALLED" in _sas(notified.a)

    mend = fault(notified)

    notified.wait_for_master(notified.b, within_s=5)
    notified.wait_for_traffic(within_s=5)
    assert "INSTALLED" in _sas(notified.b)
    mend()
    notified.wait_for_master(notified.a, within_s=5)
    notified.wait_for_traffic(within_s=5)
    # The script has taken the tunnel down on the one that gave up.
    wait_until(lambda: _sas(notified.b) == "", "gw-b has no SA any more", within_s=5)


def test_keepalived_killed_leaves_its_vip(notified: Pair) -> None:
    """Killed with -9, keepalived says no goodbye: its VIP stays, and both gateways hold it.

    Broken by: killing the parent without freezing both first (the VRRP process removes the VIP).
    """
    notified.a.keepalived.kill()

    wait_until(notified.b.holds, "gw-b holds the VIP", within_s=5)
    assert notified.a.holds()


def test_a_frozen_charon_answers_nothing_and_goes_on_thawed(notified: Pair) -> None:
    """While charon is frozen the tunnel is dead; thawed, the same SA carries traffic."""
    before = _sas(notified.a).splitlines()[0]

    notified.a.charon.freeze()

    assert not notified.passes()
    notified.a.charon.thaw()
    notified.wait_for_traffic()
    assert _sas(notified.a).splitlines()[0] == before


def test_many_connections_through_one_pair() -> None:
    """Twenty tunnels to one peer come up and each carries traffic; the peer's limits are off."""
    with notify_pair(connections=20) as pair:
        wait_until(lambda: _sas(pair.a).count("INSTALLED") == 20, "20 children are up")
        for number in (1, 19):
            pair.lab.client.run(*PING, far_address(number))


def test_without_a_tunnel_the_traffic_leaks_and_is_seen(notified: Pair) -> None:
    """With both gateways' charons gone the client's packets leave in clear: the peer counts them, none is answered."""
    for gateway in notified.gateways:
        gateway.charon.kill()

    assert not notified.passes()
    assert notified.lab.clear_packets() > 0


def test_the_names_are_what_everybody_agreed_on(lab: Lab) -> None:
    """Hosts know their own names, and the gateways are the two that can be master."""
    for name, host in lab.hosts.items():
        assert host.run("hostname").stdout.strip() == name
    assert tuple(gateway.name for gateway in lab.gateways) == GATEWAYS


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
