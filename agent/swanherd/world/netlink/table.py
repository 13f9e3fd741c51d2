"""What the kernel has told so far: changed in place by each message, given out as frozen `Network` snapshots.

Addresses and links follow their events. Default routes do not: the kernel drops IPv4 routes silently with their device
or source address, and what an event means for several hops depends on flags and family. So an event about one only says
that the few there are must be read again (``routes_stale``).

Rows are kept by packed addresses: ``ipaddress`` hashes and compares in Python, ten times slower than bytes.
"""

from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from types import MappingProxyType

from swanherd.core.facts import DefaultRoute, HeldAddress, Link, Network, NetworkChange
from swanherd.core.intent import IPAddress
from swanherd.world.netlink.messages import AddressMessage, LinkMessage, Message, RouteMessage

_IPV4_BYTES = 4

STAMPS_PER_S = 100
"""The kernel stamps a birth in hundredths of a second since the boot, by its ticks (``cstamp_delta`` in addrconf.c),
and begins anew after 2^32 of them, 497 days."""
TICKS_AHEAD_S = 0.5
"""Ticks follow the monotonic clock. Measured, they are 0.1 to 0.2 s behind it, by what the boot lost: then a birth
looks earlier than it was. Nothing says that they could not be ahead by as much."""

AddressKey = tuple[bytes, int, int, bytes]
"""An address's packed form, its device's index, its prefix and its peer."""

RowKey = int | AddressKey
"""A link's index, or an address."""

_Row = tuple[bool, int, float, bool, float]
"""Usable, stamp of birth, since, seen to arrive, born. Plain tuples of plain values are nothing that the garbage
collector must visit: with 10 000 addresses its full passes are what holds the loop longest."""


class Table:
    """The kernel's addresses, links and default routes.

    A reading of the whole takes time, and events overtake it. Between `begin_reading` and `end_reading` the table
    remembers what events touched: for that the event is right, for the rest the reading is.
    """

    def __init__(self) -> None:
        self._links: dict[int, LinkMessage] = {}
        self._rows: dict[AddressKey, _Row] = {}
        self._keys: dict[bytes, tuple[AddressKey, ...]] = {}
        self._ips: dict[bytes, IPAddress] = {}
        self._packed_on: dict[int, set[bytes]] = {}
        self._routes: tuple[RouteMessage, ...] = ()
        self.routes_stale = False
        """Whether the default routes must be read again."""
        self.watched = False
        """Whether the first reading is done: what comes from then on was seen to arrive."""
        self._held: dict[IPAddress, tuple[HeldAddress, ...]] = {}
        self._defaults: tuple[DefaultRoute, ...] = ()
        self._snapshot: Network | None = None
        self._touched: set[RowKey] | None = None
        self._changed_ips: set[IPAddress] = set()
        self._changed_devices: set[str] = set()
        self._changed_defaults = False

    # --- messages in -----

    def apply(self, message: Message, now: float) -> None:
        """Takes one event."""
        if isinstance(message, RouteMessage):
            self.routes_stale = True
            return
        if self._touched is not None:
            self._touched.add(_key(message))
        self._take(message, now)

    def begin_reading(self) -> None:
        """From now on what events touch is remembered."""
        self._touched = set()

    def end_reading(self) -> None:
        """What events touch is no longer remembered."""
        self._touched = None

    def differences(self, read: Iterable[Message]) -> dict[RowKey, Message]:
        """What a full reading says otherwise than this table, without what events touched since `begin_reading`.

        A message for each: the reading's own, or one that says "gone" for what it does not have.
        """
        rows = {_key(message): message for message in read if not isinstance(message, RouteMessage)}
        touched = self._touched or set()
        # What is gone comes first: a link takes along what is kept under its index.
        found: dict[RowKey, Message] = {
            ifindex: link._replace(gone=True) for ifindex, link in self._links.items() if ifindex not in rows
        }
        found |= {
            key: AddressMessage(*key, gone=True, usable=False, created=0) for key in self._rows if key not in rows
        }
        found |= {key: message for key, message in rows.items() if not self._has(message)}
        return {key: message for key, message in found.items() if key not in touched}

    def correct(self, differences: Iterable[tuple[RowKey, Message]], now: float) -> None:
        """Takes what a full reading found, without what an event touched since."""
        touched = self._touched or set()
        for key, message in differences:
            if key not in touched:
                self._take(message, now)

    def replace_routes(self, routes: Iterable[Message]) -> bool:
        """Takes a reading of the default routes; whether they are others now."""
        mine = (route for route in routes if isinstance(route, RouteMessage))
        self._routes = tuple(sorted(mine, key=lambda route: route.metric))  # stable: equal ones in the kernel's order
        return self._settle_defaults()

    # --- facts out -----

    def snapshot(self) -> Network:
        """The network now; the same object until something changes. Copied only when it is asked for."""
        if self._snapshot is None:
            links = {link.name: self._link(link) for link in self._links.values()}
            self._snapshot = Network(
                addresses=MappingProxyType(self._held.copy()), links=MappingProxyType(links), defaults=self._defaults
            )
        return self._snapshot

    def take_change(self) -> NetworkChange | None:
        """What changed since the last call, None for nothing (a lifetime refreshed, a counter)."""
        if not (self._changed_ips or self._changed_devices or self._changed_defaults):
            return None
        change = NetworkChange(
            addresses=frozenset(self._changed_ips),
            devices=frozenset(self._changed_devices),
            defaults=self._changed_defaults,
        )
        self._changed_ips.clear()
        self._changed_devices.clear()
        self._changed_defaults = False
        return change

    # --- inside -----

    def _link(self, link: LinkMessage) -> Link:
        below = None if link.parent is None else self._links.get(link.parent)
        parent = None if below is None else below.name
        return Link(name=link.name, index=link.ifindex, up=link.up, kind=link.kind, parent=parent)

    def _has(self, message: LinkMessage | AddressMessage) -> bool:
        if isinstance(message, LinkMessage):
            return self._links.get(message.ifindex) == message
        row = self._rows.get(_address_key(message))
        return row is not None and row[:2] == (message.usable, message.created)

    def _take(self, message: Message, now: float) -> None:
        if isinstance(message, LinkMessage):
            self._take_link(message)
        elif isinstance(message, AddressMessage):
            self._take_address(message, now)

    def _take_address(self, message: AddressMessage, now: float) -> None:
        packed, ifindex, key = message.packed, message.ifindex, _address_key(message)
        keys = self._keys.get(packed, ())
        if message.gone:
            self._rows.pop(key, None)
            keys = tuple(other for other in keys if other != key)
        else:
            _, created, since, watched, born = self._rows.get(key, (False, None, now, self.watched, now))
            if created != message.created:  # another stamp of birth: it left and came back while nobody listened
                since, watched = now, self.watched
                born = _born(message.created, now)
            self._rows[key] = (message.usable, message.created, since, watched, born)
            # By device, not by arrival: a reading that finds what was missed finds it in another order.
            keys = keys if key in keys else tuple(sorted((*keys, key)))
        self._keys[packed] = keys
        if any(key[1] == ifindex for key in keys):
            self._packed_on.setdefault(ifindex, set()).add(packed)
        else:
            self._packed_on.get(ifindex, set()).discard(packed)
            self._note_silent_loss(packed, ifindex)
        self._show(packed)

    def _take_link(self, message: LinkMessage) -> None:
        old = self._links.get(message.ifindex)
        if message == old or (message.gone and old is None):
            return
        if message.gone:
            del self._links[message.ifindex]
            self._forget_addresses(message.ifindex)
        else:
            self._links[message.ifindex] = message
        self._snapshot = None
        self._changed_devices.update({message.name} | ({old.name} if old else set()))
        if old is None or old.name != message.name:
            for packed in tuple(self._packed_on.get(message.ifindex, ())):
                self._show(packed)
        if old is None or message.gone or old.up != message.up:
            self.routes_stale = True
        self._settle_defaults()

    def _forget_addresses(self, ifindex: int) -> None:
        for packed in self._packed_on.pop(ifindex, set()):
            for key in self._keys[packed]:
                if key[1] == ifindex:
                    del self._rows[key]
            self._keys[packed] = tuple(key for key in self._keys[packed] if key[1] != ifindex)
            self._show(packed)

    def _show(self, packed: bytes) -> None:
        keys = self._keys[packed]
        ip = self._ips.get(packed) or self._ips.setdefault(packed, ip_address(packed))
        held = tuple(self._held_addresses(ip, keys))
        if not keys:
            del self._keys[packed], self._ips[packed]
        if held == self._held.get(ip, ()):
            return
        if held:
            self._held[ip] = held
        else:
            del self._held[ip]
        self._snapshot = None
        self._changed_ips.add(ip)

    def _held_addresses(self, ip: IPAddress, keys: Iterable[AddressKey]) -> Iterator[HeldAddress]:
        for key in keys:
            # An address can be told before its link while a reading is under way.
            if (link := self._links.get(key[1])) is not None:
                usable, _, since, watched, born = self._rows[key]
                yield HeldAddress(
                    ip=ip, prefix=key[2], device=link.name, usable=usable, since=since, watched=watched, born=born
                )

    def _note_silent_loss(self, packed: bytes, ifindex: int) -> None:
        # IPv4 routes go with their source address (Linux 6.18 says so, older ones may not) and with the last address
        # of their device (6.18 says nothing, as when the device is set down).
        if len(packed) != _IPV4_BYTES:
            return
        for route in self._routes:
            if route.source == packed:
                self.routes_stale = True
            elif any(hop.ifindex == ifindex for hop in route.hops):
                left = self._packed_on.get(ifindex, ())
                self.routes_stale |= not any(len(other) == _IPV4_BYTES for other in left)

    def _settle_defaults(self) -> bool:
        defaults = tuple(self._resolve_routes())
        if defaults == self._defaults:
            return False
        self._defaults = defaults
        self._snapshot = None
        self._changed_defaults = True
        return True

    def _resolve_routes(self) -> Iterator[DefaultRoute]:
        rejected: set[int] = set()
        for route in self._routes:
            if route.family in rejected:
                continue  # behind a route that rejects, nothing is ever used
            if not route.hops:
                rejected.add(route.family)
                continue
            links = [(link, hop.alive) for hop in route.hops if (link := self._links.get(hop.ifindex)) is not None]
            for link, alive in links:
                yield DefaultRoute(family=route.family, device=link.name, metric=route.metric, alive=alive and link.up)


def _born(stamp: int, now: float) -> float:
    """The moment of a stamp of birth, read at *now*."""
    age_s = ((int(now * STAMPS_PER_S) - stamp) % 2**32) / STAMPS_PER_S
    return now - age_s - TICKS_AHEAD_S


def _key(message: LinkMessage | AddressMessage) -> RowKey:
    return message.ifindex if isinstance(message, LinkMessage) else _address_key(message)


def _address_key(message: AddressMessage) -> AddressKey:
    return (message.packed, message.ifindex, message.prefix, message.peer)
