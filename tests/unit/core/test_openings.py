"""Which rules let IPsec in: pure functions from the settings and the addresses that may be used."""

from dataclasses import replace
from ipaddress import ip_address
from types import MappingProxyType

from swanherd.core import openings
from swanherd.core.facts import HeldAddress, Network, Opening, Pair
from swanherd.core.intent import ChainName, Child, Connection, Intent, Interface, IPAddress
from swanherd.core.leaks import ways
from swanherd.core.openings import AH, ESP, UDP
from swanherd.core.wire import pairs_from
from swanherd.core.words import Start

VIP, VIP6 = ip_address("203.0.113.10"), ip_address("2001:db8:1::10")
WAN = Interface("wan", "wan1", (VIP, VIP6))
CHAIN = ChainName("inet", "filter", "input")
CHILDREN = (Child("net", ("10.10.0.0/24",), ("10.20.0.0/24",)),)
BRANCH = Connection("branch", ("wan",), ("203.0.113.20",), CHILDREN, firewall_rule=CHAIN)
HERE = {"wan": frozenset[IPAddress]({VIP, VIP6})}


def _intent(*connections: Connection) -> Intent:
    named = {each.name: each for each in connections}
    return Intent(MappingProxyType({"wan": WAN}), MappingProxyType(named), (500, 4500))


def _rules(*connections: Connection) -> tuple[Opening, ...]:
    return openings.wanted(_intent(*connections), HERE)[CHAIN]


def _pairs(connection: Connection, source: IPAddress = VIP) -> frozenset[Pair]:
    return pairs_from(connection, [source])


def test_ike_and_esp_from_the_endpoint() -> None:
    """One rule for IKE on its ports, and one for ESP."""
    assert _rules(BRANCH) == (
        Opening(UDP, (500, 4500), _pairs(BRANCH), ("branch",)),
        Opening(ESP, (), _pairs(BRANCH), ("branch",)),
    )


def test_who_did_not_ask_gets_none() -> None:
    """A connection without a chain is in no rule, and asks for no chain."""
    assert openings.wanted(_intent(replace(BRANCH, firewall_rule=None)), HERE) == {}


def test_forced_encapsulation_needs_no_esp() -> None:
    """What travels in UDP needs no rule for ESP."""
    assert {rule.protocol for rule in _rules(replace(BRANCH, encap=True))} == {UDP}


def test_ah() -> None:
    """A child by AH needs a rule for AH, and none for ESP."""
    connection = replace(BRANCH, children=(replace(CHILDREN[0], ah_proposals=("sha256",)),))
    assert {rule.protocol for rule in _rules(connection)} == {UDP, AH}


def test_connections_of_a_kind_share_a_rule() -> None:
    """A thousand connections are a few rules: by protocol, family, and whether the peer can be anywhere."""
    other = replace(BRANCH, name="paris", remote=("203.0.113.21",))
    roaming = replace(BRANCH, name="van", remote=("0.0.0.0",))
    six = replace(BRANCH, name="six", remote=("2001:db8:1::20",), ip_version=6)
    rules = _rules(BRANCH, other, roaming, six)
    assert Opening(UDP, (500, 4500), _pairs(BRANCH) | _pairs(other), ("branch", "paris")) in rules
    assert Opening(UDP, (500, 4500), _pairs(roaming), ("van",)) in rules
    assert Opening(ESP, (), _pairs(six, VIP6), ("six",)) in rules
    assert len(rules) == 6


def test_a_standby_gateway_lets_nobody_in() -> None:
    """Without a usable source there is no rule, and the chain is named so that what is left in it goes.

    Broken by: ``wanted`` leaving out chains without rules.
    """
    assert openings.wanted(_intent(BRANCH), {}) == {CHAIN: ()}


def test_what_is_usable() -> None:
    """A VIP that is not here, is tentative, or is fenced is not usable.

    Broken by: ``usable`` not taking *fenced* off.
    """
    intent = _intent(BRANCH)

    def network(*, usable: bool) -> Network:
        return Network(MappingProxyType({VIP: (HeldAddress(VIP, 24, "wan1", usable=usable, since=0.0),)}))

    def found(network: Network, *fenced: IPAddress) -> frozenset[IPAddress]:
        return openings.usable(intent, ways(intent, network), network, frozenset(fenced))["wan"]

    assert found(network(usable=True)) == {VIP}
    assert found(network(usable=False)) == frozenset()
    assert found(network(usable=True), VIP) == frozenset()
    assert found(Network()) == frozenset()


def test_an_own_address_is_a_source_too() -> None:
    """An interface without a VIP has its device's own address."""
    own = ip_address("192.0.2.7")
    plain = Interface("wan", "wan1")
    intent = Intent(MappingProxyType({"wan": plain}), MappingProxyType({"branch": BRANCH}))
    network = Network(MappingProxyType({own: (HeldAddress(own, 24, "wan1", usable=True, since=0.0),)}))
    sources = openings.usable(intent, ways(intent, network), network, frozenset())
    assert openings.wanted(intent, sources)[CHAIN][0].pairs == _pairs(BRANCH, own)


def test_names_mean_what_dns_says() -> None:
    """A hostname opens for its addresses, a literal endpoint beside it too; who only waits is called from anywhere.

    Broken by: ``_pairs`` without *peers*.
    """
    named = replace(BRANCH, remote=("peer.example", "203.0.113.20"))
    peers = {"branch": frozenset[IPAddress]({ip_address("203.0.113.77")})}
    literal, resolved = _pairs(BRANCH), _pairs(replace(BRANCH, remote=("203.0.113.77",)))

    def ike(connection: Connection, peers: dict[str, frozenset[IPAddress]]) -> set[Pair]:
        rules = openings.wanted(_intent(connection), HERE, peers)[CHAIN]
        return {pair for rule in rules if rule.protocol == UDP for pair in rule.pairs}

    assert ike(named, peers) == literal | resolved
    assert ike(named, {"branch": frozenset()}) == literal
    assert ike(replace(named, start=Start.RESPOND), peers) == literal | _pairs(replace(BRANCH, remote=("0.0.0.0",)))
