"""The digests of what could be loaded: from which sources, and how often they are worked out."""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address
from typing import Final

from swanherd.core.facts import HeldAddress, LoadedConfig, Network
from swanherd.core.intent import Connection, Intent, IPAddress
from swanherd.runtime.digests import Digests
from tests.unit.core.charon import expected
from tests.unit.core.settings import ALPHA, BETA, DELTA, INTERFACES, OWN, VIP_LTE, VIP_WAN

ANYWHERE: Final = replace(ALPHA, name="epsilon", interfaces=("any",))
LINK_LOCAL: Final = ip_address("169.254.1.1")
ELSEWHERE: Final = ip_address("192.0.2.77")
OWN_6: Final = ip_address("2001:db8::130")


def _network(held: Mapping[IPAddress, str]) -> Network:
    return Network({ip: (HeldAddress(ip, 24, device, True, 0.0),) for ip, device in held.items()})


HERE: Final = _network({VIP_WAN: "eth0", ELSEWHERE: "eth0", OWN: "eth2", LINK_LOCAL: "eth2", OWN_6: "eth2"})


def _digests(*connections: Connection) -> Digests:
    digests = Digests(expected)
    digests.adopt(Intent(INTERFACES, {connection.name: connection for connection in connections}))
    return digests


def test_the_sources_that_a_connection_can_have() -> None:
    """All VIPs of its interfaces, here or not; of one without, or of any, own addresses that are here.

    Broken by: ``_candidates`` without the VIPs, or with addresses of another family or device, with VIPs or link-local
    addresses among the own ones.
    """
    digests = _digests(ALPHA, BETA, DELTA, ANYWHERE)

    assert digests.of(ALPHA, None).keys() == {VIP_WAN}
    assert digests.of(BETA, HERE).keys() == {VIP_WAN, VIP_LTE}
    assert digests.of(DELTA, HERE).keys() == {OWN}
    assert digests.of(ANYWHERE, HERE).keys() == {OWN, ELSEWHERE}


def test_an_own_address_that_comes_later_is_added() -> None:
    """What could be loaded from the one before may be loaded still, so both stay.

    Broken by: ``Digests.of`` keeping to the addresses of its first look, or beginning anew at each.
    """
    digests = _digests(DELTA)
    later = ip_address("192.0.2.131")

    assert digests.of(DELTA, None).keys() == set()
    digests.of(DELTA, HERE)
    assert digests.of(DELTA, _network({later: "eth2"})) == {
        source: expected(DELTA, source).digest for source in (OWN, later)
    }


def test_a_digest_is_worked_out_once() -> None:
    """Until the settings change, or the endpoint that is called.

    Broken by: ``Digests.of`` that always asks, or that does not see another connection under the same name.
    """
    asked: list[tuple[Connection, IPAddress]] = []

    def noted(connection: Connection, source: IPAddress) -> LoadedConfig:
        asked.append((connection, source))
        return expected(connection, source)

    digests, another = Digests(noted), replace(ALPHA, remote=("203.0.113.99",))
    digests.adopt(Intent(INTERFACES, {ALPHA.name: ALPHA}))
    for connection in (ALPHA, ALPHA, another, another):
        assert digests.of(connection, HERE) == {VIP_WAN: expected(connection, VIP_WAN).digest}
    assert asked == [(ALPHA, VIP_WAN), (another, VIP_WAN)]

    digests.adopt(Intent(INTERFACES, {ALPHA.name: another}))
    digests.of(another, HERE)
    assert len(asked) == 3


def test_a_basis_is_that_of_the_settings() -> None:
    """Another one after the settings have changed.

    Broken by: ``Digests.adopt`` keeping what it knew.
    """
    digests, changed = _digests(ALPHA), replace(ALPHA, priority=9)
    before = digests.basis(ALPHA)
    assert digests.basis(replace(ALPHA)) == before

    digests.adopt(Intent(INTERFACES, {ALPHA.name: changed}))
    assert digests.basis(changed) != before
