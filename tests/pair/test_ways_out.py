"""Two uplinks: the tunnel leaves by the one that the default route takes, and moves when that changes.

The pair runs by ``docs/examples/two-uplinks.toml``, and by ``policy-routing.toml`` where rules choose. What the peer
gets on its two wires is the judge.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from tests.lab.charon import Charon
from tests.lab.observe import Observer
from tests.lab.observe.packets import IKE_SA_INIT, INFORMATIONAL, Ike
from tests.lab.pair import Pair
from tests.lab.told import Told
from tests.lab.topology import place, vip
from tests.lab.uplinks import FAR_PEER, NAME, drop_default, peer_end, set_default, uplink_pair, verdict

HOLD_S: Final = 3.0
"""``move_hold_s`` of these tests: long against a move, short against a test."""
FAR: Final = FAR_PEER[4]
BY: Final = {"wan1": vip("wan1"), "wan2": vip("wan2")}
MADE_FIRST: Final = 3
"""Packets that a move between two live ways may lose, of 100 a second: what is under way when the old SA goes."""


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """Up on gw-a by wan1; each test leaves it so."""
    with uplink_pair("two-uplinks.toml", more=f"[connections.{NAME}]\nmove_hold_s = {HOLD_S}\n") as built:
        yield built


def sources(seen: Observer, since: str | float) -> set[str]:
    """The addresses from which IPsec for the peer came out of a gateway's uplinks."""
    packets = seen.packets(leaving=True, since=since)
    return {
        packet.source for packet in packets if packet.is_ipsec and packet.destination == FAR and packet.port[1] == "-"
    }


def on_wire(seen: Observer, net: str, since: str | float) -> set[str]:
    """The sources of the IPsec that the peer got on *net*."""
    packets = seen.packets(port=f"p-{net}", leaving=False, since=since)
    return {packet.source for packet in packets if packet.is_ipsec and packet.destination == FAR}


def made_before_broken(seen: Observer, old: str, new: str, since: str) -> bool:
    """Whether the peer's last answer in the new SA's IKE_AUTH came before the old SA was said to be deleted."""
    packets = [packet for packet in seen.packets(content=Ike, since=since) if packet.port == f"a-{new}"]
    answers = [
        packet.at
        for packet in packets
        if isinstance(packet.content, Ike) and packet.content.begins_tunnel and packet.content.response
    ]
    deletes = [
        packet.at
        for packet in seen.packets(leaving=True, content=Ike, since=since)
        if isinstance(packet.content, Ike) and packet.content.exchange == INFORMATIONAL and packet.source == BY[old]
    ]
    return bool(answers and deletes) and max(answers) < min(deletes)


def inits(seen: Observer, since: str | float) -> int:
    """How many handshakes were begun."""
    return len(
        {
            packet.content.initiator_spi
            for packet in seen.packets(leaving=True, content=Ike, since=since)
            if isinstance(packet.content, Ike)
            and packet.content.exchange == IKE_SA_INIT
            and not packet.content.response
            and packet.destination == FAR
        }
    )


def wait_for_source(pair: Pair, seen: Observer, net: str, *, by: str = "gw-a") -> None:
    """Wait until the tunnel runs from the VIP of *net*, and from nothing else, as gateway and peer have it."""
    told = Told((pair.a if by == "gw-a" else pair.b).agent)
    told.wait_for(NAME, reason="up", source=BY[net], within_s=20)

    def alone() -> bool:
        readings = seen.sas(by, "peer")
        ours = {sa.local for sa in readings[by].up}
        return ours == {sa.remote for sa in readings["peer"].up} == {BY[net]}

    seen.wait_for(alone, f"the peer has SAs with {BY[net]} only", within_s=20)
    at = seen.mark(f"alone on {net}")
    seen.wait_through(by=by, after=at)


@contextmanager
def at_rest(pair: Pair) -> Iterator[Observer]:
    """An observer of a pair that is up by wan1; afterwards it is again."""
    with Observer(pair.lab) as seen:
        wait_for_source(pair, seen, "wan1")
        yield seen
    with Observer(pair.lab) as seen:
        wait_for_source(pair, seen, "wan1")


def test_it_moves_with_the_metric(pair: Pair) -> None:
    """A better default route by the other uplink: the new SA is made before the old one is taken away, and back.

    The peer sees the chosen source on its wire, and after the move that one only; ``swanherd explain`` tells the same.
    Broken by: ``sas.unwanted`` without
    ``goes_on`` (the deletion comes first); ``moves.settle`` keeping the source (it never moves).
    """
    with at_rest(pair) as seen:
        assert on_wire(seen, "wan1", "start") == {BY["wan1"]}
        seen.mark("better")
        set_default(pair.a.host, "wan2", metric=50)
        wait_for_source(pair, seen, "wan2")
        moved = seen.mark("moved")
        seen.wait_through(by="gw-a", after=moved)
        assert sources(seen, "moved") == on_wire(seen, "wan2", "moved") == {BY["wan2"]}
        better = verdict(seen, "a better default route by the other uplink", since="better")
        assert made_before_broken(seen, "wan1", "wan2", "better")
        assert better.lost <= MADE_FIRST
        assert inits(seen, "better") == 1
        told = pair.a.host.run("python3", "-m", "swanherd", "explain", NAME).stdout.splitlines()
        assert told[0] == f"{NAME}: active (up), {BY['wan2']} -> {FAR}"
        assert {line for line in told if line.startswith("  * ")} == {
            "  * wan2 metric 50", f"  * radio {BY['wan2']}", f"  * {FAR}",
        }  # fmt: skip

        seen.mark("back")
        drop_default(pair.a.host, "wan2", metric=50)
        wait_for_source(pair, seen, "wan1")
        assert verdict(seen, "and back", since="back").lost <= MADE_FIRST


def test_a_route_that_is_withdrawn_moves_it_at_once(pair: Pair) -> None:
    """The default route by the uplink in use goes: the tunnel moves at once; it comes back: the tunnel returns.

    Broken by: ``Table.apply`` passing over route messages (nothing until the slow check, a minute later).
    """
    with at_rest(pair) as seen:
        gone = seen.mark("gone")
        drop_default(pair.a.host, "wan1", metric=100)
        wait_for_source(pair, seen, "wan2")
        first = next(packet for packet in seen.packets(port="p-wan2", since=gone) if packet.source == BY["wan2"])
        assert first.at - gone < 1
        assert verdict(seen, "the default route in use is withdrawn", since="gone").outage_ms < 1500
        set_default(pair.a.host, "wan1", metric=100)


def test_flapping_moves_it_once(pair: Pair) -> None:
    """The default route comes and goes ten times within ``move_hold_s``: one move, and one back when it is over.

    Broken by: ``moves.settle`` returning the choice as it is.
    """
    with at_rest(pair) as seen:
        seen.mark("flaps")
        for _ in range(10):
            for change in (drop_default, set_default):
                at = seen.mark("flap")
                change(pair.a.host, "wan1", metric=100)
                seen.wait_through(by="gw-a", after=at)
        wait_for_source(pair, seen, "wan1")
        assert inits(seen, "flaps") <= 4
        verdict(seen, "the default route in use goes and comes ten times", since="flaps")


def test_without_a_default_route_it_says_which_one_it_looked_for(pair: Pair) -> None:
    """No default route at all: standby, nothing runs, and the reason tells; with one, it is up again.

    Broken by: ``source._by_default_route`` taking the first interface where there is no route.
    """
    with at_rest(pair) as seen:
        drop_default(pair.a.host, "wan1", metric=100)
        drop_default(pair.a.host, "wan2", metric=200)
        told = Told(pair.a.agent)
        told.wait_for(NAME, role="standby", reason="no-default-route")
        assert told.connection(NAME)["detail"] == "there is no live IPv4 default route"
        seen.wait_for(lambda: not seen.sas("gw-a")["gw-a"].up, "nothing is left")
        set_default(pair.a.host, "wan2", metric=200)
        wait_for_source(pair, seen, "wan2")
        set_default(pair.a.host, "wan1", metric=100)


def test_the_pair_and_the_uplink_fail_at_the_same_moment(pair: Pair) -> None:
    """The master loses its power while the other gateway's better uplink is gone: it takes over by the other one.

    Broken by: ``choose`` taking the first interface that is held.
    """
    with at_rest(pair) as seen:
        seen.mark("fault")
        pair.a.power_off()
        drop_default(pair.b.host, "wan1", metric=100)
        wait_for_source(pair, seen, "wan2", by="gw-b")
        verdict(seen, "the master loses power, the other gateway its better uplink", since="fault")
        last = max(packet.at for packet in seen.packets(leaving=True) if packet.is_ipsec and packet.port[:2] == "a-")
        begun = [
            packet.at
            for packet in seen.packets(leaving=True, content=Ike, since="fault")
            if packet.port[:2] == "b-" and isinstance(packet.content, Ike) and packet.content.begins_tunnel
        ]
        assert last < min(begun)
        set_default(pair.b.host, "wan1", metric=100)
        pair.a.power_on()
        pair.wait_for_master(pair.a)


TO_PEER: Final = ("rule", "{}", "to", FAR, "lookup", "100", "priority", "1000")
"""The rule that sends what is for the peer by table 100, as `ip` takes it."""


def rule(pair: Pair, action: str) -> None:
    """Add or delete the rule on both gateways."""
    for gateway in pair.gateways:
        gateway.host.run("ip", *(word.format(action) for word in TO_PEER))


def by_table(pair: Pair) -> None:
    """Table 100 leads by wan2, and a rule sends what is for the peer there."""
    for gateway in pair.gateways:
        gateway.host.run("ip", "route", "add", "default", "via", place("wan2", 1), "dev", "wan2", "table", "100")
    rule(pair, "add")


def test_a_rule_for_the_peer_decides() -> None:
    """A rule sends the peer's packets out by the second uplink, and the default route is on the first: by the second.

    The peer sees only that source, on that wire; when the rule goes, the tunnel moves, and nothing comes by the second
    any more. Where the kernel prohibits the route, it stands by and says which route it looked at.
    Broken by: ``Endpoints.path`` answering Absent (it starts by wan1); no task for ``PathSource.run`` (it never
    moves).
    """
    more = f"[connections.{NAME}]\nmove_hold_s = 1.0\n"
    with uplink_pair("policy-routing.toml", more=more, prepare=by_table) as pair:
        with Observer(pair.lab) as seen:
            wait_for_source(pair, seen, "wan2")
            explained = pair.a.host.run("python3", "-m", "swanherd", "explain", NAME).stdout
            assert f"  * to {FAR} by wan2 table 100\n" in explained
            seen.wait_through(by="gw-a", after=seen.mark("seen"))
            assert sources(seen, "start") == on_wire(seen, "wan2", "start") == {BY["wan2"]}
            assert on_wire(seen, "wan1", "start") == set()
            seen.mark("goes")
            rule(pair, "del")
            wait_for_source(pair, seen, "wan1")
            seen.wait_through(by="gw-a", after=seen.mark("moved"))
            assert on_wire(seen, "wan1", "moved") == {BY["wan1"]}
            assert on_wire(seen, "wan2", "moved") == set()
            assert verdict(seen, "the rule for the peer goes (`source_by`)", since="goes").lost <= MADE_FIRST
            seen.mark("comes")
            rule(pair, "add")
            wait_for_source(pair, seen, "wan2")
            assert verdict(seen, "and comes", since="comes").lost <= MADE_FIRST
        pair.a.host.run("ip", "rule", "add", "to", FAR, "prohibit", "priority", "900")
        told = Told(pair.a.agent)
        told.wait_for(NAME, role="standby", reason="no-route")
        assert told.connection(NAME)["detail"] == f"there is no route to {FAR}"


INIT_CONTACT: Final = "N(INIT_CONTACT)"
"""What charon's log shows of a first contact."""
REPLACED: Final = "due to uniqueness policy"
"""What it says when it takes an older SA of the same identities away by itself."""


def said(charon: Charon, since: int) -> str:
    """What *charon* has written behind the first *since* characters of its log."""
    return charon.journal()[since:]


@pytest.mark.parametrize("unique", ["no", "replace"])
def test_a_move_is_no_first_contact(unique: str, pair: Pair) -> None:
    """Both ways live: the new handshake says nothing of a first contact; the peer keeps the old SA until it is told.

    A peer that lets each identity have one SA (``unique = replace``) takes the old one away by itself, when the new one
    has proved who it is and before its child is there; in a lab without distances that costs no packet either. When the
    old way is dead, the new handshake is a first contact, so that nothing is left at the peer.
    Broken by: ``sas.unwanted`` without ``goes_on`` (charon knows no other SA, so it says INITIAL_CONTACT).
    """
    gateway, peer = pair.a.charon, pair.peer.charon
    with at_rest(pair) as seen:
        pair.peer.load(peer_end(options={"dpd_delay": "1s", "unique": unique}))
        # charon calls an SA a duplicate only where both were made under the same settings.
        pair.a.host.run("swanctl", "--terminate", "--ike", NAME, "--force")
        wait_for_source(pair, seen, "wan1")
        logs = len(gateway.journal()), len(peer.journal())
        seen.mark("better")
        set_default(pair.a.host, "wan2", metric=50)
        wait_for_source(pair, seen, "wan2")
        assert verdict(seen, f"a better default route, the peer's unique = {unique}", since="better").lost <= MADE_FIRST
        assert "generating IKE_AUTH request" in said(gateway, logs[0])
        assert INIT_CONTACT not in said(gateway, logs[0])
        assert (REPLACED in said(peer, logs[1])) == (unique == "replace")
        assert unique == "replace" or made_before_broken(seen, "wan1", "wan2", "better")

        written = len(gateway.journal())
        for metric in (200, 50):
            drop_default(pair.a.host, "wan2", metric=metric)
        wait_for_source(pair, seen, "wan1")
        assert INIT_CONTACT in said(gateway, written)
        set_default(pair.a.host, "wan2", metric=200)
        pair.peer.load(peer_end())
