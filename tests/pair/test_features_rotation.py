"""Certificates that change by a reload while their connection is up, and a failover after it."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from swanherd.settings.certificates import key_id
from tests.lab.asking import vici_session
from tests.lab.charon import VICI
from tests.lab.pair import Gateway, Pair
from tests.lab.pki import Holder, example, issue
from tests.lab.told import Told
from tests.lab.topology import address, subnet
from tests.lab.waiting import wait_until
from tests.pair.features import ESP, ETC, UP_S, fail_over, far, features_pair, passes, shown, spis, wait_for_all


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """A pair that runs all the examples."""
    with features_pair() as built:
        yield built


@pytest.mark.timeout(180)
def test_rotation_of_certificates(pair: Pair) -> None:
    """Key, certificate and CA change by a reload on both gateways: the SA stays, until a failover needs a new one.

    The new master, whose charon still has the old CA, lets no peer of it in, and comes up as soon as the peer has a
    certificate of the new one.
    Broken by: ``_remote`` without ``cacerts`` (the old certificate is enough); ``IKE_AGREED`` with the certificates.
    """
    name = "certificate"
    wait_for_all(pair)
    fail_over(pair, pair.b)  # so that its charon is given the old CA, and keeps it
    fail_over(pair, pair.a)
    before = spis(wait_for_all(pair))
    old_root, _, old_sun = example()
    root = issue("new root", is_ca=True)
    moon, sun = issue("moon", root, names=["moon.example"]), issue("sun", root, names=["sun.example"])
    trusting = {"auth": "pubkey", "cacerts": [old_root.der, root.der], "id": "moon.example"}
    for gateway in pair.gateways:
        gateway.agent.files |= {
            f"{ETC}/certs/moon.pem": moon.pem,
            f"{ETC}/certs/ca.pem": root.pem,
            f"{ETC}/secrets/moon.key": moon.key_pem(passphrase=b"open sesame"),
        }
        gateway.agent.install()
        gateway.agent.reload()
    for gateway in pair.gateways:
        wait_until(lambda gateway=gateway: keys_of(gateway) == {key_id(moon.certificate)}, "the old key is gone")  # type: ignore[misc]
    assert spis(wait_for_all(pair)) == before

    with vici_session(pair.lab.peer.path(VICI)) as session:
        _certified_peer(session, old_sun, trusting)
    pair.a.keepalived.stop()
    pair.wait_for_master(pair.b)
    Told(pair.b.agent).wait_for(name, role="active", reason="auth-failed", within_s=UP_S)
    wait_until(lambda: name not in shown(pair), "the peer has none", every_s=0.05)
    with vici_session(pair.lab.peer.path(VICI)) as session:
        session.load_key({"type": "any", "data": sun.key_der})
        _certified_peer(session, sun, trusting)
    wait_for_all(pair, old=before)
    assert passes(pair, far(1))
    old = spis(shown(pair))
    pair.a.keepalived.start()
    pair.wait_for_master(pair.a)
    wait_for_all(pair, old=old)


def keys_of(gateway: Gateway) -> set[str]:
    """The ids of the private keys that a gateway's charon has."""
    with vici_session(gateway.host.path(VICI)) as session:
        return {key.decode() for key in session.get_keys()["keys"]}


def _certified_peer(session: Any, sun: Holder, trusting: Mapping[str, Any]) -> None:
    """The peer's end of the certificate's connection, with this certificate of its own."""
    children = {"net": {"local_ts": [f"{far(1)}/32"], "remote_ts": [subnet("lan")], "esp_proposals": ESP}}
    ends = {"local": {"auth": "pubkey", "certs": [sun.der], "id": "sun.example"}, "remote": trusting}
    conf = {"local_addrs": [address("peer", "wan1")], "children": children}
    session.load_conn({"certificate": {**conf, **ends}})
