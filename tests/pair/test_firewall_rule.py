"""A connection's rule in the user's own chain, whose policy is drop: the tunnel works exactly while it is there."""

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from tests.lab.hosts import Host
from tests.lab.observe import Observer
from tests.lab.pair import Gateway, Pair, agent_pair
from tests.lab.peer import SECRET, as_seen_by_peer, gateway_tunnel
from tests.lab.told import Told
from tests.lab.topology import address, place, vip
from tests.lab.waiting import wait_until

EXAMPLE: Final = Path(__file__).parents[2] / "docs/examples/firewall-rule.toml"
RULE: Final = 'firewall_rule = "inet filter input"\n'
FILE: Final = "/etc/nftables.conf"
USERS: Final = """\
flush ruleset
table inet filter {
    chain input {
        type filter hook input priority filter; policy drop;
        iifname { "lo", "lan" } accept comment "swanherd: written by a person"
        meta l4proto vrrp accept
    }
}
"""
MOVED: Final = place("wan1", 21)
"""Where the peer has moved to."""
BACK_S: Final = 1.0
"""How soon the rule must be back after the user has loaded his ruleset anew."""


def _settings(host: Host) -> str:
    """The host's settings; its firewall is loaded before anything else runs."""
    host.write(FILE, USERS.replace("l4proto vrrp", "l4proto 112"))
    host.run("nft", "-f", FILE)
    return EXAMPLE.read_text()


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """A pair by the example's settings, behind such a firewall; each test leaves gw-a master, with traffic."""
    with agent_pair(_settings, files={"/etc/swanherd/secrets/branch.psk": f"{SECRET}\n"}) as built:
        yield built


def _chain(gateway: Gateway) -> str:
    return gateway.host.run("nft", "list", "chain", "inet", "filter", "input").stdout


def _ours(gateway: Gateway) -> list[str]:
    """What our rules are for, from the head of the chain on."""
    return re.findall(r'comment "swanherd: (\w+ of [^"\[]*) \[', _chain(gateway))


def _let_in(gateway: Gateway) -> set[str]:
    """The addresses in our rules that are the peer's."""
    lines = [line for line in _chain(gateway).splitlines() if re.search(r"swanherd: \w+ of", line)]
    return {each for line in lines for each in re.findall(r"\d+\.\d+\.\d+\.\d+", line)} - {vip("wan1")}


def _reload(gateway: Gateway, text: str) -> None:
    gateway.agent.config = text
    gateway.agent.install()
    gateway.agent.reload()


def test_it_follows_the_address(pair: Pair) -> None:
    """The tunnel is up through a policy of drop; the rule is on the master only, and moves with the address.

    Broken by: ``Loop._cut_wire`` not following the openings (nothing ever comes in); ``openings.usable`` not asking
    what is here (the standby has the rule).
    """
    assert _ours(pair.a) == ["ESP of branch", "IKE of branch"]
    assert _ours(pair.b) == []
    with Observer(pair.lab) as seen:
        seen.wait_through()
        pair.a.keepalived.stop()
        seen.wait_through(by="gw-b", after=seen.mark("fault"))
        assert _ours(pair.b) == ["ESP of branch", "IKE of branch"]
        wait_until(lambda: _ours(pair.a) == [], "gone with the address")
        pair.a.keepalived.start()
        pair.wait_for_master(pair.a)
        seen.wait_through(by="gw-a", after=seen.mark("back"))


def test_exactly_while_it_is_on(pair: Pair) -> None:
    """Without the setting what the peer sends does not come in; with it again it does, and the SA was never touched.

    By either gateway. Broken by: ``openings.wanted`` leaving out chains without rules.
    """
    with_it = EXAMPLE.read_text()
    for master in pair.gateways:
        if master is pair.b:
            pair.a.keepalived.stop()
            pair.wait_for_master(master)
        with Observer(pair.lab) as seen:
            seen.wait_through(by=master.name)
            up = [sa.unique_id for sa in seen.sas(master.name)[master.name].up]
            _reload(master, with_it.replace(RULE, ""))
            wait_until(lambda master=master: _ours(master) == [], "the rule is gone")  # type: ignore[misc]
            wait_until(lambda: not pair.passes(), "nothing comes back")
            _reload(master, with_it)
            seen.wait_through(by=master.name, after=seen.mark("again"))
            assert [sa.unique_id for sa in seen.sas(master.name)[master.name].up] == up
        pair.wait_for_traffic()
    pair.a.keepalived.start()
    pair.wait_for_master(pair.a)
    pair.wait_for_traffic()


def test_it_follows_the_settings(pair: Pair) -> None:
    """Another endpoint, by a reload on both: the rule lets that one in, and no more the old one, by either gateway.

    Broken by: ``openings`` in ``target.py`` not asking whose intent it knows (nothing of the new endpoint comes in).
    """
    moved = EXAMPLE.read_text().replace(address("peer", "wan1"), MOVED)
    pair.lab.peer.run("ip", "address", "add", f"{MOVED}/32", "dev", "wan1")
    pair.peer.load(replace(as_seen_by_peer(gateway_tunnel()), local_addrs=MOVED))
    for gateway in pair.gateways:
        _reload(gateway, moved)
    for master in pair.gateways:
        if master is pair.b:
            pair.a.keepalived.stop()
            pair.wait_for_master(master)
        with Observer(pair.lab, peers=[MOVED]) as seen:
            seen.wait_through(by=master.name)
            assert {sa.remote for sa in seen.sas(master.name)[master.name].up} == {MOVED}
        assert _ours(master) == ["ESP of branch", "IKE of branch"]
        assert _let_in(master) == {MOVED}
    pair.peer.load(as_seen_by_peer(gateway_tunnel()))
    for gateway in pair.gateways:
        _reload(gateway, EXAMPLE.read_text())
    pair.a.keepalived.start()
    pair.wait_for_master(pair.a)
    pair.lab.peer.run("ip", "address", "del", f"{MOVED}/32", "dev", "wan1")
    pair.wait_for_traffic()
    assert _let_in(pair.a) == {address("peer", "wan1")}


def test_the_user_loads_his_ruleset_anew(pair: Pair) -> None:
    """The rule is back within a second, at the head; the user's own rules are as he wrote them.

    Broken by: ``OpeningLane.heard`` doing nothing; ``NEWRULE`` with ``APPEND``.
    """
    pair.a.host.run("nft", "-f", FILE)
    loaded = time.monotonic()
    wait_until(lambda: len(_ours(pair.a)) == 2, "ours are back")
    assert time.monotonic() - loaded < BACK_S
    lines = [line.strip() for line in _chain(pair.a).splitlines()]
    theirs = [line for line in lines if not re.search(r"swanherd: \w+ of", line)]
    assert lines.index('iifname { "lo", "lan" } accept comment "swanherd: written by a person"') == 5
    pair.wait_for_traffic()
    _reload(pair.a, EXAMPLE.read_text().replace(RULE, ""))
    wait_until(lambda: [line.strip() for line in _chain(pair.a).splitlines()] == theirs, "only the user's own is left")
    _reload(pair.a, EXAMPLE.read_text())
    pair.wait_for_traffic()


def test_a_chain_that_is_not_there(pair: Pair) -> None:
    """A chain that nobody has made is told in status, and is used as soon as somebody makes it.

    Broken by: ``OpeningLane._apply`` dropping what ``apply`` said.
    """
    other = EXAMPLE.read_text().replace("inet filter input", "inet mine vpn")
    told = Told(pair.a.agent)
    _reload(pair.a, other)
    wait_until(
        lambda: (
            told.status()["firewall_rules"]
            == [{"chain": "inet mine vpn", "connections": ["branch"], "trouble": "there is no chain inet mine vpn"}]
        ),
        "it is told",
    )
    assert "no firewall rule for IPsec: there is no chain inet mine vpn" in told.status()["troubles"]
    assert _ours(pair.a) == [], "the old chain has none any more"
    pair.a.host.run("nft", "add table inet mine; add chain inet mine vpn")
    wait_until(lambda: told.status()["firewall_rules"][0]["trouble"] == "", "it is used")
    assert "swanherd: IKE of branch" in pair.a.host.run("nft", "list", "chain", "inet", "mine", "vpn").stdout
    _reload(pair.a, EXAMPLE.read_text())
    pair.wait_for_traffic()
    assert "swanherd" not in pair.a.host.run("nft", "list", "chain", "inet", "mine", "vpn").stdout


def test_teardown_takes_it_away(pair: Pair) -> None:
    """Teardown needs no settings: it finds our rules by their comments, and leaves the user's.

    Broken by: ``teardown`` without ``_close_openings``.
    """
    agent = pair.b.agent
    pair.a.keepalived.stop()
    pair.wait_for_master(pair.b)
    pair.wait_for_traffic()
    agent.kill()
    assert len(_ours(pair.b)) == 2, "what the agent leaves holds"
    told = pair.b.host.run("python3", "-m", "swanherd", "status", check=False).stdout
    assert "in: inet filter input" in told
    assert "10.10.0.0/24 > 10.20.0.0/24 by wan1" in told
    pair.b.host.run("python3", "-m", "swanherd", "teardown")
    assert _ours(pair.b) == []
    assert "written by a person" in _chain(pair.b)
    agent.start()
    pair.a.keepalived.start()
    pair.wait_for_master(pair.a)
    pair.wait_for_traffic()
