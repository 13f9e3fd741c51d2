"""Every example of a feature, as it stands in docs/examples, on a pair: at the peer before and after a failover."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import pytest

from swanherd.settings.certificates import key_id
from tests.lab.agent_conf import INTERFACE, agent_conf
from tests.lab.asking import vici_session
from tests.lab.charon import VICI
from tests.lab.loaded import read_loaded
from tests.lab.observe import Observer
from tests.lab.observe.packets import IKE_SA_INIT, Ike, Packet
from tests.lab.pair import Gateway, Pair, agent_pair
from tests.lab.peer import SECRET
from tests.lab.pki import Holder, example, issue
from tests.lab.told import Told
from tests.lab.topology import address, place, port, subnet, vip
from tests.lab.uplinks import silent
from tests.lab.waiting import wait_until

EXAMPLES: Final = Path(__file__).parents[2] / "docs/examples"
ETC: Final = "/etc/swanherd"
FILES: Final = (
    "certificate", "ikev1", "identities", "algorithms", "on-demand", "dead-peer", "nat-traversal", "split",
    "responder-only", "dynamic-peer", "two-children",
)  # fmt: skip
ESP: Final = ["aes256gcm16-ecp384", "aes256-sha256-modp2048", "aes128gcm16-ecp256", "default"]
"""What the peer takes for every child."""
UP_S: Final = 60.0
"""For all of them to come up, on a busy machine."""
MAIN_MODE: Final = 2
RETRIES_S: Final = 3.0
"""An agent that may call does so again after a second."""


@dataclass(frozen=True, slots=True)
class Expected:
    """One connection as the peer has it, and what the peer must show of it."""

    name: str
    local: str
    """The peer's own identity."""
    remote: str
    """The pair's, as the peer wants it."""
    hosts: tuple[str, ...]
    """Addresses behind the peer that the children which come up by themselves lead to."""
    shown: Mapping[str, str] = field(default_factory=dict)
    conf: Mapping[str, Any] = field(default_factory=dict)
    sas: int = 1
    """How many IKE_SAs the peer must show; each has its share of the children."""
    trapped: tuple[str, ...] = ()
    """Addresses that a first packet would open."""
    children: Mapping[str, list[str]] = field(default_factory=dict)
    """Networks of the peer's children, where they are not one for each of the addresses."""
    lingers: bool = False
    """Whether the peer keeps the old master's SA beside the new one: nothing tells it that both are the same."""


def _host(last: int) -> str:
    return f"10.21.0.{last}"


VIP: Final = vip("wan1")
VOICE: Final = _host(28)
VOICE_PORT: Final = 20_000
CONNECTIONS: Final = (
    Expected("certificate", "sun.example", "moon.example", (_host(1),)),
    Expected(
        "ikev1", "sun-ikev1.example", "moon-ikev1.example", (_host(2), _host(3)), {"version": "1"}, {"version": "1"}
    ),
    Expected("my-address", "sun-address.example", VIP, (_host(4),)),
    Expected("user-name", "sun@lab.example", "moon@lab.example", (_host(5),)),
    Expected("directory-name", "C=CH, O=Lab, CN=sun", "C=CH, O=Lab, CN=moon", (_host(6),)),
    Expected("key-id", "keyid:sun-7", "keyid:moon-7", (_host(7),), {"remote-id": "moon-7", "local-id": "sun-7"}),
    Expected("custom-address", address("peer", "wan1"), "192.0.2.77", (_host(8),)),
    Expected(
        "algorithms", "sun-algorithms.example", "moon-algorithms.example", (_host(9),), {"dh-group": "ECP_384"},
        {"proposals": ["aes256-sha384-ecp384"]},
    ),
    Expected("peer-rekeys", "sun-rekey.example", "moon-rekey.example", (_host(10),)),
    Expected("on-demand", "sun-demand.example", "moon-demand.example", (_host(12),), trapped=(_host(11),)),
    Expected("dead-peer", "sun-dpd.example", "moon-dpd.example", (_host(13),)),
    Expected(
        "dead-peer-1", "sun-dpd1.example", "moon-dpd1.example", (_host(14),), {"version": "1"}, {"version": "1"}
    ),
    Expected("split", "sun-split.example", "moon-split.example", (_host(18), _host(19)), sas=2),
    Expected(
        "head-office", "sun-two.example", "moon-two.example", (_host(26), _host(27)), {"dh-group": "ECP_384"},
        children={"office": [f"{_host(26)}/32", f"{_host(27)}/32"], "voice": [f"{VOICE}/32"]},
    ),
    Expected("anybody", "whoever.example", "moon-any.example", (_host(29),), lingers=True),
    Expected("nat-forced", "sun-forced.example", "moon-forced.example", (_host(15),), {"nat-remote": "yes"}),
)  # fmt: skip
NEVER: Final = Expected("nat-never", "sun-never.example", "moon-never.example", (_host(16),))
"""Userland ESP always claims a NAT, so that this one can never stay up here."""

ELSEWHERE: Final = place("wan1", 21)
"""Where the peer calls from that is answered only: what is cut there cuts nothing else."""
MOVED: Final = place("wan1", 22)
RESPONDER: Final = Expected(
    "responder", "sun-respond.example", "moon-respond.example", (_host(21),),
    conf={"remote_addrs": [VIP]},
)  # fmt: skip
VAN: Final = Expected("van", "van-7.example", "moon.example", ("10.77.0.1",), conf={"remote_addrs": [VIP]})
"""It calls from wherever it is."""
PLACES: Final = ({"responder": ELSEWHERE, "van": address("peer", "wan1")}, {"responder": MOVED, "van": ELSEWHERE})
"""Where both call from, first and later: one from either of its endpoints, the other from anywhere."""
ANSWERED: Final = (RESPONDER, VAN)
DPD_OF_RESPONDER_S: Final = 2
OVERRIDES: Final = f"""\
[connections.responder]
remote = ["{ELSEWHERE}", "{MOVED}"]
dpd_delay_s = {DPD_OF_RESPONDER_S}
dpd_timeout_s = {DPD_OF_RESPONDER_S}
"""


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """A pair that runs all the examples beside the lab's own connection."""
    conf = agent_conf()
    root, moon, _ = example()
    files = {
        **conf.files,
        **{f"{ETC}/conf.d/{name}.toml": (EXAMPLES / f"{name}.toml").read_text() for name in FILES},
        # The examples have the interface too; the lab's own has its VRRP beside it.
        f"{ETC}/conf.d/zz-interface.toml": INTERFACE,
        f"{ETC}/conf.d/zz-responder.toml": OVERRIDES,
        f"{ETC}/secrets/branch.psk": SECRET,
        f"{ETC}/secrets/van-7.psk": SECRET,
        f"{ETC}/certs/moon.pem": moon.pem,
        f"{ETC}/certs/ca.pem": root.pem,
        f"{ETC}/secrets/moon.key": moon.key_pem(passphrase=b"open sesame"),
        f"{ETC}/secrets/moon.pass": "open sesame\n",
    }
    with agent_pair(conf.text, files=files) as built:
        load_peer(built)
        yield built


def load_peer(pair: Pair, *, at: Mapping[str, str] = MappingProxyType({})) -> None:
    """Have the peer answer all of them, and have the addresses behind it; *at*: where it is else, by connection."""
    hosts = [host for each in (*CONNECTIONS, NEVER, *ANSWERED) for host in (*each.hosts, *each.trapped)]
    hosts += [VOICE, ELSEWHERE, MOVED]
    pair.lab.peer.run("ip", "-batch", "-", text_in="".join(f"address replace {host}/32 dev lo\n" for host in hosts))
    root, _, sun = example()
    with vici_session(pair.lab.peer.path(VICI)) as session:
        session.load_key({"type": "any", "data": sun.key_der})
        for each in (*CONNECTIONS, NEVER, *ANSWERED):
            session.load_shared({"id": each.name, "type": "IKE", "data": SECRET, "owners": [each.local, each.remote]})
            auth: tuple[dict[str, Any], dict[str, Any]] = ({"auth": "psk"}, {"auth": "psk"})
            if each.name == "certificate":
                auth = {"auth": "pubkey", "certs": [sun.der]}, {"auth": "pubkey", "cacerts": [root.der]}
            networks = each.children or {f"net-{host}": [f"{host}/32"] for host in (*each.hosts, *each.trapped)}
            children = {
                name: {"local_ts": behind, "remote_ts": [subnet("lan")], "esp_proposals": ESP}
                for name, behind in networks.items()
            }
            session.load_conn(
                {
                    each.name: {
                        "local_addrs": [at.get(each.name, address("peer", "wan1"))],
                        "local": {**auth[0], "id": each.local},
                        "remote": {**auth[1], "id": each.remote},
                        "children": children,
                        **each.conf,
                    }
                }
            )


def shown(pair: Pair) -> dict[str, list[dict[str, Any]]]:
    """The IKE_SAs of the peer that are up, by name."""
    found: dict[str, list[dict[str, Any]]] = {}
    with vici_session(pair.lab.peer.path(VICI)) as session:
        for item in session.list_sas():
            for name, sa in item.items():
                if sa["state"] == b"ESTABLISHED":
                    plain = {key: value.decode() if isinstance(value, bytes) else value for key, value in sa.items()}
                    found.setdefault(name, []).append(plain)
    return found


def wait_for_all(pair: Pair, *, old: frozenset[str] = frozenset()) -> dict[str, list[dict[str, Any]]]:
    """Wait until the peer shows as many IKE_SAs of each as it must, complete, and none of *old*; what it shows then."""
    sas: dict[str, list[dict[str, Any]]] = {}

    def complete(each: Expected) -> bool:
        found = [sa for sa in sas.get(each.name, []) if not (each.lingers and sa["initiator-spi"] in old)]
        children = [
            {child["name"] for child in sa["child-sas"].values() if child["state"] == b"INSTALLED"} for sa in found
        ]
        return (
            (len(found) == each.sas or (each.lingers and found != []))
            and not any(sa["initiator-spi"] in old for sa in found)
            and len(set().union(*children)) >= len(each.hosts)
            and all(children)
        )

    def settled() -> bool:
        sas.clear()
        sas.update(shown(pair))
        return all(map(complete, CONNECTIONS))

    try:
        wait_until(settled, "all are up at the peer", within_s=UP_S, every_s=0.2)
    except AssertionError as error:
        raise AssertionError(f"{error}: {[each.name for each in CONNECTIONS if not complete(each)]}") from None
    return dict(sas)


def spis(sas: Mapping[str, list[dict[str, Any]]], *names: str) -> frozenset[str]:
    """The initiators' SPIs of these connections, or of all."""
    return frozenset(sa["initiator-spi"] for name in names or sas for sa in sas[name])


def passes(pair: Pair, host: str) -> bool:
    """Whether a ping from the client, by the VIP, reaches *host* behind the peer, and an answer comes back."""
    ping = ("ping", "-n", "-q", "-c", "3", "-i", "0.2", "-W", "1", "-I", address("client", "lan"), host)
    return pair.lab.client.run(*ping, check=False).returncode == 0


def voice_of(pair: Pair) -> dict[str, Any]:
    """The peer's child for voice."""
    (sa,) = shown(pair)["head-office"]
    (child,) = [child for child in sa["child-sas"].values() if child["name"] == b"voice"]
    found: dict[str, Any] = child
    return found


def prove_voice(pair: Pair) -> None:
    """The child for some ports has what it says, and carries that and nothing else."""
    before = voice_of(pair)
    (theirs,), (ours,) = before["local-ts"], before["remote-ts"]
    assert before["encr-keysize"] == b"128"
    # With a list of protocols at hand charon shows their names.
    assert ours.replace(b"[17", b"[udp") == b"10.10.0.0/24[udp]"
    assert theirs.replace(b"[17", b"[udp") == f"{VOICE}/32[udp/16384-32767]".encode()
    code = f"import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(({address('client', 'lan')!r}, 0))"
    for port_ in (VOICE_PORT, 53):  # one that is carried, and one that is not
        code += f"; [s.sendto(b'x', ({VOICE!r}, {port_})) for _ in range(3)]"
    pair.lab.client.run("python3", "-c", code)
    passes(pair, VOICE)
    wait_until(lambda: int(voice_of(pair)["packets-in"]) == int(before["packets-in"]) + 3, "three packets of voice")


def prove(pair: Pair, master: Gateway, *, old: frozenset[str] = frozenset()) -> frozenset[str]:
    """Everything that the peer must show, and traffic by each, with *master* running it, none of it *old*; the SPIs."""
    sas = wait_for_all(pair, old=old)
    for each in CONNECTIONS:
        expected = {"remote-host": VIP, "local-id": each.local, "remote-id": each.remote, "version": "2", **each.shown}
        for sa in sas[each.name]:
            assert {key: sa.get(key) for key in expected} == expected, each.name
        for host in each.hosts:
            assert passes(pair, host), f"{each.name}: no traffic to {host}"
    prove_voice(pair)
    standby = pair.other(master)
    wait_until(lambda: read_loaded(master.host).traps == {"on-demand/rarely"}, "the trap is on the master")
    if standby.host.up:
        wait_until(lambda: not read_loaded(standby.host).traps, "no trap on the standby")
    assert NEVER.name not in sas
    Told(master.agent).wait_for(NEVER.name, role="active", reason="nat-found")
    return spis(sas)


@pytest.mark.timeout(300)
def test_every_example_moves(pair: Pair) -> None:
    """All are up at the peer with what they ask for, and carry traffic; after a failover all are, from the other one.

    No gateway is told twice: certificate, every kind of identity, IKEv1 with two children, algorithms, a trap (on the
    master only), forced encapsulation; and what must not run behind a NAT does not, on either. Broken by: ``_run``
    without ``Install`` (no trap on the new master); ``_release`` without ``Uninstall`` (a trap on the standby);
    ``nat_reason`` that finds none (nat-never is up).
    """
    before = prove(pair, pair.a)
    pair.a.keepalived.stop()
    pair.wait_for_master(pair.b)
    after = prove(pair, pair.b, old=before)
    pair.a.keepalived.start()
    pair.wait_for_master(pair.a)
    prove(pair, pair.a, old=after)
    # Loaded on both, from the start on, and never twice.
    with vici_session(pair.a.host.path(VICI)) as session:
        assert len(session.get_keys()["keys"]) == 1


def call(pair: Pair, each: Expected) -> None:
    """Have the peer call one that only answers anew."""
    with vici_session(pair.lab.peer.path(VICI)) as session:
        for sa in shown(pair).get(each.name, ()):
            list(session.terminate({"ike-id": sa["uniqueid"], "force": "yes", "timeout": "-1"}))
        list(session.initiate({"child": f"net-{each.hosts[0]}", "ike": each.name, "timeout": "-1"}))


def called(pair: Pair, master: Gateway, each: Expected) -> None:
    """The peer calls, and *master* answers: traffic passes."""
    call(pair, each)
    wait_until(lambda: passes(pair, each.hosts[0]), f"{each.name}: traffic to {each.hosts[0]}", within_s=UP_S)
    assert [sa.get("initiator") for sa in shown(pair)[each.name]] == ["yes"]
    Told(master.agent).wait_for(each.name, role="active", reason="up")


@pytest.mark.timeout(180)
def test_a_responder_waits(pair: Pair) -> None:
    """Nothing comes up until the peer calls, on either gateway; the one that is the master answers, and stays waiting.

    It calls from either of its endpoints, and the one that can be anywhere from any address. Broken by: ``wanted_up``
    that asks for a responder's children (the pair calls); ``remote_addrs`` that sends the settings' word for anywhere
    as it is (nobody is let in).
    """
    for master, other, at in ((pair.a, pair.b, PLACES[0]), (pair.b, pair.a, PLACES[1])):
        if not master.holds():
            other.keepalived.stop()
            pair.wait_for_master(master)
        wait_for_all(pair)
        waiting = [each.name for each in ANSWERED]
        Told(master.agent).wait_for(*waiting, role="active", reason="waiting-for-peer", within_s=UP_S)
        load_peer(pair, at=at)
        for each in ANSWERED:
            called(pair, master, each)
        found = shown(pair)
        assert {each.name: [sa["local-host"] for sa in found[each.name]] for each in ANSWERED} == {
            name: [where] for name, where in at.items()
        }
    old = spis(shown(pair))
    pair.a.keepalived.start()
    pair.wait_for_master(pair.a)
    wait_for_all(pair, old=old)  # or the next test takes the other gateway's SAs for those that it begins with


@pytest.mark.timeout(120)
def test_a_responder_does_not_call_a_dead_peer(pair: Pair) -> None:
    """Its peer falls silent: it is asked, given up, and not called; when it calls again it is answered.

    Broken by: ``wanted_up`` that asks for a responder's children; ``dpd_action`` restart.
    """
    wait_for_all(pair)
    load_peer(pair, at=PLACES[0])
    called(pair, pair.a, RESPONDER)
    told = Told(pair.a.agent)
    with Observer(pair.lab) as seen:

        def sent() -> list[Packet]:
            leaving = seen.packets(port=port("gw-a", "wan1"), leaving=True, since="silent")
            return [packet for packet in leaving if packet.destination == ELSEWHERE and isinstance(packet.content, Ike)]

        seen.mark("silent")
        with silent(pair, ELSEWHERE):
            seen.wait_for(lambda: bool(sent()), "it is asked whether it lives", within_s=UP_S)
            told.wait_for(RESPONDER.name, role="active", reason="waiting-for-peer", within_s=UP_S)
            gone = time.monotonic()
            wait_until(lambda: time.monotonic() - gone > RETRIES_S, "one that initiates would", within_s=2 * RETRIES_S)
            assert "peer-silent" in told.reasons(RESPONDER.name)
            assert [packet for packet in sent() if packet.content.exchange == IKE_SA_INIT] == []  # type: ignore[union-attr]
    called(pair, pair.a, RESPONDER)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [0, 1])
def test_a_part_lost_alone(pair: Pair, number: int) -> None:
    """One IKE_SA of a split connection that the peer ends comes back, and its sibling lives on, whichever was first.

    Broken by: an ``over_time`` that is the same for all parts (charon lets them share one IKE_SA).
    """
    sas = wait_for_all(pair)["split"]
    lost, kept = sas[number]["initiator-spi"], sas[1 - number]["initiator-spi"]
    with vici_session(pair.lab.peer.path(VICI)) as session:
        list(session.terminate({"ike-id": sas[number]["uniqueid"], "timeout": "-1"}))
    after = wait_for_all(pair, old=frozenset((lost,)))
    assert kept in spis(after, "split")


DPD_S: Final = 10.0
"""Delay and timeout of the dead-peer examples together."""


@pytest.mark.timeout(300)
def test_dead_peer_is_given_up_in_time(pair: Pair) -> None:
    """The peer falls silent: both versions begin anew after delay and timeout, within a tenth, as the wire shows.

    Broken by: ``silent`` answering False (IKEv2 waits for charon's 165 s); ``dpd_timeout`` without the delay in IKEv1
    (charon gives a living peer up with each question).
    """
    quiet = {"dead-peer": IKE_SA_INIT, "dead-peer-1": MAIN_MODE}
    port_a = port("gw-a", "wan1")
    with Observer(pair.lab) as seen:
        sas = wait_for_all(pair)
        own = {name: sas[name][0]["initiator-spi"] for name in quiet}

        def messages(*, leaving: bool) -> list[tuple[float, Ike]]:
            found = seen.packets(port=port_a, leaving=leaving, since="start")
            return [(packet.at, packet.content) for packet in found if isinstance(packet.content, Ike)]

        def heard(name: str) -> float:
            """When the peer was heard last on the connection's SA; 0: never."""
            return max((at for at, ike in messages(leaving=False) if ike.initiator_spi == own[name]), default=0)

        seen.wait_for(lambda: all(map(heard, quiet)), "a sign of life of both", within_s=30)
        pair.peer.charon.freeze()
        frozen = seen.mark("frozen")

        def begun(name: str) -> float:
            """When a handshake of its version was begun anew; 0: not yet."""
            begins = (at for at, ike in messages(leaving=True) if at > frozen and ike.exchange == quiet[name])
            return min(begins, default=0)

        seen.wait_for(lambda: all(map(begun, quiet)), "both begin anew", within_s=30)
        pair.peer.charon.thaw()
        for name in quiet:
            assert begun(name) - heard(name) == pytest.approx(DPD_S, rel=0.1), name
    reasons = Told(pair.a.agent).reasons("dead-peer")
    assert "peer-silent" in reasons
    wait_for_all(pair, old=frozenset(own.values()))


@pytest.mark.timeout(180)
def test_rotation_of_certificates(pair: Pair) -> None:
    """Key, certificate and CA change by a reload on both gateways: the SA stays, until a failover needs a new one.

    The new master lets no peer of the old CA in, and comes up as soon as the peer has a certificate of the new one.
    Broken by: ``_remote`` without ``cacerts`` (the old certificate is enough); ``IKE_AGREED`` with the certificates.
    """
    name = "certificate"
    before = spis(wait_for_all(pair))
    old_root, _, old_sun = example()
    root = issue("new root", is_ca=True)
    moon, sun = issue("moon", root, names=["moon.example"]), issue("sun", root, names=["sun.example"])
    trusting = {"auth": "pubkey", "cacerts": [old_root.der, root.der], "id": "moon.example"}
    for gateway in pair.gateways:
        gateway.agent.files |= {
            f"{ETC}/certs/moon.pem": moon.pem,
            f"{ETC}/certs/ca.pem": root.pem,
            f"{ETC}/secrets/moon.key": moon.key_pem(passphrase=b"open sesame"),
        }
        gateway.agent.install()
        gateway.agent.reload()
    for gateway in pair.gateways:
        wait_until(lambda gateway=gateway: keys_of(gateway) == {key_id(moon.certificate)}, "the old key is gone")  # type: ignore[misc]
    assert spis(wait_for_all(pair)) == before

    with vici_session(pair.lab.peer.path(VICI)) as session:
        _certified_peer(session, old_sun, trusting)
    pair.a.keepalived.stop()
    pair.wait_for_master(pair.b)
    Told(pair.b.agent).wait_for(name, role="active", reason="auth-failed", within_s=UP_S)
    wait_until(lambda: name not in shown(pair), "the peer has none", every_s=0.05)
    with vici_session(pair.lab.peer.path(VICI)) as session:
        session.load_key({"type": "any", "data": sun.key_der})
        _certified_peer(session, sun, trusting)
    wait_for_all(pair, old=before)
    assert passes(pair, _host(1))
    old = spis(shown(pair))
    pair.a.keepalived.start()
    pair.wait_for_master(pair.a)
    wait_for_all(pair, old=old)


def keys_of(gateway: Gateway) -> set[str]:
    """The ids of the private keys that a gateway's charon has."""
    with vici_session(gateway.host.path(VICI)) as session:
        return {key.decode() for key in session.get_keys()["keys"]}


def _certified_peer(session: Any, sun: Holder, trusting: Mapping[str, Any]) -> None:
    """The peer's end of the certificate's connection, with this certificate of its own."""
    children = {"net": {"local_ts": [f"{_host(1)}/32"], "remote_ts": [subnet("lan")], "esp_proposals": ESP}}
    ends = {"local": {"auth": "pubkey", "certs": [sun.der], "id": "sun.example"}, "remote": trusting}
    conf = {"local_addrs": [address("peer", "wan1")], "children": children}
    session.load_conn({"certificate": {**conf, **ends}})


ENDS: Final = f"{ETC}/conf.d/zz-ends.toml"


@pytest.mark.timeout(120)
def test_an_sa_that_the_peer_lets_expire_comes_back(pair: Pair) -> None:
    """IKEv1 with ``rekey = false``: a child that nobody rekeyed ends, and is made anew in the IKE_SA that there is.

    Charon itself makes a child anew in IKEv2 alone. Broken by: ``_child_lifetime`` without its ``life_time`` (it
    lives on for ever).
    """
    name, child = "ikev1", "voice"

    def spi() -> str:
        found = [sa["child-sas"].values() for sa in shown(pair).get(name, ())]
        up = [each for children in found for each in children if each["name"] == f"net-{_host(3)}".encode()]
        return up[-1]["spi-in"].decode() if up and up[-1]["state"] == b"INSTALLED" else ""

    wait_for_all(pair)
    pair.a.agent.files[ENDS] = f"[connections.{name}]\nrekey = false\nchildren.{child}.rekey_s = 5\n"
    pair.a.agent.install()
    pair.a.agent.reload()
    with vici_session(pair.lab.peer.path(VICI)) as session:
        list(session.terminate({"ike": name, "timeout": "-1"}))
    wait_until(lambda: bool(spi()), "it is up again", within_s=UP_S)
    (sa,), seen = shown(pair)[name], {spi()}
    wait_until(lambda: seen.add(spi()) or len(seen - {""}) >= 2, "it has ended and come back", within_s=UP_S)  # type: ignore[func-returns-value]
    wait_until(lambda: passes(pair, _host(3)), "traffic by it", within_s=UP_S)
    assert spis(shown(pair), name) == {sa["initiator-spi"]}
    pair.a.agent.files.pop(ENDS)
    pair.a.host.run("rm", ENDS)
    pair.a.agent.reload()
    wait_for_all(pair)
