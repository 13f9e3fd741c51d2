"""The examples of docs/examples that a pair runs all at once, and what the peer must show of each.

    with features_pair() as pair:
        sas = wait_for_all(pair)

For the tests of ``test_features*.py``: each has a pair of its own.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from tests.lab.agent_conf import INTERFACE, agent_conf
from tests.lab.asking import vici_session
from tests.lab.charon import VICI
from tests.lab.pair import Gateway, Pair, agent_pair
from tests.lab.peer import SECRET
from tests.lab.pki import example
from tests.lab.topology import address, place, subnet, vip
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


def far(last: int) -> str:
    """An address behind the peer."""
    return f"10.21.0.{last}"


VIP: Final = vip("wan1")
VOICE: Final = far(28)
VOICE_PORT: Final = 20_000
CONNECTIONS: Final = (
    Expected("certificate", "sun.example", "moon.example", (far(1),)),
    Expected(
        "ikev1", "sun-ikev1.example", "moon-ikev1.example", (far(2), far(3)), {"version": "1"}, {"version": "1"}
    ),
    Expected("my-address", "sun-address.example", VIP, (far(4),)),
    Expected("user-name", "sun@lab.example", "moon@lab.example", (far(5),)),
    Expected("directory-name", "C=CH, O=Lab, CN=sun", "C=CH, O=Lab, CN=moon", (far(6),)),
    Expected("key-id", "keyid:sun-7", "keyid:moon-7", (far(7),), {"remote-id": "moon-7", "local-id": "sun-7"}),
    Expected("custom-address", address("peer", "wan1"), "192.0.2.77", (far(8),)),
    Expected(
        "algorithms", "sun-algorithms.example", "moon-algorithms.example", (far(9),), {"dh-group": "ECP_384"},
        {"proposals": ["aes256-sha384-ecp384"]},
    ),
    Expected("peer-rekeys", "sun-rekey.example", "moon-rekey.example", (far(10),)),
    Expected("on-demand", "sun-demand.example", "moon-demand.example", (far(12),), trapped=(far(11),)),
    Expected("dead-peer", "sun-dpd.example", "moon-dpd.example", (far(13),)),
    Expected(
        "dead-peer-1", "sun-dpd1.example", "moon-dpd1.example", (far(14),), {"version": "1"}, {"version": "1"}
    ),
    Expected("split", "sun-split.example", "moon-split.example", (far(18), far(19)), sas=2),
    Expected(
        "head-office", "sun-two.example", "moon-two.example", (far(26), far(27)), {"dh-group": "ECP_384"},
        children={"office": [f"{far(26)}/32", f"{far(27)}/32"], "voice": [f"{VOICE}/32"]},
    ),
    Expected("anybody", "whoever.example", "moon-any.example", (far(29),), lingers=True),
    Expected("nat-forced", "sun-forced.example", "moon-forced.example", (far(15),), {"nat-remote": "yes"}),
)  # fmt: skip
NEVER: Final = Expected("nat-never", "sun-never.example", "moon-never.example", (far(16),))
"""Userland ESP always claims a NAT, so that this one can never stay up here."""

ELSEWHERE: Final = place("wan1", 21)
"""Where the peer calls from that is answered only: what is cut there cuts nothing else."""
MOVED: Final = place("wan1", 22)
RESPONDER: Final = Expected(
    "responder", "sun-respond.example", "moon-respond.example", (far(21),),
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


@contextmanager
def features_pair() -> Iterator[Pair]:
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


IN_TURN: Final = ("before", "after")
"""A failover: who runs the tunnels, for :func:`run_by`."""


@contextmanager
def run_by(pair: Pair, when: str) -> Iterator[Gateway]:
    """The gateway that runs everything: gw-a, or after a failover gw-b. Afterwards it is gw-a again."""
    if when == "before":
        wait_for_all(pair)
        yield pair.a
        return
    fail_over(pair, pair.b)
    yield pair.b
    fail_over(pair, pair.a)


def fail_over(pair: Pair, to: Gateway) -> None:
    """Have *to* be the master, and everything up anew at the peer."""
    old = spis(shown(pair))
    if to is pair.b:
        pair.a.keepalived.stop()
    else:
        pair.a.keepalived.start()
    pair.wait_for_master(to)
    wait_for_all(pair, old=old)


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
