"""Split connections: what their parts are called, and what cannot be split."""

from swanherd.settings.connection import ConnectionTable
from swanherd.settings.fragments import Key
from swanherd.settings.notation import is_name
from swanherd.settings.validate import Tables


def part_name(connection: str, child: str) -> str:
    """What the part of *connection* with *child* is called, in charon and everywhere else."""
    return f"{connection}-{child}"


def names(name: str, connection: ConnectionTable) -> tuple[str, ...]:
    """The names in charon of the connection *name* of the settings."""
    return tuple(part_name(name, child) for child in connection.children) if connection.split else (name,)


def check_split(tables: Tables) -> None:
    """Add a problem for every connection that is split and cannot be."""
    owners = {name: name for name, connection in tables.connections.items() if not connection.split}
    for name, connection in tables.connections.items():
        if not connection.split:
            continue
        key = ("connections", name)
        _connection(tables, key, connection)
        for part in names(name, connection):
            owner = owners.setdefault(part, name)
            if owner != name:
                tables.add((*key, "split"), f"makes a connection '{part}', and '{owner}' makes one too")
            elif not is_name(part):
                tables.add((*key, "split"), f"makes a connection '{part}', which is too long a name")


def _connection(tables: Tables, key: Key, connection: ConnectionTable) -> None:
    starts = {child.start or connection.start for child in connection.children.values()}
    if connection.start == "responder-only":
        tables.add((*key, "split"), "means nothing where only the peer initiates: it decides what is split")
    elif starts != {"connect"}:
        # Two packets at once would begin two handshakes at once.
        tables.add((*key, "split"), "needs every child's start to be 'connect': they are begun one after another")
