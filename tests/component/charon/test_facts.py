"""What charon does and the code relies on. Each may change with a new release; then these tests fail first."""

import asyncio
import socket
import struct
from dataclasses import replace

import pytest
from vici.protocol import Packet

from swanherd.core.intent import Connection, Identity
from swanherd.world.charon import CharonRefused
from swanherd.world.charon.codec import Outgoing, encode
from swanherd.world.charon.listener import OWN_LOAD_S
from swanherd.world.charon.looker import YOUNG_S
from swanherd.world.charon.messages import load_conn
from swanherd.world.charon.transport import ViciConnection
from tests.component.charon.agents import running
from tests.component.charon.sites import Site, connection
from tests.lab.waiting import wait_until


async def _up(left: Site, right: Site) -> None:
    async with running(left.socket_path) as here, running(right.socket_path) as there:
        ours = connection(left, right)
        await there.load(connection(right, left), right)
        await here.load(ours, left)
        await here.charon.initiate(ours, ours.children[0])
        await here.until(here.up, "up")
        await there.until(there.up, "up there")


def _ids(site: Site) -> list[bytes]:
    return [sa["uniqueid"] for item in site.vici().list_sas() for sa in item.values()]


async def test_unload_leaves_the_sas(sites: tuple[Site, Site]) -> None:
    """``unload-conn`` closes nothing: an unload is no fence."""
    left, right = sites
    await _up(left, right)
    before = _ids(left)
    left.vici().unload_conn({"name": "office"})
    assert _ids(left) == before != []


async def test_loading_the_same_changes_nothing(sites: tuple[Site, Site]) -> None:
    """``load-conn`` of what is loaded already is told as "updated", and the SA and its child stay."""
    left, right = sites
    await _up(left, right)
    before = _ids(left)
    async with running(left.socket_path) as again:
        await again.load(connection(left, right), left)
    assert "updated vici connection: office" in left.log()
    assert "replaced vici connection: office" not in left.log()
    assert _ids(left) == before != []


async def test_same_id_replaces_the_secret(sites: tuple[Site, Site]) -> None:
    """``load-shared`` under the same id replaces: a wrong secret replaced by the right one lets a handshake succeed."""
    left, right = sites
    ours = connection(left, right)
    async with running(left.socket_path) as here, running(right.socket_path) as there:
        await there.load(connection(right, left), right)
        await here.load(ours, left, secret=b"wrong")
        await here.load(ours, left)
        assert left.vici().get_shared()["keys"] == [b"swanherd-office"]
        await here.charon.initiate(ours, ours.children[0])
        await here.until(here.up, "up")


async def test_traps_survive_an_unload(sites: tuple[Site, Site]) -> None:
    """A trap stays after ``unload-conn``: it must be uninstalled, before or after."""
    left, right = sites
    ours = connection(left, right)
    async with running(left.socket_path) as here:
        await here.load(ours, left)
        await here.charon.install(ours, ours.children[0])
        await here.charon.unload("office")
        found = await here.charon.read("office")
        assert found.config is None
        assert found.traps == {"lan"}
        await here.charon.uninstall("office", "lan")
        assert (await here.charon.read("office")).empty


async def test_load_all_by_somebody_unloads_ours(sites: tuple[Site, Site]) -> None:
    """``swanctl --load-all`` with an empty file takes connection and secret away, not the SAs; seen within 2 s."""
    left, right = sites
    ours = connection(left, right)
    async with running(left.socket_path) as here, running(right.socket_path) as there:
        await there.load(connection(right, left), right)
        await here.load(ours, left)
        await here.charon.initiate(ours, ours.children[0])
        await here.until(here.up, "up")
        await asyncio.to_thread(left.swanctl, "--load-all")
        took_s = await here.until(lambda: here.here().config is None and here.here().secret is None, "seen")
        assert took_s < 2.0
        assert here.up()
        await here.load(ours, left)
        assert (await here.charon.read("office")).sas == here.here().sas != ()


async def test_what_somebody_takes_away_is_seen_long_after_the_start_too(sites: tuple[Site, Site]) -> None:
    """Each kind alone, by the question about it: there is no event for any of them.

    Broken by: an answer that differs from the last one not being read.
    """
    left, right = sites
    ours = connection(left, right)
    async with running(left.socket_path) as here:
        await here.load(ours, left)
        await here.charon.install(ours, ours.children[0])
        await here.until(lambda: here.here().traps, "trapped")
        await asyncio.sleep(YOUNG_S)  # until then all of them are read, and often
        somebody = left.vici()
        await asyncio.to_thread(somebody.uninstall, {"child": "lan"})
        await here.until(lambda: not here.here().traps, "the trap is gone")
        await asyncio.to_thread(somebody.unload_shared, {"id": ours.shared_id})
        await here.until(lambda: here.here().secret is None, "the secret is gone")
        await asyncio.to_thread(somebody.unload_conn, {"name": "office"})
        await here.until(lambda: here.here().config is None, "the connection is gone")


async def test_somebody_elses_connection_under_our_name(sites: tuple[Site, Site]) -> None:
    """Another connection loaded under our name is seen soon, by charon's log, and looks different from ours."""
    left, right = sites
    ours = connection(left, right)
    async with running(left.socket_path) as here:
        await here.load(ours, left)
        expected = here.here().config
        theirs = {"version": "2", "remote_addrs": ["10.9.0.77"], "local": {"auth": "psk"}, "remote": {"auth": "psk"}}
        await asyncio.to_thread(left.vici().load_conn, {"office": theirs})
        took_s = await here.until(lambda: here.here().config != expected, "seen")
        assert took_s < OWN_LOAD_S + 0.5
        config = here.here().config
        assert config is not None, "theirs was taken away"
        assert expected is not None
        assert config.digest.partition(".")[0] != expected.digest.partition(".")[0]
        assert config.source is None
        assert left.vici().get_conns()["conns"] == [b"office"]


async def test_an_sa_without_a_load_shows_up(sites: tuple[Site, Site]) -> None:
    """A name that is not ours to care for is known to be loaded, without its details."""
    left, right = sites
    async with running(left.socket_path) as here:
        theirs = {"version": "2", "remote_addrs": [str(right.ip)], "local": {"auth": "psk"}, "remote": {"auth": "psk"}}
        await asyncio.to_thread(left.vici().load_conn, {"hand-made": theirs})
        await here.until(lambda: "hand-made" in here.charon.names(), "seen")
        assert here.here("hand-made").config is not None


def test_packets_of_one_connection_are_answered_in_order(sites: tuple[Site, Site]) -> None:
    """Several packets written at once are answered one after another: a stream may be registered with its command."""
    left, _ = sites
    packets = [Packet.register_event("list-conn"), *[Packet.request("list-conns"), Packet.request("version")] * 20]
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5)
        sock.connect(left.socket_path)
        sock.sendall(b"".join(struct.pack("!I", len(packet)) + packet for packet in packets))
        with sock.makefile("rb") as answers:
            kinds = []
            for _ in packets:
                (length,) = struct.unpack("!I", answers.read(4))
                body = answers.read(length)
                kinds.append((body[0], b"charon-systemd" in body))
    assert kinds == [(Packet.EVENT_CONFIRM, False), *[(Packet.CMD_RESPONSE, False), (Packet.CMD_RESPONSE, True)] * 20]


def test_thawed_charon_runs_what_it_was_sent(sites: tuple[Site, Site]) -> None:
    """A frozen charon does what it was sent when it wakes, though the sender has hung up."""
    left, _ = sites
    theirs: Outgoing = {"remote_addrs": ["10.9.0.77"], "local": {"auth": "psk"}, "remote": {"auth": "psk"}}
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(left.socket_path)
        left.freeze()
        packet = Packet.request("load-conn", encode({"late": theirs}))
        sock.sendall(struct.pack("!I", len(packet)) + packet)
        left.thaw()
        wait_until(lambda: "added vici connection: late" in left.log(), "loaded")


async def test_what_is_expected_is_what_charon_lists(sites: tuple[Site, Site]) -> None:
    """For every kind of setting, what the adapter expects is what ``list-conns`` shows; else it could not be used.

    What this charon cannot do, as it encrypts by itself, the kernel ring asks (AH and transport mode).
    """
    left, right = sites
    plain = connection(left, right)
    lan = plain.children[0]

    def with_selectors(local: tuple[str, ...], remote: tuple[str, ...]) -> Connection:
        return replace(plain, children=(replace(lan, local_ts=local, remote_ts=remote),))

    kinds = (
        plain,
        replace(plain, remote=("10.9.0.2", "peer.example", "10.9.0.3")),
        replace(plain, remote=("0.0.0.0",)),
        replace(plain, remote=("peer.example",), remote_id="peer.example"),
        replace(plain, remote_id="%any", mobike=True, encap=True),
        replace(plain, remote_id="C=CH, O=Example, CN=peer"),
        replace(plain, remote_id="C=CH,O=Example,CN=peer", local_id=Identity("2001:DB8:0::1")),
        replace(plain, remote_id="c=CH, o = Example, cn=peer"),
        replace(plain, remote_id="/C=CH/O=Example/CN=peer"),
        replace(plain, remote_id="@peer", local_id=Identity("user@example.org")),
        replace(plain, remote_id="fqdn:peer.example", local_id=Identity("email:user@example.org")),
        replace(plain, remote_id="@#0102ff", local_id=Identity("keyid:gateway")),
        replace(plain, dpd_delay_s=0, rekey_s=0),
        replace(plain, proposals=("aes256-sha256-ecp256", "aes128gcm16-prfsha256-curve25519")),
        replace(plain, children=(lan, replace(lan, name="second", rekey_s=0, esp_proposals=("aes128gcm16",)))),
        replace(plain, children=()),
        replace(plain, remote=("2001:DB8::2",), ip_version=6),
        with_selectors(("10.1.0.0/24", "10.1.0.7/32"), ("10.2.0.0/16",)),
        with_selectors(("10.1.0.0-10.1.0.77",), ("10.2.3.4",)),
        with_selectors(("10.1.0.0-10.1.0.255",), ("10.2.3.4-10.2.3.4",)),
        with_selectors(("dynamic[47]",), ("dynamic[47]",)),
        with_selectors(("10.1.0.0/24[6/80]",), ("10.2.0.0/24[17]",)),
        with_selectors(("10.1.0.0/24[6/80]", "10.1.0.0/24[6]"), ("10.2.0.0/24[17/1000-2000]",)),
        with_selectors(("0.0.0.0/0",), ("2001:DB8::/32", "0.0.0.0/0")),
        with_selectors(("10.1.0.9/24",), ("2001:db8:0::1",)),
    )
    wrong = []
    async with running(left.socket_path) as here:
        for number, one in enumerate(kinds):
            named = replace(one, name=f"kind{number}")
            await here.charon.load(named, left.ip)
            if (await here.charon.read(named.name)).config != here.charon.expected(named, left.ip):
                with pytest.raises(CharonRefused) as refusal:
                    await here.charon.load(named, left.ip)
                wrong.append(str(refusal.value))
    assert wrong == []


async def test_what_is_listed_differently_is_refused(sites: tuple[Site, Site]) -> None:
    """A connection that charon lists otherwise than expected could not be told from somebody else's: it is refused.

    The refusal says what differs, and nothing stays loaded.
    """
    left, right = sites
    odd = connection(left, right, remote_id="ipv4:192.0.2.1")  # as the settings never write it
    async with running(left.socket_path) as here:
        await here.charon.load(odd, left.ip)
        await here.until(lambda: here.here().config is None, "taken away")
        with pytest.raises(CharonRefused, match=r"auth is .* 49.57.50.46"):
            await here.charon.load(odd, left.ip)
        assert (await here.charon.read("office")).empty


async def test_forced_termination_needs_no_way_out(sites: tuple[Site, Site]) -> None:
    """With its source address gone an SA is terminated at once all the same; unforced it would linger, deleting."""
    left, right = sites
    ours = connection(left, right)
    async with running(left.socket_path) as here, running(right.socket_path) as there:
        await there.load(connection(right, left), right)
        await here.load(ours, left)
        await here.charon.initiate(ours, ours.children[0])
        await here.until(here.up, "up")
        left.ip_command("addr", "del", f"{left.ip}/24", "dev", "cable")
        await here.charon.unload("office", urgent=True)
        await here.charon.terminate("office", urgent=True)
        assert (await here.charon.read("office")).empty


async def test_the_same_to_look_at_but_not_ours(sites: tuple[Site, Site]) -> None:
    """``list-conns`` shows no proposals: what somebody loads in place of ours is known by its line in the log alone."""
    left, right = sites
    ours = connection(left, right)
    async with running(left.socket_path) as here:
        await here.load(ours, left)
        expected = here.here().config
        assert expected is not None
        await asyncio.sleep(OWN_LOAD_S)  # until then it could be our own
        theirs = load_conn(replace(ours, proposals=("aes256-sha384-ecp384",)), left.ip)
        somebody = await ViciConnection.open(left.socket_path)
        await somebody.send("load-conn", encode(theirs))
        somebody.close()
        await here.until(lambda: here.here().config != expected, "seen")
        assert here.here().config == replace(expected, digest=expected.digest.partition(".")[0] + ".?")
