"""Transport mode and AH: what cannot be meant, or would become something else without a word."""

from swanherd.settings import proposals
from swanherd.settings.connection import ConnectionTable
from swanherd.settings.fragments import Key
from swanherd.settings.validate import Tables


def check_modes(tables: Tables) -> None:
    """Add a problem for every connection whose mode or encryption does not fit the rest of it."""
    for name, connection in tables.connections.items():
        key = ("connections", name)
        if connection.mode == "transport":
            _transport(tables, key, connection)
        if connection.encryption == "ah" and connection.nat_traversal == "force":
            tables.add((*key, "nat_traversal"), "cannot be 'force': AH cannot be encapsulated in UDP")
        _proposals(tables, key, connection)


def _transport(tables: Tables, key: Key, connection: ConnectionTable) -> None:
    """Charon falls back to tunnel mode unless the selectors are the two endpoints."""
    if len(connection.children) > 1:
        tables.add((*key, "children"), "transport mode has one child: there is only one pair of endpoints")
    ways = {name: tables.interfaces[name] for name in connection.interfaces if name in tables.interfaces}
    ours = {vip for interface in ways.values() for vip in interface.vips}
    for name, child in connection.children.items():
        if not (_are_hosts(child.local, ours) and _are_hosts(child.remote, set(connection.remote))):
            tables.add(
                (*key, "children", name),
                "transport mode carries the endpoints' own packets: write 'dynamic' (or 'dynamic[gre]') on both sides",
            )


def _are_hosts(selectors: tuple[str, ...], hosts: set[str]) -> bool:
    bare = (selector.partition("[")[0] for selector in selectors)
    return all(each == "dynamic" or each.removesuffix("/32").removesuffix("/128") in hosts for each in bare)


def _proposals(tables: Tables, key: Key, connection: ConnectionTable) -> None:
    is_ah = connection.encryption == "ah"
    for name, child in connection.children.items():
        for position, proposal in enumerate(child.proposals):
            if proposal == "default" or proposals.is_ah(proposal) == is_ah:
                continue
            rule = "AH has no cipher (as sha256-modp2048)" if is_ah else "has no cipher (as aes256 or aes256gcm16)"
            tables.add((*key, "children", name, "proposals", position), f"'{proposal}': {rule}")
