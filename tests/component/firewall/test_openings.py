"""Our rules in a chain of the user's, whose policy is drop: what comes in, and what the user's own rules see of it."""

import asyncio
import json
import re
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import Final

import pytest

from swanherd.core.facts import Opening, Pair
from swanherd.core.intent import ChainName, IPAddress
from swanherd.core.openings import AH, ESP, UDP
from swanherd.runtime.openinglane import OpeningLane
from swanherd.world.firewall import OpeningRules
from tests.lab.namespaces import socket_in
from tests.lab.waiting import wait_until

from .ruleset import Running, listed, nft, pair
from .stage import ETH_P_ALL, IPPROTO_RAW, OTHER_PEER, OWN, PEER, VIP, Stage, Traffic, packet, vip

INPUT: Final = ChainName("inet", "user", "input")
BACK_S: Final = 1.0
"""How soon our rules must be back after the user has loaded his ruleset anew."""
USERS: Final = """
table inet user {
    comment "the user's own"
    set admins { type ipv4_addr; elements = { 198.51.100.7 } }
    chain input {
        type filter hook input priority 0; policy drop;
        iifname "lo" accept
        ip saddr @admins tcp dport 22 counter packets 3 bytes 180 accept comment "swanherd: written by a person"
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
    }
    chain output { type filter hook output priority 0; policy accept; }
}
"""
KINDS: Final = (
    Traffic("ike", UDP, (500, 500)),
    Traffic("nat-t", UDP, (40000, 4500)),
    Traffic("esp", ESP),
    Traffic("ah", AH),
    Traffic("dns", UDP, (53, 53)),
)
SECURE: Final = {"ike": 5, "nat-t": 5, "esp": 5}
FAMILIES = pytest.mark.parametrize("family", [4, 6])


class Gate:
    """Sends to the gateway from the far end; counts what the gateway's own sockets get."""

    def __init__(self, far: str) -> None:
        self._senders = {
            4: socket_in(far, socket.AF_INET, socket.SOCK_RAW, IPPROTO_RAW),
            6: socket_in(far, socket.AF_INET6, socket.SOCK_RAW, IPPROTO_RAW),
        }
        self._ears = [
            socket.socket(kind, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol)
            for kind in (socket.AF_INET, socket.AF_INET6)
            for protocol in (UDP, ESP, AH)
        ]
        self._tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(ETH_P_ALL))
        self._tap.bind(("wan", 0))

    def close(self) -> None:
        """Close its sockets."""
        for sock in (*self._senders.values(), *self._ears, self._tap):
            sock.close()

    def comes_in(self, source: IPAddress, to: IPAddress) -> dict[str, int]:
        """Send 5 packets of every kind; how many of which came in."""
        for number in range(5):
            for kind in KINDS:
                data = packet(source, to, kind.protocol, kind.payload(number))
                self._senders[to.version].sendto(data, (str(to), 0))
        last = Traffic("last", UDP, (9, 9))
        self._senders[4].sendto(packet(PEER[4], OWN[4], last.protocol, last.payload(0)), (str(OWN[4]), 0))
        # The kernel takes a link's packets in one by one, and shows them to a tap before the firewall sees them.
        wait_until(lambda: "last" in _labels(self._tap), "the last packet is at the gateway")
        heard: Counter[str] = Counter()
        for ear in self._ears:
            heard.update(_labels(ear))
        return dict(heard)


def _labels(ear: socket.socket) -> Iterator[str]:
    while True:
        try:
            data = ear.recv(2048)
        except BlockingIOError:
            return
        if found := re.search(rb"swanherd-test:([a-z-]+):", data):
            yield found[1].decode()


@pytest.fixture
def gate(stage: Stage) -> Iterator[Gate]:
    """The far end, which sends to the gateway; the VIPs are here, and the user's policy is drop."""
    vip("replace")
    nft(USERS)
    (link,) = json.loads(subprocess.run(["ip", "-json", "link", "show", "wan"], check=True, capture_output=True).stdout)
    batch = ["addr add 192.0.2.200/32 dev far", "addr add 2001:db8::200/128 dev far nodad"]
    for to in (*VIP.values(), *OWN.values()):
        batch += [f"route add {to} dev far", f"neigh add {to} lladdr {link['address']} dev far nud permanent"]
    run = ["nsenter", f"--net={stage.netns}", "ip", "-batch", "-"]
    subprocess.run(run, input="\n".join(batch), text=True, check=True)
    gate = Gate(stage.netns)
    yield gate
    gate.close()


@pytest.fixture
def rules(namespace: None) -> Iterator[OpeningRules]:  # noqa: ARG001 - it is there for what it does
    """Under test."""
    rules = OpeningRules()
    yield rules
    rules.close()


def _openings(*pairs: Pair, names: tuple[str, ...] = ("branch",)) -> tuple[Opening, ...]:
    return (Opening(UDP, (500, 4500), frozenset(pairs), names), Opening(ESP, (), frozenset(pairs), names))


def _of(family: int) -> tuple[Opening, ...]:
    return _openings(pair(VIP[family], PEER[family]))


def _without_ours(chain: str = "inet user input") -> str:
    lines = listed("chain", *chain.split()).splitlines()
    return "\n".join(line for line in lines if not re.search(r"swanherd: (IKE|ESP|AH) of", line))


def _comments(chain: str = "inet user input") -> list[str]:
    return re.findall(r'comment "([^"]*)"', listed("chain", *chain.split()))


@FAMILIES
def test_exactly_when_it_is_on(gate: Gate, rules: OpeningRules, family: int) -> None:
    """Nothing comes in without the rule, IKE and ESP from the peer to the VIP with it, and nothing after it.

    Broken by: ``_change`` without its new rules; ``_parts`` without the set of addresses.
    """
    peer, to = PEER[family], VIP[family]
    assert gate.comes_in(peer, to) == {}
    assert rules.apply(INPUT, _of(family)) == ""
    assert gate.comes_in(peer, to) == SECURE
    assert gate.comes_in(OTHER_PEER[family], to) == {}, "another peer"
    assert gate.comes_in(peer, OWN[family]) == {}, "another address of the gateway"
    assert rules.apply(INPUT, ()) == ""
    assert gate.comes_in(peer, to) == {}


@FAMILIES
def test_a_peer_that_can_be_anywhere(gate: Gate, rules: OpeningRules, family: int) -> None:
    """Whoever calls the VIP comes in, to no other address."""
    anywhere = pair(VIP[family], {4: "0.0.0.0/0", 6: "::/0"}[family])
    rules.apply(INPUT, _openings(anywhere))
    assert gate.comes_in(OTHER_PEER[family], VIP[family]) == SECURE
    assert gate.comes_in(OTHER_PEER[family], OWN[family]) == {}


def test_ah_and_a_table_of_one_family(gate: Gate, rules: OpeningRules) -> None:
    """AH has a rule of its own, and a table of family ip takes it, too."""
    nft("table ip filter { chain INPUT { type filter hook input priority 0; policy drop; }\n }\n flush table inet user")
    nft("delete table inet user")
    opening = Opening(AH, (), frozenset({pair(VIP[4], PEER[4])}), ("branch",))
    assert rules.apply(ChainName("ip", "filter", "INPUT"), (opening,)) == ""
    assert gate.comes_in(PEER[4], VIP[4]) == {"ah": 5}


def test_at_the_head_with_our_comment_and_nothing_else_changed(gate: Gate, rules: OpeningRules) -> None:
    """Ours are the first rules of the chain; the user's are the same, counters and handles included.

    Broken by: ``NEWRULE`` with ``APPEND``.
    """
    assert gate.comes_in(PEER[4], VIP[4]) == {}
    before, whole = _without_ours(), listed()
    rules.apply(INPUT, _of(4))
    comments = _comments()
    assert [re.sub(r" \[.*", "", each) for each in comments[:2]] == [
        "swanherd: ESP of branch",
        "swanherd: IKE of branch",
    ]
    assert comments[2:] == ["swanherd: written by a person"]
    assert _without_ours() == before
    rules.apply(INPUT, ())
    assert listed() == whole, "no set, no chain and no rule is left behind"


def test_applied_again_nothing_happens(gate: Gate, rules: OpeningRules) -> None:
    """What is right stays where it is, though the user has put a rule of his before it; no transaction is made."""
    assert gate.comes_in(PEER[4], VIP[4]) == {}
    rules.apply(INPUT, _of(4))
    nft("insert rule inet user input ip saddr 198.51.100.99 drop")
    before = listed("chain", "inet", "user", "input")
    generation = rules._kernel.generation()
    rules.apply(INPUT, _of(4))
    assert rules._kernel.generation() == generation
    assert listed("chain", "inet", "user", "input") == before


def test_a_change_is_one_transaction(gate: Gate, rules: OpeningRules) -> None:
    """Another connection, or another endpoint, takes the old rule's place in one moment.

    Broken by: committing what goes and what comes one after the other.
    """
    rules.apply(INPUT, _of(4))
    generation = rules._kernel.generation()
    both = _openings(pair(VIP[4], PEER[4]), pair(VIP[4], OTHER_PEER[4]), names=("branch", "paris"))
    rules.apply(INPUT, both)
    assert rules._kernel.generation() == generation + 1
    assert len(_comments()) == 3
    assert gate.comes_in(PEER[4], VIP[4]) == SECURE
    assert gate.comes_in(OTHER_PEER[4], VIP[4]) == SECURE
    rules.apply(INPUT, _of(4))
    assert gate.comes_in(OTHER_PEER[4], VIP[4]) == {}


def test_no_chain_and_the_wrong_chain(gate: Gate, rules: OpeningRules) -> None:
    """A chain that is not there is told in words, and so is one that is about something else; nothing is made."""
    before = listed()
    assert rules.apply(ChainName("inet", "user", "inptu"), _of(4)) == "there is no chain inet user inptu"
    assert rules.apply(ChainName("ip6", "user", "input"), _of(6)) == "there is no chain ip6 user input"
    assert "hook input" in rules.apply(ChainName("inet", "user", "output"), _of(4))
    assert listed() == before
    assert gate.comes_in(PEER[4], VIP[4]) == {}


def test_found_wherever_they_are(gate: Gate, rules: OpeningRules) -> None:
    """Rules that an agent before us left are found in any chain, ours only, and taken away.

    Broken by: ``_found`` taking any comment of ours (what a person wrote goes, and our own tables are looked at).
    """
    assert rules.everywhere() == frozenset()
    rules.apply(INPUT, _of(4))
    again = OpeningRules()
    assert again.everywhere() == {INPUT}
    again.apply(INPUT, ())
    again.close()
    assert _comments() == ["swanherd: written by a person"]
    assert gate.comes_in(PEER[4], VIP[4]) == {}


def test_a_saved_ruleset_has_ours_once(gate: Gate, rules: OpeningRules) -> None:
    """A ruleset that was saved with our rules in it and loaded again is known as it is."""
    rules.apply(INPUT, _of(4))
    saved = listed()
    nft(f"flush ruleset\n{saved}")
    rules.apply(INPUT, _of(4))
    assert len(_comments()) == 3
    assert gate.comes_in(PEER[4], VIP[4]) == SECURE


def test_a_thousand_connections(gate: Gate, rules: OpeningRules) -> None:
    """They are two rules with a set each, and a comment that nft can read."""
    first = int(ip_address("198.18.0.0"))
    many = [pair(VIP[4], ip_network(first + n)) for n in range(2500)]
    rules.apply(INPUT, _openings(*many, pair(VIP[4], PEER[4]), names=tuple(f"connection-{n}" for n in range(1000))))
    assert gate.comes_in(PEER[4], VIP[4]) == SECURE
    assert all(len(comment) < 128 for comment in _comments())
    assert "more [" in _comments()[0]


async def test_back_after_the_user_has_loaded_his_ruleset(running: Running, gate: Gate) -> None:
    """Flushed and loaded anew, in one step or in two, the chain has our rules again within a second, and it is told.

    Broken by: ``Firewall._follow`` not calling ``on_generation``; ``OpeningLane.heard`` doing nothing.
    """
    told: list[dict[ChainName, str]] = []
    lane = OpeningLane(OpeningRules(), changed=lambda: told.append(dict(lane.troubles)))
    running.firewall._on_generation = lane.heard
    task = asyncio.create_task(lane.run())
    lane.follow({INPUT: _of(4)})
    assert gate.comes_in(PEER[4], VIP[4]) == SECURE
    for script in (f"flush ruleset\n{USERS}", "delete rule inet user input handle {handle}"):
        handle = re.search(r"IKE of.*handle (\d+)", listed("chain", "inet", "user", "input"))
        assert handle is not None
        nft(script.replace("{handle}", handle[1]))
        await running.until(lambda: len(_comments()) == 3, deadline_s=BACK_S)
        assert gate.comes_in(PEER[4], VIP[4]) == SECURE
    nft("flush ruleset")
    await running.until(lambda: told == [{INPUT: "there is no chain inet user input"}])
    nft(USERS)
    await running.until(lambda: not lane.troubles, deadline_s=BACK_S)
    assert gate.comes_in(PEER[4], VIP[4]) == SECURE
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_lane_takes_what_was_left(gate: Gate, rules: OpeningRules) -> None:
    """At the start rules of ours go that no connection asks for, in chains that no setting names any more.

    Broken by: ``OpeningLane._before`` not looking everywhere at first.
    """
    rules.apply(INPUT, _of(4))
    OpeningLane(OpeningRules(), changed=lambda: None).follow({})
    assert _comments() == ["swanherd: written by a person"]
    assert gate.comes_in(PEER[4], VIP[4]) == {}
