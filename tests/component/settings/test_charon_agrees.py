"""What the settings accept a real charon accepts, so that a mistake is found by ``check`` and not at a takeover."""

# ruff: noqa: E501 - lists of names, which would fill pages one a line

import itertools
import random
import shutil
import subprocess
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import pytest
from vici import Session
from vici.exception import CommandException

from swanherd.core.intent import IPAddress
from swanherd.settings import load, notation, proposals
from swanherd.settings.swanctlconf import connection_names
from tests.component.charon.agents import running
from tests.component.charon.sites import Site

EXAMPLES = Path(__file__).parents[3] / "docs/examples"

CIPHERS = (
    "aes", "aes128", "aes192", "aes256", "aes256ctr", "aes128ccm8", "aes256ccm16", "aes256ccm128", "aes128gcm", "aes256gcm8",
    "aes256gcm16", "aes192gcm96", "aes256gmac", "chacha20poly1305", "chacha20poly1305compat", "3des", "des", "null", "blowfish256",
    "camellia256", "camellia128ctr", "camellia256ccm12", "camellia256gcm16", "cast128", "serpent256", "twofish192",
)  # fmt: skip
INTEGRITY = (
    "sha", "sha1", "sha1_160", "sha256", "sha2_256", "sha256_96", "sha2_256_96", "sha384", "sha2_512", "sha2256", "md5", "md5_128",
    "aesxcbc", "camelliaxcbc", "aescmac",
)  # fmt: skip
PRFS = ("prfsha1", "prfsha256", "prfsha384", "prfsha512", "prfmd5", "prfaesxcbc", "prfcamelliaxcbc", "prfaescmac", "prfsha224")  # fmt: skip
GROUPS = (
    "modp768", "modp1024", "modp2048", "modp8192", "modp1024s160", "modp2048s224", "modp2048s256", "ecp192", "ecp256", "ecp521",
    "ecp224bp", "ecp512bp", "curve25519", "x25519", "curve448", "x448", "modp4097",
)  # fmt: skip
MORE = ("esn", "noesn", "nonsense", "")
MEANINGLESS = {"esn", "noesn", ""}


def loads(session: Session, **changes: Any) -> bool:
    """Whether charon takes a connection with these proposals."""
    child = {"local_ts": ["10.1.0.0/24"], "remote_ts": ["10.2.0.0/24"], **changes.pop("child", {})}
    conf = {
        "version": "2",
        "remote_addrs": ["192.0.2.1"],
        "local": {"auth": "psk"},
        "remote": {"auth": "psk"},
        **changes,
    }
    try:
        session.load_conn({"probe": {**conf, "children": {"net": child}}})
    except CommandException:
        return False
    return True


def accepts(check: Callable[[str], str], proposal: str) -> bool:
    """Whether the settings take this proposal."""
    try:
        check(proposal)
    except ValueError:
        return False
    return True


def some_proposals(seed: int) -> list[str]:
    """Each algorithm at least once in a plausible place, and a few hundred random mixtures."""
    chance = random.Random(seed)
    plausible = [f"{cipher}-sha256-prfsha256-ecp256" for cipher in CIPHERS]
    plausible += [f"aes256-{one}-ecp256" for one in INTEGRITY]
    plausible += [f"aes256gcm16-{one}-ecp256" for one in PRFS]
    plausible += [f"aes256gcm16-prfsha256-{one}" for one in GROUPS]
    plausible += [f"{cipher}-{group}" for cipher, group in itertools.product(CIPHERS, ("ecp256", "modp2048"))]
    pools = (CIPHERS, INTEGRITY, PRFS, GROUPS, MORE)
    mixtures = [
        "-".join(chance.choice(pool) for pool in pools for _ in range(chance.choice((0, 1, 1, 2)))) for _ in range(400)
    ]
    return plausible + mixtures


def test_ike_proposals(sites: tuple[Site, Site]) -> None:
    """Every IKE proposal that the settings accept charon loads."""
    session = sites[0].vici()
    accepted = [one for one in some_proposals(1) if accepts(proposals.ike, one)]
    assert len(accepted) > 60
    assert not [one for one in accepted if not loads(session, proposals=[one])]


def test_esp_proposals(sites: tuple[Site, Site]) -> None:
    """Every ESP proposal that the settings accept charon loads."""
    session = sites[0].vici()
    accepted = [one for one in some_proposals(2) if accepts(proposals.esp, one)]
    assert len(accepted) > 60
    assert not [one for one in accepted if not loads(session, child={"esp_proposals": [one]})]


def test_nothing_refused_without_need(sites: tuple[Site, Site]) -> None:
    """What the settings refuse and charon would take is known: an empty name, or ESN, which means nothing in IKE."""
    session = sites[0].vici()
    refused = [one for one in some_proposals(3) if one and not accepts(proposals.ike, one)]
    needless = [one for one in refused if loads(session, proposals=[one]) and not MEANINGLESS & set(one.split("-"))]
    assert len(refused) > 60
    assert not [one for one in needless if not mixes(one)]


def mixes(proposal: str) -> bool:
    """Whether AEAD and classic ciphers stand in one proposal: charon takes that, RFC 7296 (3.3) does not."""
    with pytest.raises(ValueError, match=proposal) as refused:
        proposals.ike(proposal)
    return "mixes AEAD and classic" in str(refused.value)


SOURCES: dict[int, IPAddress] = {4: IPv4Address("203.0.113.10"), 6: IPv6Address("2001:db8:1::10")}


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.toml")), ids=lambda file: file.stem)
async def test_examples_load(kernel_site: Site, folder: Path, example: Path) -> None:
    """Every example loads into a real charon, and what charon then lists is what the adapter expects."""
    shutil.copy(example, folder / "swanherd.toml")
    settings = load(folder / "swanherd.toml")
    async with running(kernel_site.socket_path) as agent:
        for connection in settings.intent.connections.values():
            source = SOURCES[connection.ip_version]
            secret = settings.secrets[connection.name]
            await agent.charon.load_secret(connection, secret.value, secret.version)
            await agent.charon.load(connection, source)
            listed = (await agent.charon.read(connection.name)).config
            assert listed == agent.charon.expected(connection, source)
            await agent.charon.unload(connection.name)


def test_selectors(sites: tuple[Site, Site]) -> None:
    """Every form of a selector that the settings accept charon loads."""
    forms = ["10.1.0.0/24", "10.1.0.7", "10.1.0.7-10.1.0.9", "10.1.0.0/24[tcp/443]", "10.1.0.0/24[udp]", "dynamic", "dynamic[gre]",
             "10.1.0.0/24[tcp/1000-2000]", "10.1.0.0/24[6]", "fd00::/64", "fd00::1-fd00::9[udp/53]", "10.1.0.0/24[sctp/opaque]"]  # fmt: skip
    session = sites[0].vici()
    accepted = [form for form in forms if accepts(notation.selector, form)]
    assert len(accepted) > 10
    assert not [form for form in accepted if not loads(session, child={"local_ts": [notation.selector(form)]})]


def test_names_in_swanctl_conf(sites: tuple[Site, Site], tmp_path: Path) -> None:
    """The names that are read from a swanctl.conf are those that swanctl loads from it."""
    site = sites[0]
    body = "remote_addrs = 192.0.2.9\n local { auth = psk }\n remote { auth = psk }"
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d/b.conf").write_text(f"connections {{ included {{ {body} }} }}\n")
    (tmp_path / "swanctl.conf").write_text(
        f"templates {{ base {{ version = 2 }} }}\n# connections {{ no {{ }} }}\n"
        f"connections {{\n  first {{ {body}\n }}\n  second : templates.base\n {{ {body}\n }}\n"
        f"  third\n  {{ {body}\n }} # }}\n}}\ninclude conf.d/*.conf\n"
        'secrets { ike-x { secret = "connections { trick { } }" } }\n'
    )
    swanctl = ("swanctl", "--load-conns", "--uri", f"unix://{site.socket_path}", "--file")
    subprocess.run([*swanctl, tmp_path / "swanctl.conf"], check=True, capture_output=True)
    loaded = {name.decode() for name in site.vici().get_conns()["conns"]}
    site.swanctl("--load-conns")
    assert connection_names(tmp_path / "swanctl.conf") == loaded == {"first", "second", "third", "included"}
