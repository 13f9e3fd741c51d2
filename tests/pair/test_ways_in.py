"""A peer with several addresses, and one with a name: where to it is called, and when that changes.

The pairs run by ``docs/examples/two-endpoints.toml``. Addresses of the peer die by its
firewall (silence), or refuse because its configuration leaves them out.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from tests.lab.observe import Observer
from tests.lab.pair import Pair
from tests.lab.topology import place, vip
from tests.lab.uplinks import FIRST, NAME, SECOND, peer_end, silent, uplink_pair, verdict, wait_for_endpoint

FAST: Final = {"retransmit_timeout": "0.5", "retransmit_base": "1", "retransmit_tries": "3"}
"""Dead peer detection in two seconds instead of 165, at gw-a and the peer; what is measured is what follows from it."""
MORE: Final = f"[connections.{NAME}]\nattempt_s = 2.0\nmove_hold_s = 1.0\ndpd_delay_s = 1\n"
BOUND_S: Final = 10.0
"""From the first call of a dead endpoint to that of the next one: ``attempt_s`` (2 s), and a machine that is busy."""
NEAR: Final = 4
"""Packets that a move between two live endpoints may lose, of 100 a second."""


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """Up on gw-a, to the first endpoint; each test leaves it so."""
    with uplink_pair("two-endpoints.toml", more=MORE, charon=FAST, peer_addresses=(SECOND,)) as built:
        yield built


@contextmanager
def at_first(pair: Pair, first: str = FIRST) -> Iterator[Observer]:
    """An observer of a pair that is up to the first endpoint; afterwards it is again, by itself."""
    with Observer(pair.lab) as seen:
        wait_for_endpoint(pair, seen, first)
        yield seen
    with Observer(pair.lab) as seen:
        wait_for_endpoint(pair, seen, first)


def test_dead_later_and_back_again(pair: Pair) -> None:
    """The endpoint in use falls silent: dead peer detection, then the next one; when it lives again: back.

    A probe tells that it lives, and the new SA is made first. Broken by: a ``Prober`` that never hears (it never
    returns).
    """
    with at_first(pair) as seen:
        with silent(pair, FIRST):
            seen.mark("dead")
            wait_for_endpoint(pair, seen, SECOND)
            verdict(seen, "the endpoint in use dies (dead peer detection after 2 s)", since="dead")
        seen.mark("lives")
        wait_for_endpoint(pair, seen, FIRST)
        assert verdict(seen, "the first endpoint lives again (`prefer_first`)", since="lives").lost <= NEAR


def test_dead_at_start(pair: Pair) -> None:
    """A takeover while the first endpoint is dead: it has its bounded attempt, then the second one is called.

    Broken by: ``aims.out_of_time`` answering None (the first one is called for 15 s).
    """
    with at_first(pair) as seen:
        with silent(pair, FIRST):
            seen.mark("fault")
            pair.a.keepalived.ask_to_stop()
            wait_for_endpoint(pair, seen, SECOND, by="gw-b")
            fault = verdict(seen, "failover while the first endpoint is dead (`attempt_s = 2`)", since="fault")
            assert fault.double_running_ms == 0
            called = {
                address: min(
                    packet.at
                    for packet in seen.packets(port="b-wan1", leaving=True, since="fault")
                    if packet.is_ipsec and packet.destination == address
                )
                for address in (FIRST, SECOND)
            }
            assert called[SECOND] - called[FIRST] < BOUND_S
        pair.a.keepalived.wait_ended()
        pair.a.keepalived.start()
        pair.wait_for_master(pair.a)


def test_refusing(pair: Pair) -> None:
    """The first endpoint answers and refuses: the second one is called at once, without a pause.

    Broken by: ``acquire._aiming`` that goes on only after silence.
    """
    with at_first(pair) as seen:
        seen.mark("refuses")
        pair.peer.load(peer_end(local_addrs=SECOND))
        pair.peer.host.run("swanctl", "--terminate", "--ike", "gw", "--force", check=False)
        wait_for_endpoint(pair, seen, SECOND)
        assert verdict(seen, "the endpoint in use refuses", since="refuses").outage_ms < 3000
        pair.peer.load(peer_end())


FIRST_6, SECOND_6 = place("wan1", 20, 6), place("wan1", 21, 6)
SIX: Final = {vip("wan1"): vip("wan1", 6), FIRST: FIRST_6, SECOND: SECOND_6}
"""The addresses of ``two-endpoints.toml``, as IPv6."""


def test_ipv6_endpoints_alike() -> None:
    """IPv6 outside: the endpoint in use dies, the next one is called; it lives again, and the tunnel returns.

    Broken by: a ``Prober`` that speaks IPv4 only (it never returns).
    """
    with (
        uplink_pair("two-endpoints.toml", more=MORE, charon=FAST, peer_addresses=(SECOND_6,), changes=SIX) as pair,
        at_first(pair, FIRST_6) as seen,
    ):
        with silent(pair, FIRST_6):
            seen.mark("dead")
            wait_for_endpoint(pair, seen, SECOND_6)
            verdict(seen, "IPv6: the endpoint in use dies (dead peer detection after 2 s)", since="dead")
        seen.mark("lives")
        wait_for_endpoint(pair, seen, FIRST_6)
        assert verdict(seen, "IPv6: the first endpoint lives again", since="lives").lost <= NEAR
