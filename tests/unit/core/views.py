"""Views of one connection, a word at a time: what a row of a table says, and quiet defaults for the rest."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address
from typing import Final

from swanherd.core.facts import (
    CharonConnection,
    CharonIdentity,
    ChildSa,
    DefaultRoute,
    HeldAddress,
    IkeSa,
    Known,
    Link,
    Network,
    Wire,
)
from swanherd.core.intent import Connection, IPAddress
from swanherd.core.record import Entry
from swanherd.core.view import View
from swanherd.core.wire import pairs_from
from tests.unit.core.charon import expected
from tests.unit.core.settings import ALPHA, INTERFACES, VIP_WAN

NOW: Final = 1000.0
CHARON: Final = CharonIdentity(7, 70)
VERSION: Final = "s1"
"""Of the secret."""
REMOTE: Final = ip_address("203.0.113.20")


def network(
    *held: tuple[str, str],
    tentative: Iterable[tuple[str, str]] = (),
    down: Iterable[str] = (),
    defaults: Iterable[tuple[str, int]] = (("eth0", 10),),
    links: Iterable[Link] = (),
    family: int = 4,
) -> Network:
    """Addresses as (address, device); the devices eth0, eth1, eth2 and *links*; default routes as (device, metric)."""
    addresses: dict[IPAddress, tuple[HeldAddress, ...]] = {}
    for pairs, usable in ((held, True), (tuple(tentative), False)):
        for text, device in pairs:
            ip = ip_address(text)
            entry = HeldAddress(ip, 24, device, usable, since=1.0)
            addresses[ip] = (*addresses.get(ip, ()), entry)
    known = {name: Link(name, index, name not in set(down)) for index, name in enumerate(("eth0", "eth1", "eth2"))}
    known |= {link.name: link for link in links}
    routes = tuple(DefaultRoute(family, device, metric, device not in set(down)) for device, metric in defaults)
    return Network(addresses, known, routes)


MASTER: Final = network((str(VIP_WAN), "eth0"))
BACKUP: Final = network()


def digest(connection: Connection = ALPHA, source: IPAddress = VIP_WAN) -> str:
    """Of what *connection* is loaded as."""
    return expected(connection, source).digest


def entry(connection: Connection = ALPHA, source: IPAddress = VIP_WAN) -> Entry:
    """What the record has of *connection*."""
    return Entry(frozenset({digest(connection, source)}), connection.shared_id, pairs_from(connection, [source]))


def sa(
    *children: str,
    state: str = "ESTABLISHED",
    unique_id: int = 1,
    local: IPAddress = VIP_WAN,
    since: float | None = 900.0,
) -> IkeSa:
    """An IKE_SA of ALPHA with *children* installed."""
    inside = tuple(ChildSa(name, unique_id * 10 + index, "INSTALLED") for index, name in enumerate(children))
    return IkeSa("alpha", unique_id, state, local, REMOTE, initiator=True, since=since, children=inside)


LOADED: Final = CharonConnection(config=expected(ALPHA, VIP_WAN), secret=VERSION)
RUNNING: Final = replace(LOADED, sas=(sa("alpha-1", "alpha-2"),))
NOTHING: Final = CharonConnection(secret=VERSION)


def view(**words: object) -> View:
    """ALPHA on a gateway that holds nothing, with everything known and the record written; *words* say otherwise."""
    quiet = View(
        name="alpha",
        connection=ALPHA,
        interfaces=INTERFACES,
        network=Known(BACKUP, 1.0),
        charon=Known(CHARON, 1.0),
        wire=Known(Wire(guarded=frozenset({VIP_WAN})), 1.0),
        here=NOTHING,
        entry=entry(),
        recorded_in=CHARON,
        digests={VIP_WAN: digest()},
        secret_version=VERSION,
    )
    # Each row gives the fields the types that they have; a wrong name fails at once.
    return replace(quiet, **words)  # type: ignore[arg-type]
