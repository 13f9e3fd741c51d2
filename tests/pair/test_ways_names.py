"""A peer with a DynDNS name (``docs/examples/dyndns-peer.toml``): its records change, its server freezes and dies."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

import pytest

from tests.lab.names import NameServer
from tests.lab.observe import Observer
from tests.lab.pair import Pair
from tests.lab.told import Told
from tests.lab.topology import place, vip
from tests.lab.uplinks import FIRST, NAME, SECOND, peer_end, silent, uplink_pair, verdict, wait_for_endpoint

SERVER: Final = place("wan1", 22)
"""Where the name server is."""
HOST: Final = "branch.example.net"
FAST: Final = {"retransmit_timeout": "0.5", "retransmit_base": "1", "retransmit_tries": "3"}
"""Dead peer detection in two seconds instead of 165, at gw-a and the peer; what is measured is what follows from it."""
MORE: Final = f"[connections.{NAME}]\nattempt_s = 2.0\nmove_hold_s = 1.0\ndpd_delay_s = 1\n"
MOVED_S: Final = 8.0
"""The shortest time between two questions (5 s), and what the move itself takes."""


@dataclass(frozen=True, slots=True)
class Named:
    """A pair that calls its peer by name, and who answers for the name."""

    pair: Pair
    server: NameServer


@pytest.fixture(scope="module")
def named() -> Iterator[Named]:
    """Up on gw-a, to the first address; each test leaves it so, with a server that answers."""
    servers: list[NameServer] = []

    def prepare(pair: Pair) -> None:
        server = NameServer(pair.peer.host, SERVER)
        server.say(f"{FIRST} {HOST}")
        server.start()
        server.serve(gateway.host for gateway in pair.gateways)
        servers.append(server)

    with uplink_pair(
        "dyndns-peer.toml", more=MORE, charon=FAST, peer_addresses=(SECOND, SERVER), prepare=prepare
    ) as built:
        yield Named(built, servers[0])


@contextmanager
def at_first(named: Named) -> Iterator[Observer]:
    """An observer of a pair that is up to the first address; afterwards it is again."""
    with Observer(named.pair.lab) as seen:
        wait_for_endpoint(named.pair, seen, FIRST)
        yield seen
    named.server.say(f"{FIRST} {HOST}")
    with Observer(named.pair.lab) as seen:
        wait_for_endpoint(named.pair, seen, FIRST)


def test_a_name_that_moves_takes_the_tunnel_along(named: Named) -> None:
    """DynDNS says another address while the old one still answers: the tunnel moves within a TTL, made before broken.

    Broken by: ``moves.on_way`` looking at the source only (it never moves).
    """
    with at_first(named) as seen:
        seen.mark("moves")
        named.server.say(f"{SECOND} {HOST}")
        wait_for_endpoint(named.pair, seen, SECOND)
        assert verdict(seen, "a name has another address, the old one lives", since="moves").lost <= 4


def test_the_new_master_asks_for_itself(named: Named) -> None:
    """What the name means now is called by whoever takes over, and moves its tunnel as well; nothing is remembered.

    Broken by: ``Resolver._follow`` that asks once (neither gateway ever calls another address).
    """
    pair = named.pair
    with at_first(named) as seen:
        named.server.say(f"{SECOND} {HOST}")
        wait_for_endpoint(pair, seen, SECOND)
        pair.a.keepalived.stop()
        wait_for_endpoint(pair, seen, SECOND, by="gw-b")
        named.server.say(f"{FIRST} {HOST}")
        wait_for_endpoint(pair, seen, FIRST, by="gw-b")
        pair.a.keepalived.start()
        pair.wait_for_master(pair.a)


def test_the_old_address_is_dead_when_the_name_moves(named: Named) -> None:
    """The peer is gone from the old address, and DNS tells a moment later: it is called at the new one.

    Broken by: ``Resolver._follow`` that asks once and never again.
    """
    with at_first(named) as seen, silent(named.pair, FIRST):
        seen.mark("moves")
        named.server.say(f"{SECOND} {HOST}")
        wait_for_endpoint(named.pair, seen, SECOND)
        verdict(seen, "a name has another address, the old one is dead", since="moves")


def test_several_records_rotate(named: Named) -> None:
    """Two records, and one of them dead: the other one is called after a bounded attempt.

    Broken by: ``aims.resolved`` taking one address of a name.
    """
    with at_first(named) as seen:
        named.server.say(f"{FIRST} {HOST}", f"{SECOND} {HOST}")
        with silent(named.pair, FIRST):
            wait_for_endpoint(named.pair, seen, SECOND)


@pytest.mark.parametrize("how", ["dead", "frozen"])
def test_without_dns_the_last_answer_counts(named: Named, how: str) -> None:
    """The server is dead or frozen when the pair fails over, and the new master's agent starts anew: up all the same.

    Nothing waits for DNS: neither the takeover, nor the fence on the other gateway. Broken by: ``Resolver`` without its
    file.
    """
    pair = named.pair
    with at_first(named) as seen:
        (named.server.kill if how == "dead" else named.server.freeze)()
        pair.b.agent.kill()
        pair.b.agent.start()
        seen.mark("fault")
        pair.a.keepalived.ask_to_stop()
        wait_for_endpoint(pair, seen, FIRST, by="gw-b")
        fault = verdict(seen, f"failover, the DNS server {how}, the new master's agent just started", since="fault")
        assert fault.double_running_ms == 0
        pair.a.keepalived.wait_ended()
        pair.a.keepalived.start()
        pair.wait_for_master(pair.a)
        if how == "dead":
            named.server.start()
        else:
            named.server.thaw()


def test_without_dns_and_without_an_answer_it_says_so(named: Named) -> None:
    """An agent that starts with nothing to go by waits, and tells for which name; it is up when somebody answers.

    Broken by: ``acquire._children`` calling 0.0.0.0.
    """
    pair = named.pair
    with at_first(named) as seen:
        named.server.kill()
        pair.a.agent.kill()
        pair.a.host.run("rm", "/var/lib/swanherd/names.json")
        pair.a.host.run("swanctl", "--terminate", "--ike", NAME, "--force")
        pair.a.agent.start()
        told = Told(pair.a.agent)
        told.wait_for(NAME, role="active", reason="unresolved", within_s=20)
        assert told.connection(NAME)["detail"] == f"no address is known for {HOST}"
        named.server.start()
        wait_for_endpoint(pair, seen, FIRST)


def test_a_peer_that_moved_may_call_before_dns_tells(named: Named) -> None:
    """The peer calls from an address that no record has: it is let in by its identity, and the tunnel is up.

    Broken by: ``aims.aimed`` without anywhere behind the addresses.
    """
    pair = named.pair
    with at_first(named) as seen:
        with silent(pair, FIRST):
            seen.wait_for(
                lambda: not seen.sas("gw-a")["gw-a"].up, "dead peer detection has removed the SA", within_s=20
            )
            seen.mark("calls")
            pair.peer.load(replace(peer_end(), local_addrs=SECOND, remote_addrs=vip("wan1")))
            pair.peer.host.run("swanctl", "--initiate", "--child", "lan", "--timeout", "10")
            seen.wait_through(by="gw-a", after="calls")
            assert {sa.remote for sa in seen.sas("gw-a")["gw-a"].up} == {SECOND}
            pair.peer.load(peer_end())
        pair.peer.host.run("swanctl", "--terminate", "--ike", "gw", "--force")


FIRST_6, SECOND_6 = place("wan1", 20, 6), place("wan1", 21, 6)


def test_a_name_with_aaaa_records_moves_alike() -> None:
    """IPv6 outside, to a name that has an A record too: its AAAA record is called, and moves the tunnel along.

    The old address lives, then one is dead when the record changes. Broken by: ``Resolver`` asking for A whatever the
    family (``unresolved``).
    """
    servers: list[NameServer] = []

    def prepare(pair: Pair) -> None:
        server = NameServer(pair.peer.host, SERVER)
        server.say(f"{FIRST} {HOST}", f"{FIRST_6} {HOST}")
        server.start()
        server.serve(gateway.host for gateway in pair.gateways)
        servers.append(server)

    with (
        uplink_pair(
            "dyndns-peer.toml",
            more=f"{MORE}ip_version = 6\n",
            charon=FAST,
            peer_addresses=(SECOND_6, SERVER),
            changes={vip("wan1"): vip("wan1", 6)},
            prepare=prepare,
        ) as pair,
        Observer(pair.lab) as seen,
    ):
        wait_for_endpoint(pair, seen, FIRST_6)
        seen.mark("moves")
        servers[0].say(f"{SECOND} {HOST}", f"{SECOND_6} {HOST}")
        wait_for_endpoint(pair, seen, SECOND_6)
        assert verdict(seen, "IPv6: a name has another address, the old one lives", since="moves").lost <= 4
        with silent(pair, SECOND_6):
            seen.mark("dead")
            servers[0].say(f"{FIRST_6} {HOST}")
            wait_for_endpoint(pair, seen, FIRST_6)
            verdict(seen, "IPv6: a name has another address, the old one is dead", since="dead")
