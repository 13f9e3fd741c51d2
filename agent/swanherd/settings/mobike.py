"""MOBIKE on a VIP: what the guard could not tell from a stolen tunnel is refused."""

from swanherd.settings.connection import ConnectionTable
from swanherd.settings.validate import Tables


def check_mobike(tables: Tables) -> None:
    """Add a problem for connections to the same endpoint from elsewhere: charon could take the tunnel along there."""
    for name, connection in tables.connections.items():
        if not connection.mobike or not _has_vips(tables, connection):
            continue
        for other, beside in tables.connections.items():
            shared = set(connection.remote) & set(beside.remote)
            if shared and set(beside.interfaces) != set(connection.interfaces):
                tables.add(
                    ("connections", name, "mobike"),
                    f"connection '{other}' reaches {min(shared)} from another interface: without the VIP charon could "
                    "take the tunnel along to its address, and nothing could tell whose packets those are",
                )


def _has_vips(tables: Tables, connection: ConnectionTable) -> bool:
    return any(name in tables.interfaces and tables.interfaces[name].vips for name in connection.interfaces)
