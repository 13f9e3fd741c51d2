"""Children: protocols and ports, and several networks in one."""

import pytest

from tests.component.features.stage import NAME, Stage, child_of

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

    A range of ports is IKEv2's: IKEv1 has one port or all. Broken by: dropping what is in brackets in ``selector``;
    where there is an /etc/services, looking up only names of letters in ``_number`` (8080 is http-alt).
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
