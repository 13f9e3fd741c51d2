"""Children: protocols and ports, several networks, and that whatever the settings take, charon takes twice alike."""

import random
from pathlib import Path
from typing import Any

import pytest

from swanherd.settings import Settings, SettingsError, load
from swanherd.world.charon import CharonRefused
from tests.component.charon.agents import running
from tests.component.features.stage import NAME, Stage, child_of
from tests.lab.pki import write_example

PORTS = {
    "tcp/8080": (b"10.1.0.1/32[tcp/http-alt]", b"10.1.0.1/32[tcp/8080]"),
    "udp": (b"10.1.0.1/32[udp]",),
    "icmp": (b"10.1.0.1/32[icmp]", b"10.1.0.1/32[1]"),
    "tcp/1024-2047": (b"10.1.0.1/32[tcp/1024-2047]",),
}
"""How the peer shows each; names come from files that not every host has."""


@pytest.mark.parametrize(
    ("version", "what"), [(2, what) for what in PORTS] + [(1, what) for what in PORTS if "-" not in what]
)
async def test_protocols_and_ports(stage: Stage, what: str, version: int) -> None:
    """The peer, which would take everything between the hosts, has the protocol and the ports that are set.

    A range of ports is IKEv2's: IKEv1 has one port or all. Broken by: dropping what is in brackets in ``selector``.
    """
    settings = stage.settings(
        f"ike_version = {version}", selectors=(f'["10.1.0.1/32[{what}]"]', f'["10.2.0.1/32[{what}]"]')
    )
    number = settings.intent.connections[NAME].children[0].local_ts[0].partition("[")[2].removesuffix("]")
    child = {"local_ts": ["10.2.0.1/32"], "remote_ts": ["10.1.0.1/32"]}
    if version == 1:  # it narrows nothing: both ends must say the same
        child = {"local_ts": [f"10.2.0.1/32[{number}]"], "remote_ts": [f"10.1.0.1/32[{number}]"]}
    shown = await stage.tried(settings, stage.peer(version=str(version), child=child))
    numbered = f"10.1.0.1/32[{number}]".encode()
    assert child_of(shown)["remote-ts"][0] in (*PORTS[what], numbered)


async def test_several_selectors_in_one_child(stage: Stage) -> None:
    """IKEv2 carries all of a child's selectors in one CHILD_SA."""
    local, remote = '["10.1.0.1/32[tcp]", "10.1.0.1/32[udp]"]', '["10.2.0.1/32[tcp]", "10.2.0.1/32[udp]"]'
    child = {"local_ts": ["10.2.0.1/32[6]", "10.2.0.1/32[17]"], "remote_ts": ["10.1.0.1/32[6]", "10.1.0.1/32[17]"]}
    shown = child_of(await stage.tried(stage.settings(selectors=(local, remote)), stage.peer(child=child)))
    assert len(shown["remote-ts"]) == len(shown["local-ts"]) == 2


CHOICES: dict[str, list[str]] = {
    "ike_version": ["1", "2"],
    "mode": ['"tunnel"', '"transport"'],
    "encryption": ['"esp"', '"ah"'],
    "start": ['"connect"', '"on-demand"', '"responder-only"'],
    "proposals": ['["aes256-sha256-modp2048"]', '["aes256gcm16-prfsha384-ecp384", "default"]', "[]"],
    "rekey": ["true", "false"],
    "rekey_s": ["5", "3600", "2592000"],
    "nat_traversal": ['"auto"', '"force"', '"off"'],
    "split": ["true", "false"],
    "dpd_delay_s": ["0", "30"],
    "dpd_timeout_s": ["1", "150"],
    "local_id": ['"moon.example"', '"keyid:moon"', '"C=CH, O=Lab, CN=moon"', '"192.0.2.1"'],
    "remote_id": ['"any"', '"sun@lab.example"', '"C=CH, O=Lab, CN=sun"'],
    "xfrm_interface": ['{ name = "ipsec-x", if_id = 7 }'],
    "auth": ['"psk"', '"certificate"'],
}
CHILDREN = (
    'net = { local = ["10.1.0.0/24"], remote = ["10.2.0.0/24"] }',
    'net = { local = ["10.1.0.0/24[tcp/443]"], remote = ["10.2.0.0/24", "fd00::/64"] }',
    'net = { local = ["dynamic[gre]"], remote = ["dynamic[gre]"] }',
    'net = { local = ["10.1.0.0/24"], remote = ["10.2.0.0/24"], proposals = ["aes256gcm16-ecp384"], rekey_s = 7 }',
    'net = { local = ["10.1.0.0/24"], remote = ["10.2.0.0/24"], proposals = ["sha256"] }',
)
CERTIFIED = (
    'certificate_file = "moon.pem"\nkey_file = "moon.key"\nkey_passphrase_file = "moon.pass"\nca_files = ["ca.pem"]\n'
)
WANTED = 60
"""Valid settings to be tried; about two of three that are made up break a rule."""


def made_up(chance: random.Random, folder: Path) -> Settings | None:
    """Some settings; None where they break a rule, which is told in the one way that there is."""
    fields = {name: chance.choice(choices) for name, choices in CHOICES.items() if chance.random() < 0.4}
    proof = CERTIFIED if fields.get("auth") == '"certificate"' else 'psk_file = "office.psk"\n'
    lines = "".join(f"{name} = {value}\n" for name, value in fields.items())
    more = 'children.more = { local = ["10.3.0.0/24"], remote = ["10.4.0.0/24"] }\n' if chance.random() < 0.3 else ""
    (folder / "swanherd.toml").write_text(
        '[interfaces.wan]\ndevice = "cable"\n'
        f'[connections.{NAME}]\ninterfaces = ["wan"]\nremote = ["10.9.0.2"]\n{proof}{lines}'
        f"children.{chance.choice(CHILDREN)}\n{more}"
    )
    try:
        return load(folder / "swanherd.toml")
    except SettingsError:
        return None


async def test_whatever_is_valid_loads_twice_alike(kernel_stage: Stage) -> None:
    """Random valid settings load without a refusal, are listed as expected, and loading them again changes nothing.

    Broken by: any field that ``list-conns`` shows otherwise than ``canonical`` expects it.
    """
    stage, chance, tried = kernel_stage, random.Random(8), 0
    write_example(stage.folder)
    stage.secret("office.psk", "a secret of the tests that is long enough")
    async with running(stage.left.socket_path) as agent:
        while tried < WANTED:
            settings = made_up(chance, stage.folder)
            if settings is None:
                continue
            tried += 1
            for connection in settings.intent.connections.values():
                secret = settings.secrets[connection.name]
                written = (stage.folder / "swanherd.toml").read_text()
                try:
                    await agent.charon.load_secret(connection, secret.value, secret.version, sources=[stage.left.ip])
                    await agent.charon.load(connection, stage.left.ip)
                except CharonRefused as refusal:
                    raise AssertionError(f"{refusal}:\n{written}") from None
                first: Any = (await agent.charon.read(connection.name)).config
                assert first == agent.charon.expected(connection, stage.left.ip), written
                await agent.charon.load(connection, stage.left.ip)
                assert (await agent.charon.read(connection.name)).config == first, written
                await agent.charon.unload(connection.name)
    told = [line for line in stage.left.log().splitlines() if "[CFG]" in line or "[LIB]" in line]
    assert not [line for line in told if any(word in line for word in ("failed", "invalid", "unable", "ignor"))]
    updates = [line for line in told if "vici connection" in line]
    assert not [line for line in updates if "replaced vici connection" in line]
