"""Features that only a kernel with IPsec has: each is judged at a real peer, and by packets that the peer counts."""

from typing import Any

import pytest

from tests.component.features.stage import INNER_6, LEFT_6, NAME, RIGHT_6, Sa, Stage, child_of, peer_up


def counted(session: Any) -> int:
    """Packets that the peer's one child has taken out of its SA."""
    (sa,) = (sa for item in session.list_sas() for sa in item.values())
    return int(child_of(sa)["packets-in"])


@pytest.mark.parametrize("version", [1, 2])
async def test_ah(stage: Stage, version: int) -> None:
    """AH in tunnel mode, with the integrity that is set and nothing encrypted: the peer counts our packets in it.

    Broken by: ``esp_proposals`` for ``ah_proposals`` (the peer, which wants AH, has no proposal in common).
    """
    settings = stage.settings('encryption = "ah"', f"ike_version = {version}", child='proposals = ["sha256"]')
    conf = stage.peer(version=str(version), child={"ah_proposals": ["sha256", "sha512"]})
    async with stage.theirs(conf) as session, stage.ours(settings) as (agent, connection):
        child = child_of(await stage.bring_up(agent, connection, session))
        assert (child["protocol"], child["integ-alg"], child["mode"]) == (b"AH", b"HMAC_SHA2_256_128", b"TUNNEL")
        assert "encr-alg" not in child
        assert stage.ping(str(stage.left.inner), str(stage.right.inner)) == 3
        assert counted(session) == 3


async def test_transport(stage: Stage) -> None:
    """Transport mode encrypts what the two gateways themselves exchange.

    Broken by: sending no ``mode`` (charon takes tunnel mode).
    """
    settings = stage.settings('mode = "transport"', hosts=True)
    conf = stage.peer(child={"mode": "transport", "local_ts": ["dynamic"], "remote_ts": ["dynamic"]})
    async with stage.theirs(conf) as session, stage.ours(settings) as (agent, connection):
        child = child_of(await stage.bring_up(agent, connection, session))
        assert (child["mode"], child["protocol"]) == (b"TRANSPORT", b"ESP")
        assert stage.ping(str(stage.left.ip), str(stage.right.ip)) == 3
        assert counted(session) == 3


async def test_gre_alone(stage: Stage) -> None:
    """GRE between the endpoints is encrypted, and nothing else of what they exchange."""
    settings = stage.settings('mode = "transport"', selectors=('["dynamic[gre]"]', '["dynamic[gre]"]'))
    conf = stage.peer(child={"mode": "transport", "local_ts": ["dynamic[47]"], "remote_ts": ["dynamic[47]"]})
    for site, other, inner in ((stage.left, stage.right, "172.31.0.1"), (stage.right, stage.left, "172.31.0.2")):
        site.ip_command("link", "add", "gre-test", "type", "gre", "local", str(site.ip), "remote", str(other.ip))
        site.ip_command("addr", "add", f"{inner}/30", "dev", "gre-test")
        site.ip_command("link", "set", "gre-test", "addrgenmode", "none", "up")  # or it solicits routers
    async with stage.theirs(conf) as session, stage.ours(settings) as (agent, connection):
        child = child_of(await stage.bring_up(agent, connection, session))
        assert child["mode"] == b"TRANSPORT"
        assert stage.ping(str(stage.left.ip), str(stage.right.ip)) == 3
        assert counted(session) == 0
        assert stage.ping("172.31.0.1", "172.31.0.2") == 3
        assert counted(session) >= 3  # the device says something of its own, too


async def test_on_demand(stage: Stage) -> None:
    """Nothing comes up until a packet does; the first packet brings the tunnel up, and others go through.

    Broken by: initiating instead of installing (the SA is there before the packet).
    """
    settings = stage.settings('start = "on-demand"')
    async with stage.theirs(stage.peer()) as session, stage.ours(settings) as (agent, connection):
        await agent.charon.install(connection, connection.children[0])
        assert not list(session.list_sas())
        stage.ping(str(stage.left.inner), str(stage.right.inner), count=1)
        await peer_up(session)
        assert stage.ping(str(stage.left.inner), str(stage.right.inner)) == 3
        await agent.charon.uninstall(NAME, "net")


async def test_no_nat(stage: Stage) -> None:
    """Where there is no NAT none is found, and ESP is not encapsulated: ``nat_traversal = "off"`` stays up."""
    async with (
        stage.theirs(stage.peer()) as session,
        stage.ours(stage.settings('nat_traversal = "off"')) as (agent, our),
    ):
        shown = await stage.bring_up(agent, our, session)
        await agent.until(agent.up, "up here")
        assert not any(sa.nat for sa in agent.here().sas)
        assert "nat-any" not in shown
        assert child_of(shown).get("encap") != b"yes"


INSIDE = {
    "IPv4 in IPv6": (6, ["10.1.0.1/32"], ["10.2.0.1/32"]),
    "IPv6 in IPv6": (6, [f"{INNER_6[0]}/128"], [f"{INNER_6[1]}/128"]),
    "both in IPv6": (6, ["10.1.0.1/32", f"{INNER_6[0]}/128"], ["10.2.0.1/32", f"{INNER_6[1]}/128"]),
    "IPv6 in IPv4": (4, [f"{INNER_6[0]}/128"], [f"{INNER_6[1]}/128"]),
    "both in IPv4": (4, ["10.1.0.1/32", f"{INNER_6[0]}/128"], ["10.2.0.1/32", f"{INNER_6[1]}/128"]),
}


@pytest.mark.parametrize("case", INSIDE.values(), ids=INSIDE)
async def test_families(stage: Stage, case: tuple[int, list[str], list[str]]) -> None:
    """Each family outside carries each family inside, and both at once in one child."""
    outside, local, remote = case
    stage.have_ipv6()
    quoted = tuple(str(each).replace("'", '"') for each in (local, remote))
    settings = stage.settings(
        selectors=(quoted[0], quoted[1]), remote=str(RIGHT_6) if outside == 6 else str(stage.right.ip)
    )
    ends = {"local_addrs": [str(RIGHT_6)], "remote_addrs": [str(LEFT_6)]} if outside == 6 else {}
    conf = stage.peer(**ends, child={"local_ts": remote, "remote_ts": local})
    async with stage.theirs(conf) as session, stage.ours(settings) as (agent, connection):
        shown: Sa = await stage.bring_up(agent, connection, session)
        assert shown["remote-host"].decode() == (str(LEFT_6) if outside == 6 else str(stage.left.ip))
        for source, target in zip(local, remote, strict=True):
            assert stage.ping(source.partition("/")[0], target.partition("/")[0]) == 3
        assert counted(session) == 3 * len(local)
