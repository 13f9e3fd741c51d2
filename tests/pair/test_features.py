"""Every example of a feature, as it stands in docs/examples, on a pair: at the peer before and after a failover."""

from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.lab.asking import vici_session
from tests.lab.charon import VICI
from tests.lab.loaded import read_loaded
from tests.lab.pair import Gateway, Pair
from tests.lab.told import Told
from tests.lab.topology import address
from tests.lab.waiting import wait_until
from tests.pair.features import (
    CONNECTIONS,
    NEVER,
    VIP,
    VOICE,
    far,
    features_pair,
    passes,
    shown,
    spis,
    wait_for_all,
)

VOICE_PORT: Final = 20_000


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """A pair that runs all the examples."""
    with features_pair() as built:
        yield built


def child_of(pair: Pair, name: str) -> dict[str, Any]:
    """The peer's child of this name in the connection of two."""
    (sa,) = shown(pair)["head-office"]
    (child,) = [child for child in sa["child-sas"].values() if child["name"] == name.encode()]
    found: dict[str, Any] = child
    return found


def prove_office(pair: Pair) -> None:
    """One child has both of its networks, and algorithms of its own."""
    office = child_of(pair, "office")
    assert (office["encr-alg"], office["encr-keysize"]) == (b"AES_GCM_16", b"256")
    assert set(office["local-ts"]) == {f"{far(last)}/32".encode() for last in (26, 27)}


def prove_voice(pair: Pair) -> None:
    """The child for some ports has what it says, and carries that and nothing else."""
    before = child_of(pair, "voice")
    (theirs,), (ours,) = before["local-ts"], before["remote-ts"]
    assert before["encr-keysize"] == b"128"
    # With a list of protocols at hand charon shows their names.
    assert ours.replace(b"[17", b"[udp") == b"10.10.0.0/24[udp]"
    assert theirs.replace(b"[17", b"[udp") == f"{VOICE}/32[udp/16384-32767]".encode()
    code = f"import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(({address('client', 'lan')!r}, 0))"
    for port_ in (VOICE_PORT, 53):  # one that is carried, and one that is not
        code += f"; [s.sendto(b'x', ({VOICE!r}, {port_})) for _ in range(3)]"
    pair.lab.client.run("python3", "-c", code)
    passes(pair, VOICE)
    wait_until(
        lambda: int(child_of(pair, "voice")["packets-in"]) == int(before["packets-in"]) + 3, "three packets of voice"
    )


def prove(pair: Pair, master: Gateway, *, old: frozenset[str] = frozenset()) -> frozenset[str]:
    """Everything that the peer must show, and traffic by each, with *master* running it, none of it *old*; the SPIs."""
    sas = wait_for_all(pair, old=old)
    for each in CONNECTIONS:
        expected = {"remote-host": VIP, "local-id": each.local, "remote-id": each.remote, "version": "2", **each.shown}
        for sa in sas[each.name]:
            assert {key: sa.get(key) for key in expected} == expected, each.name
        for host in each.hosts:
            assert passes(pair, host), f"{each.name}: no traffic to {host}"
    prove_office(pair)
    prove_voice(pair)
    standby = pair.other(master)
    wait_until(lambda: read_loaded(master.host).traps == {"on-demand/rarely"}, "the trap is on the master")
    if standby.host.up:
        wait_until(lambda: not read_loaded(standby.host).traps, "no trap on the standby")
    assert NEVER.name not in sas
    Told(master.agent).wait_for(NEVER.name, role="active", reason="nat-found")
    return spis(sas)


@pytest.mark.timeout(300)
def test_every_example_moves(pair: Pair) -> None:
    """All are up at the peer with what they ask for, and carry traffic; after a failover all are, from the other one.

    No gateway is told twice: certificate, every kind of identity, IKEv1 with two children, algorithms, a trap (on the
    master only), forced encapsulation; and what must not run behind a NAT does not, on either. Broken by: ``_run``
    without ``Install`` (no trap on the new master); ``_release`` without ``Uninstall`` (a trap on the standby);
    ``nat_reason`` that finds none (nat-never is up).
    """
    before = prove(pair, pair.a)
    pair.a.keepalived.stop()
    pair.wait_for_master(pair.b)
    after = prove(pair, pair.b, old=before)
    pair.a.keepalived.start()
    pair.wait_for_master(pair.a)
    prove(pair, pair.a, old=after)
    # Loaded on both, from the start on, and never twice.
    with vici_session(pair.a.host.path(VICI)) as session:
        assert len(session.get_keys()["keys"]) == 1
