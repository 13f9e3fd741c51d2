"""XFRM interfaces: who may share one, and what two tables must not say of it."""

from ipaddress import ip_network

from swanherd.settings.connection import ConnectionTable
from swanherd.settings.fragments import Key
from swanherd.settings.notation import families
from swanherd.settings.validate import Tables

_Network = tuple[int, int, int]
"""IP family, first and last address."""


def check_xfrm(tables: Tables) -> None:
    """Add a problem for every interface that two connections describe differently, or cannot share."""
    by_name: dict[str, str] = {}
    by_id: dict[int, str] = {}
    carried: dict[str, list[tuple[_Network, str]]] = {}
    devices = {interface.device: name for name, interface in tables.interfaces.items()}
    for name, connection in tables.connections.items():
        table = connection.xfrm_interface
        if table is None:
            continue
        key = ("connections", name, "xfrm_interface")
        if table.name in devices:
            tables.add((*key, "name"), f"is the device of interface '{devices[table.name]}'")
        first, holder = by_name.setdefault(table.name, name), by_id.setdefault(table.if_id, name)
        shared, other = tables.connections[first].xfrm_interface, tables.connections[holder].xfrm_interface
        if shared != table:
            tables.add(key, f"is not the same as in connection '{first}', which has this interface too")
        elif other is not None and other.name != table.name:
            tables.add((*key, "if_id"), f"is that of '{other.name}' in connection '{holder}'")
        else:
            _overlaps(tables, ("connections", name), connection, carried.setdefault(table.name, []))


def _overlaps(tables: Tables, key: Key, connection: ConnectionTable, carried: list[tuple[_Network, str]]) -> None:
    """The kernel chooses among the policies of one interface by their networks alone."""
    own: list[tuple[_Network, str]] = []
    for child_name, child in connection.children.items():
        for selector in child.remote:
            network = _network(selector)
            if network is None:
                continue
            for (family, first, last), owner in carried:
                if family == network[0] and first <= network[2] and network[1] <= last:
                    tables.add(
                        (*key, "children", child_name, "remote"),
                        f"overlaps with connection '{owner}', which shares the interface: one would get no traffic",
                    )
            own.append((network, str(key[1])))
    carried += own


def _network(selector: str) -> _Network | None:
    host = selector.partition("[")[0]
    if len(families(host)) > 1:
        return None  # dynamic
    low, _, high = host.partition("-")
    first, last = ip_network(low), ip_network(high or low)
    return first.version, int(first.network_address), int(last.broadcast_address)
