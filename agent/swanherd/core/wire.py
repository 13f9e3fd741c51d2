"""What the firewall table should hold, and whether a connection without the right is fenced.

Where the right goes with the address, the guard is the wire step: nothing has to be changed in the table. Where the
right is lost while the address stays, the address (or, for a single connection, its pairs) must be in the table.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

from swanherd.core.evidence import Situation
from swanherd.core.facts import Flow, HeldAddress, Known, Network, Pair, Wire, relied_on
from swanherd.core.intent import Connection, Intent, Interface, IPAddress, IPNetwork
from swanherd.core.literal import literal
from swanherd.core.record import Entry
from swanherd.core.source import ALONE, holding
from swanherd.core.view import View
from swanherd.core.words import Fence, Reason

ANYWHERE: Final[Mapping[int, IPNetwork]] = {4: IPv4Network("0.0.0.0/0"), 6: IPv6Network("::/0")}
"""The remote of a peer that can be anywhere, and of a hostname, whose addresses change without asking us."""

CONNECTIONS: Final = 16384
"""Lists of endpoints whose networks are remembered: more than the connections that a gateway has."""


def remotes(connection: Connection) -> frozenset[IPNetwork]:
    """Every network that a peer of *connection* can be in, of its IP family; by MOBIKE it can go anywhere."""
    if connection.mobike:
        return frozenset({ANYWHERE[connection.ip_version]})
    return _networks(connection.remote, connection.ip_version)


@lru_cache(maxsize=CONNECTIONS)
def _networks(endpoints: tuple[str, ...], family: int) -> frozenset[IPNetwork]:
    # Asked for each connection in each pass; to parse the same text again was two fifths of a decision.
    found: set[IPNetwork] = set()
    for endpoint in endpoints:
        address = literal(endpoint)
        if address is None:
            found.add(ANYWHERE[family])  # a hostname
        elif address.version == family:
            found.add(ANYWHERE[address.version] if address.is_unspecified else ip_network(address))
    return frozenset(found)


def may_roam(connection: Connection, interfaces: Mapping[str, Interface]) -> bool:
    """Whether charon could take *connection* from a VIP that leaves to another address of this gateway."""
    return connection.mobike and any(interfaces[name].vips for name in connection.interfaces if name in interfaces)


def pairs_from(connection: Connection, sources: Iterable[IPAddress]) -> frozenset[Pair]:
    """Between which addresses *connection* can run from *sources*."""
    return frozenset(Pair(source, remote) for source in sources for remote in remotes(connection))


def pairs(connection: Connection, interfaces: Mapping[str, Interface]) -> frozenset[Pair]:
    """Between which addresses *connection* can run from its declared VIPs."""
    sources = {
        vip
        for name in connection.interfaces
        if name in interfaces
        for vip in interfaces[name].vips
        if vip.version == connection.ip_version
    }
    return pairs_from(connection, sources)


def fenced_addresses(intent: Intent, network: Network, situation: Situation) -> frozenset[IPAddress]:
    """VIPs that are on this host without the right to use them; a tentative one the kernel does not use anyway."""
    vips = intent.vips
    fenced: set[IPAddress] = set()
    rightful: set[IPAddress] = set()
    for interface in intent.interfaces.values():
        for family in {vip.version for vip in interface.vips}:
            held = holding(interface, family, network, vips, situation)
            if held.rightful is not None:
                rightful.add(held.rightful)
            elif held.reason is not Reason.ADDRESS_TENTATIVE:
                fenced |= held.present
    return frozenset(fenced - rightful)


def standing(intent: Intent, entries: Mapping[str, Entry], *, leaks: frozenset[Flow] = frozenset()) -> Wire:
    """The table as far as settings and the ownership record decide it, with *leaks*; no address is fenced in it.

    Who left the settings is fenced pair by pair until its entry goes.
    """
    ours = all_pairs(intent) | {
        pair for name, entry in entries.items() if name in intent.connections for pair in entry.pairs
    }
    gone = frozenset(pair for name, entry in entries.items() if name not in intent.connections for pair in entry.pairs)
    return Wire(
        # Only VIPs are guarded for good; an own address of a connection that left is, until it is released.
        guarded=intent.vips | {pair.source for pair in gone},
        ours=ours | gone,
        # A pair that another connection still runs must not be cut with the one that left.
        fenced_pairs=gone - ours,
        leaks=leaks,
        mobike=any(may_roam(connection, intent.interfaces) for connection in intent.connections.values()),
        ike_ports=intent.ike_ports,
    )


def wanted(
    standing_wire: Wire,
    intent: Intent,
    network: Network | None,
    *,
    before: Wire | None,
    situation: Situation = ALONE,
    blind: bool = False,
) -> Wire:
    """The whole table now: *standing_wire* with the addresses that are here without the right to them.

    While *network* is None (not read yet) what *before* fences stays so: no address is fenced or lifted blindly. With
    *blind* (not to be read for too long) every VIP is fenced: whatever is here, nobody knows that it is rightful.
    """
    if blind:
        fenced = intent.vips
    elif network is not None:
        fenced = fenced_addresses(intent, network, situation)
    else:
        fenced = before.fenced if before is not None else frozenset()
    return replace(standing_wire, fenced=fenced) if fenced else standing_wire


def all_pairs(intent: Intent) -> frozenset[Pair]:
    """The pairs of every connection of the settings."""
    return frozenset(
        pair for connection in intent.connections.values() for pair in pairs(connection, intent.interfaces)
    )


def fence_state(view: View) -> Fence:
    """Whether a connection that has no right here is fenced: the wire *and* the state, charon's and the kernel's."""
    if not isinstance(view.charon, Known) or view.lane.touched or not view.here.empty or view.doubted:
        return Fence.PENDING
    if not isinstance(view.wire, Known) or view.wire.value is None:
        return Fence.PENDING
    wire = view.wire.value
    if view.entry is None:
        return Fence.FENCED
    vips = {vip for interface in view.interfaces.values() for vip in interface.vips}
    for pair in view.entry.pairs:
        if pair.source not in vips or _rightful(view, pair.source):
            # This host's own address, or one that it rightfully holds for others: nobody else runs from it, and the
            # state step alone is the fence.
            continue
        held_back = pair.source in wire.guarded and (not _present(view, pair.source) or pair.source in wire.fenced)
        if not held_back and view.connection is not None:
            return Fence.PENDING
    return Fence.FENCED


def silenced(view: View) -> tuple[HeldAddress, ...]:
    """The connection's VIPs that are here and fenced, as read back: they do not answer their neighbours any more."""
    if view.connection is None or not isinstance(view.network, Known) or not isinstance(view.wire, Known):
        return ()
    fenced = view.wire.value.fenced if view.wire.value is not None else frozenset()
    sources = {pair.source for pair in pairs(view.connection, view.interfaces)} & fenced
    return tuple(held for vip in sorted(sources, key=str) for held in view.network.value.addresses.get(vip, ()))


def _rightful(view: View, address: IPAddress) -> bool:
    if not isinstance(view.network, Known):
        return False
    network = view.network.value
    declared = [interface for interface in view.interfaces.values() if address in interface.vips]
    vips = frozenset(vip for interface in declared for vip in interface.vips)
    return any(
        holding(interface, address.version, network, vips, view.situation).rightful == address for interface in declared
    )


def _present(view: View, address: IPAddress) -> bool:
    # Unknown counts as present: fail towards fenced. A tentative address is not local yet, so the guard holds it.
    network = relied_on(view.network, view.situation.now)
    return network is None or any(held.usable for held in network.addresses.get(address, ()))
