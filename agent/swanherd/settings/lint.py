"""What works and is probably not meant, or costs more than one would guess: warnings, which never refuse anything."""

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Protocol

from swanherd.core import leaks
from swanherd.core.intent import Connection, EvidenceSource, Interface
from swanherd.core.wire import may_roam
from swanherd.settings.fragments import Key, dotted
from swanherd.settings.identities import ANY_IDENTITY
from swanherd.settings.loading import Settings
from swanherd.settings.notation import ANY_REMOTE, is_address, is_loopback
from swanherd.settings.problems import Problem
from swanherd.settings.proposals import weak

PSK_SHORT = 20
"""Bytes. Who can pretend to be the peer once can guess a shorter key off line; 20 random characters are safe."""

EXPIRES_SOON_S = 14 * 86400
"""Two weeks: time enough for a person to renew a certificate."""

_READABLE_BY_OTHERS = 0o004


class _Say(Protocol):
    def __call__(self, key: Key, warning: str) -> Problem: ...


def check(settings: Settings) -> tuple[Problem, ...]:
    """Warnings about valid settings, in the order of the settings."""

    def say(key: Key, warning: str) -> Problem:
        return Problem(settings.merged.origin(key), dotted(key), warning)

    found = list(_agent(settings, say))
    for interface in settings.intent.interfaces.values():
        found += _interface(interface, settings, say)
    for connection in settings.intent.connections.values():
        found += _connection(connection, settings.intent.interfaces, say)
        found += _leaks(connection, say)
        found += _gre(connection, say)
        found += _algorithms(connection, say)
        found += _secret(connection, settings, say)
        found += _validity(connection, say)
    found += _same_selectors(settings, say)
    # Of the parts of a split connection, each says the same.
    return tuple(dict.fromkeys(found))


def _agent(settings: Settings, say: _Say) -> Iterator[Problem]:
    metrics = settings.options.metrics
    if metrics is not None and not is_loopback(metrics.host):
        yield say(("agent", "metrics_listen"), "whoever reaches this address can read names and states of connections")


def _interface(interface: Interface, settings: Settings, say: _Say) -> Iterator[Problem]:
    key = ("interfaces", interface.name)
    if not any(interface.name in connection.interfaces for connection in settings.intent.connections.values()):
        yield say(key, "no connection uses it")
    evidence = interface.vrrp.evidence if interface.vrrp else frozenset()
    if interface.vips and not evidence - {EvidenceSource.FIFO}:
        yield say(
            (*key, "vips"),
            "only the address decides: a keepalived that is killed with -9 or frozen leaves the VIP behind, and until "
            "it is removed both gateways run the connections",
        )


def _connection(connection: Connection, interfaces: Mapping[str, Interface], say: _Say) -> Iterator[Problem]:
    key = ("connections", connection.table)
    if connection.remote_id == ANY_IDENTITY:
        yield say(
            (*key, "remote_id"),
            "without a name for the peer charon sends no INITIAL_CONTACT, so that after a failover the peer keeps the "
            "old SA beside the new one",
        )
    if ANY_REMOTE & set(connection.remote):
        yield say(
            (*key, "remote"),
            "the peer can be anywhere, so a fence of this connection cuts all IPsec from its source, others' too",
        )
    if connection.dpd_delay_s == 0:
        yield say((*key, "dpd_delay_s"), "a peer that dies or loses the SA is not noticed")
    mine = [interfaces[name] for name in connection.interfaces if name in interfaces]
    own = [interface.name for interface in mine if not interface.vips]
    if own and len(own) < len(mine):
        yield say(
            (*key, "interfaces"),
            f"{', '.join(own)} has an own address, which each gateway holds, and others have VIPs: where the way out "
            "of both gateways is there, both run it",
        )
    if len(connection.interfaces) > 1 and connection.local_id.value is None:
        yield say(
            (*key, "interfaces"),
            "local_id is the source address: it changes with the way out, the peer must accept each, and when another "
            "gateway takes over by another way it keeps the old one's SA until it finds it dead",
        )
    if connection.mobike and not may_roam(connection, interfaces):
        yield say((*key, "mobike"), "charon may move the tunnel to any other address of this gateway")
    elif connection.mobike:
        yield say(
            (*key, "mobike"),
            "when the VIP leaves, charon tries to take the tunnel along to another address of this gateway; to stop "
            "that, the firewall lets no IPsec leave but that of swanherd's own connections: whatever else this gateway "
            "runs (other people's tunnels, ESP of its own addresses) is cut, on master and standby",
        )


def _leaks(connection: Connection, say: _Say) -> Iterator[Problem]:
    key = ("connections", connection.table, "children")
    if connection.when_down != "drop":
        return
    for name in leaks.unguardable(connection):
        yield say(
            (*key, name, "remote"),
            "follows a peer that can be anywhere, so while it is down nothing keeps its traffic from leaving in clear",
        )
    by_hand = leaks.routed_by_hand(connection)
    # Behind each route of the settings stands one that refuses.
    for name in by_hand if connection.xfrm is not None and not connection.xfrm.routes else ():
        yield say(
            (*key, name, "remote"),
            "is for anything, and your own routes choose what goes into the XFRM interface: when they vanish, nothing "
            "keeps that from leaving in clear (routes or install_routes there, or the real networks, would)",
        )
    for child in filter(leaks.everything, connection.children):
        if child.name in by_hand:
            continue
        yield say(
            (*key, child.name),
            "is for all that this gateway says: while it is down nothing but IKE, ESP, VRRP and neighbour discovery "
            "leaves by these interfaces, DNS neither (see when_down)",
        )


def _gre(connection: Connection, say: _Say) -> Iterator[Problem]:
    if connection.gre is None:
        return
    ends = [ip_address(remote) for remote in connection.remote if is_address(remote)]
    for position, network in enumerate(connection.gre.routes):
        for end in filter(network.__contains__, ends):
            yield say(
                ("connections", connection.table, "gre_interface", "routes", position),
                f"leads to {end} too, the device's own other end: unless a longer route leads there, what it sends "
                "comes back into it",
            )


def _algorithms(connection: Connection, say: _Say) -> Iterator[Problem]:
    key = ("connections", connection.table)
    lists: list[tuple[Key, tuple[str, ...]]] = [((*key, "proposals"), connection.proposals)]
    lists += [((*key, "children", child.name, "proposals"), child.esp_proposals) for child in connection.children]
    for where, proposals in lists:
        for position, proposal in enumerate(proposals):
            if names := weak(proposal):
                yield say(
                    (*where, position), f"'{proposal}' has {', '.join(names)}, which RFC 8221 and 8247 advise against"
                )


def _secret(connection: Connection, settings: Settings, say: _Say) -> Iterator[Problem]:
    key = ("connections", connection.table)
    secret = settings.secrets.get(connection.name)
    if secret is None or connection.auth != "psk":
        return
    field = (*key, "psk" if settings.is_inline(connection.table) else "psk_file")
    if len(secret.value) < PSK_SHORT:
        yield say(field, f"the pre-shared key is shorter than {PSK_SHORT} bytes")
    if settings.is_inline(connection.table):
        file = settings.merged.origin(field)
        if settings.merged.modes.get(file, 0) & _READABLE_BY_OTHERS:
            yield say(field, "the file with this secret is readable by everybody on this machine")


def _validity(connection: Connection, say: _Say) -> Iterator[Problem]:
    """Out of its time is no error: the clock of a machine that has just booted may be the one that is wrong."""
    certificates, now = connection.certificates, time.time()
    if certificates is None:
        return
    key = ("connections", connection.table, "certificate_file")
    if now < certificates.not_before:
        yield say(key, f"is not valid before {_day(certificates.not_before)}")
    elif now > certificates.not_after:
        yield say(key, f"has expired on {_day(certificates.not_after)}")
    elif now > certificates.not_after - EXPIRES_SOON_S:
        yield say(key, f"expires on {_day(certificates.not_after)}")


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).date().isoformat()


def _same_selectors(settings: Settings, say: _Say) -> Iterator[Problem]:
    owners: dict[tuple[object, ...], str] = {}
    for connection in settings.intent.connections.values():
        for child in connection.children:
            keys = [(way, child.local_ts, child.remote_ts) for way in connection.interfaces]
            first = {owners.setdefault(key, connection.name) for key in keys} - {connection.name}
            if first:
                yield say(
                    ("connections", connection.table, "children", child.name),
                    f"connection '{min(first)}' has a child with the same networks: with both up, one gets no traffic",
                )
