"""A spread of algorithms, keys, chains, secrets and identities: a connection for each, and what its peer must show.

with spread_pair() as pair:
...
"""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import PrivateFormat

from tests.lab.agent_conf import agent_conf
from tests.lab.asking import vici_session
from tests.lab.charon import VICI
from tests.lab.pair import Pair, agent_pair
from tests.lab.pki import Holder, issue
from tests.lab.topology import address, place, subnet, vip

ETC: Final = "/etc/swanherd"
SECRET: Final = b"a secret of forty octets, which is enough"
_PASSPHRASE: Final = "open sesame"  # noqa: S105 - of the lab only
_WRITTEN: Final = {
    "plain": SECRET.decode(),
    "hex": f"0x{SECRET.hex()}",
    "base64": f"0s{base64.b64encode(SECRET).decode()}",
}
"""Ways to write a secret into its file."""
_COMMON: Final = "aes128-sha256-modp3072"
"""In IKEv1 the peer's first connection that has our address says what is agreed upon: one that all of them have."""
_LACKING: Final = ("aes256-sha256-modp6144", "aes256ccm16-prfsha256-modp8192")
"""What the peer does not have, before what it has: classic and AEAD."""


@dataclass(frozen=True, slots=True)
class Case:
    """A connection: what is set, and what the peer must show."""

    ike: str
    agreed: str
    """Cipher, its bits, integrity, PRF and key exchange."""
    esp: str
    carried: str
    """Cipher, its bits and integrity of the child."""
    pfs: str | None
    """Key exchange of a rekey; None: it has none."""
    version: int = 2
    local: str = ""
    """Our identity, where it is set."""
    remote: str = ""
    """The peer's, where it is not a name that follows the connection's."""
    written: str = ""
    """How the secret is: one of ``_WRITTEN``, or "inline"; "" with a certificate."""
    key: tuple[str, PrivateFormat, bool] | None = None
    """Of a certificate: the kind, how it is written, and whether it is encrypted."""
    behind: bool = False
    """Whether each end's certificate comes from an intermediate that the other end does not know."""
    calls: bool = False
    """Whether the peer, which may be anywhere, is the one that calls."""


CASES: Final = {
    "rsa-chain": Case(
        "aes256-sha256-modp2048", "AES_CBC 256 HMAC_SHA2_256_128 PRF_HMAC_SHA2_256 MODP_2048",
        "aes256-sha256-modp3072", "AES_CBC 256 HMAC_SHA2_256_128", "MODP_3072",
        key=("rsa", PrivateFormat.TraditionalOpenSSL, True), behind=True,
    ),
    "ecdsa": Case(
        "aes256gcm16-prfsha384-ecp521", "AES_GCM_16 256 - PRF_HMAC_SHA2_384 ECP_521",
        "aes256gcm16-ecp384", "AES_GCM_16 256 -", "ECP_384",
        local="moon-ecdsa.example", key=("ecdsa", PrivateFormat.TraditionalOpenSSL, False),
    ),
    "ecdsa-chain": Case(
        "aes256gcm16-prfsha512-ecp256bp", "AES_GCM_16 256 - PRF_HMAC_SHA2_512 ECP_256_BP",
        "aes256gcm16", "AES_GCM_16 256 -", None,
        local="192.0.2.79", key=("ecdsa", PrivateFormat.PKCS8, True), behind=True,
    ),
    "ed25519": Case(
        "chacha20poly1305-prfsha256-x25519", "CHACHA20_POLY1305 - - PRF_HMAC_SHA2_256 CURVE_25519",
        "chacha20poly1305-x25519", "CHACHA20_POLY1305 - -", "CURVE_25519",
        local="moon-ed@lab.example", key=("ed25519", PrivateFormat.PKCS8, False),
    ),
    "ed25519-chain": Case(
        "aes128gcm8-prfsha256-ecp256", "AES_GCM_8 128 - PRF_HMAC_SHA2_256 ECP_256",
        "aes128gcm16", "AES_GCM_16 128 -", None,
        key=("ed25519", PrivateFormat.PKCS8, True), behind=True,
    ),
    "ecdsa-chain-1": Case(
        "aes256-sha384-modp4096", "AES_CBC 256 HMAC_SHA2_384_192 PRF_HMAC_SHA2_384 MODP_4096",
        "aes256-sha512-modp2048", "AES_CBC 256 HMAC_SHA2_512_256", "MODP_2048",
        version=1, key=("ecdsa", PrivateFormat.PKCS8, False), behind=True,
    ),
    "peer-custom-address": Case(
        "aes192ctr-sha384-prfsha512-ecp384", "AES_CTR 192 HMAC_SHA2_384_192 PRF_HMAC_SHA2_512 ECP_384",
        "aes192-sha384-ecp256", "AES_CBC 192 HMAC_SHA2_384_192", "ECP_256",
        local="192.0.2.78", remote="192.0.2.88", written="plain",
    ),
    "peer-custom-address-1": Case(
        "aes128-sha256-modp3072", "AES_CBC 128 HMAC_SHA2_256_128 PRF_HMAC_SHA2_256 MODP_3072",
        "aes128-sha1", "AES_CBC 128 HMAC_SHA1_96", None,
        version=1, local="moon-custom.example", remote="192.0.2.89", written="plain",
    ),
    "inline": Case(
        "camellia256-sha512-x448", "CAMELLIA_CBC 256 HMAC_SHA2_512_256 PRF_HMAC_SHA2_512 CURVE_448",
        "camellia256-sha512-x448", "CAMELLIA_CBC 256 HMAC_SHA2_512_256", "CURVE_448",
        local="moon-inline.example", written="inline",
    ),
    "hex": Case(
        "3des-sha1-modp1024", "3DES_CBC - HMAC_SHA1_96 PRF_HMAC_SHA1 MODP_1024",
        "3des-sha1", "3DES_CBC - HMAC_SHA1_96", None,
        local="moon-hex.example", written="hex",
    ),
    "base64": Case(
        "aes128ccm8-prfsha256-x25519", "AES_CCM_8 128 - PRF_HMAC_SHA2_256 CURVE_25519",
        "aes128ccm16-ecp521", "AES_CCM_16 128 -", "ECP_521",
        local="moon-base64.example", written="base64",
    ),
    "van-certified": Case(
        "aes256-sha512-ecp521", "AES_CBC 256 HMAC_SHA2_512_256 PRF_HMAC_SHA2_512 ECP_521",
        "aes256gcm16-ecp521", "AES_GCM_16 256 -", "ECP_521",
        key=("ecdsa", PrivateFormat.PKCS8, False), behind=True, calls=True,
    ),
    "van-1": Case(
        "aes256-sha256-modp3072", "AES_CBC 256 HMAC_SHA2_256_128 PRF_HMAC_SHA2_256 MODP_3072",
        "aes256-sha256-ecp256", "AES_CBC 256 HMAC_SHA2_256_128", "ECP_256",
        version=1, local="moon-van-1.example", written="plain", calls=True,
    ),
    "several": Case(
        "aes256gcm16-prfsha384-ecp384", "AES_GCM_16 256 - PRF_HMAC_SHA2_384 ECP_384",
        "aes256gcm16-ecp256bp", "AES_GCM_16 256 -", "ECP_256_BP",
        local="moon-several.example", written="plain",
    ),
}  # fmt: skip
CALLING: Final = place("wan1", 23)
"""Where the peer calls from: at its own address it is one that the pair calls."""
NUMBERS: Final = {name: number for number, name in enumerate((*CASES, "other-secret", "other-identity"), 101)}


@dataclass(frozen=True, slots=True)
class Stranger:
    """A peer that must not be let in: its secret, and who it says it is."""

    secret: bytes
    identity: str
    version: int
    """Of IKE. In IKEv1 it says who it is; in IKEv2 it would be asked for, and say no."""


STRANGERS: Final = {
    "other-secret": Stranger(b"some other secret than the pair's own", "sun-other-secret.example", 2),
    "other-identity": Stranger(SECRET, "else.example", 1),
}
"""Beside them, by connection; of each the pair has the secret, and a name that follows the connection's."""


def far(name: str) -> str:
    """The address behind the peer that a connection leads to."""
    return f"10.21.0.{NUMBERS[name]}"


def subject(who: str, name: str) -> str:
    """The distinguished name in a certificate."""
    return f"C=CH, O=Lab, CN={who} {name}"


def identities(name: str) -> tuple[str, str]:
    """Ours and the peer's, as the peer shows them."""
    case = CASES[name]
    return case.local or subject("moon", name), case.remote or f"sun-{name}.example"


@dataclass(frozen=True, slots=True)
class Certified:
    """The certificates of one connection: each end's own chain, and what it pins."""

    root: Holder
    moon: tuple[Holder, ...]
    sun: tuple[Holder, ...]


def certified(name: str) -> Certified:
    """Both ends' certificates, leaf first."""
    case = CASES[name]
    assert case.key is not None
    kind = case.key[0]
    root = issue(f"root {name}", is_ca=True)
    chains = []
    for who, names in (("moon", [case.local] if case.local else []), ("sun", [f"sun-{name}.example"])):
        above = (issue(f"middle of {who} {name}", root, is_ca=True),) if case.behind else ()
        chains.append((issue(f"{who} {name}", *(above or (root,)), kind=kind, names=names), *above))
    return Certified(root, *chains)


def files_of(name: str, chain: Certified | None) -> dict[str, str]:
    """What the connection's table names, by path."""
    case = CASES[name]
    if chain is None:
        return {f"{ETC}/secrets/{name}.psk": f"{_WRITTEN[case.written]}\n"} if case.written in _WRITTEN else {}
    assert case.key is not None
    _, style, encrypted = case.key
    key = chain.moon[0].key_pem(style, passphrase=_PASSPHRASE.encode() if encrypted else None)
    return {
        f"{ETC}/certs/{name}.pem": "".join(each.pem for each in chain.moon),
        f"{ETC}/certs/{name}-ca.pem": chain.root.pem,
        f"{ETC}/certs/{name}-other.pem": issue(f"other root {name}", is_ca=True).pem,
        f"{ETC}/secrets/{name}.key": key,
        **({f"{ETC}/secrets/{name}.pass": f"{_PASSPHRASE}\n"} if encrypted else {}),
    }


def table_of(name: str) -> str:
    """The connection's table."""
    case = CASES[name]
    lines = [
        f"[connections.{name}]",
        'interfaces = ["wan"]',
        f'remote = ["{"0.0.0.0" if case.calls else address("peer", "wan1")}"]',
        f'start = "{"responder-only" if case.calls else "connect"}"',
        f"ike_version = {case.version}",
        f'remote_id = "{identities(name)[1]}"',
        *([f'local_id = "{case.local}"'] if case.local else []),
        f"proposals = {json.dumps([*(_LACKING if name == 'several' else ()), case.ike])}",
    ]
    if case.key is not None:
        lines += [
            'auth = "certificate"',
            f'certificate_file = "{name}.pem"',
            f'key_file = "{name}.key"',
            f'ca_files = ["{name}-other.pem", "{name}-ca.pem"]',
            *([f'key_passphrase_file = "{name}.pass"'] if case.key[2] else []),
        ]
    else:
        lines += [f'psk = "{SECRET.decode()}"' if case.written == "inline" else f'psk_file = "{name}.psk"']
    lines += [
        f'children.net = {{ local = ["{subnet("lan")}"], remote = ["{far(name)}/32"], proposals = ["{case.esp}"] }}'
    ]
    return "\n".join(lines) + "\n"


def table_of_stranger(name: str) -> str:
    """The table of a connection whose peer is not who it should be."""
    return f"""\
[connections.{name}]
interfaces = ["wan"]
remote = ["{address("peer", "wan1")}"]
ike_version = {STRANGERS[name].version}
proposals = ["{_COMMON}"]
local_id = "moon-{name}.example"
remote_id = "sun-{name}.example"
psk_file = "{name}.psk"
children.net = {{ local = ["{subnet("lan")}"], remote = ["{far(name)}/32"] }}
"""


@contextmanager
def spread_pair() -> Iterator[Pair]:
    """A pair that runs all of them beside the lab's own connection; the peer takes everything that any of them has."""
    chains = {name: certified(name) for name, case in CASES.items() if case.key is not None}
    conf = agent_conf(
        agent="allow_inline_secrets = true",
        extra="\n".join([*map(table_of, CASES), *map(table_of_stranger, STRANGERS)]),
    )
    files = {**conf.files, **{f"{ETC}/secrets/{name}.psk": SECRET.decode() for name in STRANGERS}}
    for name in CASES:
        files |= files_of(name, chains.get(name))
    with agent_pair(conf.text, files=files) as built:
        _load_peer(built, chains)
        yield built


def _load_peer(pair: Pair, chains: dict[str, Certified]) -> None:
    """The peer's ends. It would take any of the algorithms that its version of IKE has: ours alone decide."""
    addresses = (*map(far, CASES), CALLING)
    pair.lab.peer.run("ip", "-batch", "-", text_in="".join(f"address replace {each}/32 dev lo\n" for each in addresses))
    with vici_session(pair.lab.peer.path(VICI)) as session:
        for name, case in CASES.items():
            ours, theirs = identities(name)
            local: dict[str, Any] = {"auth": "psk", "id": theirs}
            remote: dict[str, Any] = {"auth": "psk", "id": ours}
            if name in chains:
                session.load_key({"type": "any", "data": chains[name].sun[0].key_der})
                local |= {"auth": "pubkey", "certs": [each.der for each in chains[name].sun]}
                remote |= {"auth": "pubkey", "cacerts": [chains[name].root.der]}
            else:
                session.load_shared({"id": name, "type": "IKE", "data": SECRET, "owners": [theirs, ours]})
            alike = [each for each in CASES.values() if each.version == case.version]
            # In IKEv1 who begins a Quick Mode has one key exchange for all of its proposals.
            esp = [case.esp] if case.calls and case.version == 1 else [each.esp for each in alike]
            child = {"local_ts": [f"{far(name)}/32"], "remote_ts": [subnet("lan")], "esp_proposals": esp}
            conf = {
                "version": str(case.version),
                "local_addrs": [CALLING if case.calls else address("peer", "wan1")],
                "proposals": [each.ike for each in alike],
                **({"remote_addrs": [vip("wan1")]} if case.calls else {}),
            }
            session.load_conn({name: {**conf, "local": local, "remote": remote, "children": {"net": child}}})
        for name, stranger in STRANGERS.items():
            owners = [stranger.identity, f"sun-{name}.example", f"moon-{name}.example"]
            session.load_shared({"id": name, "type": "IKE", "data": stranger.secret, "owners": owners})
            ends = {
                "local": {"auth": "psk", "id": stranger.identity},
                "remote": {"auth": "psk", "id": f"moon-{name}.example"},
            }
            child = {"local_ts": [f"{far(name)}/32"], "remote_ts": [subnet("lan")]}
            conf = {"version": str(stranger.version), "local_addrs": [address("peer", "wan1")], "proposals": [_COMMON]}
            session.load_conn({name: {**conf, **ends, "children": {"net": child}}})
