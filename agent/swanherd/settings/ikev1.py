"""What IKEv1 cannot do: each is one clear error, since charon would take it and do something else."""

from swanherd.settings import proposals
from swanherd.settings.child import ChildTable
from swanherd.settings.connection import ConnectionTable
from swanherd.settings.fragments import Key
from swanherd.settings.validate import Tables


def check_ikev1(tables: Tables) -> None:
    """Add a problem for everything that only IKEv2 has, in connections that speak IKEv1."""
    for name, connection in tables.connections.items():
        if connection.ike_version == 1:
            _connection(tables, ("connections", name), connection)


def _connection(tables: Tables, key: Key, connection: ConnectionTable) -> None:
    if connection.mobike:
        tables.add((*key, "mobike"), "is of IKEv2; IKEv1 has no MOBIKE")
    if connection.split:
        tables.add((*key, "split"), "is of IKEv2; in IKEv1 every child is negotiated by itself already")
    for position, proposal in enumerate(connection.proposals):
        if proposals.is_aead(proposal):
            tables.add((*key, "proposals", position), f"'{proposal}': IKEv1 has no AEAD for itself (ESP may have)")
        elif proposals.more_exchanges(proposal):
            tables.add((*key, "proposals", position), f"'{proposal}': IKEv1 has one key exchange only")
    for name, child in connection.children.items():
        _child(tables, (*key, "children", name), child)


def _child(tables: Tables, key: Key, child: ChildTable) -> None:
    if len(child.local) > 1 or len(child.remote) > 1:
        # Charon would negotiate the first of each, and never say so.
        number = len(child.local) * len(child.remote)
        tables.add(
            key,
            f"IKEv1 has one network on each side of a child: write {number} children, one for each pair",
        )
    for side in ("local", "remote"):
        for position, selector in enumerate(getattr(child, side)):
            if _several_ports(selector):
                # Charon would negotiate the first of them, and never say so.
                tables.add((*key, side, position), "IKEv1 has one port on a side, or all of them")


def _several_ports(selector: str) -> bool:
    _, _, ports = selector.removesuffix("]").partition("[")[2].partition("/")
    return "-" in ports or ports == "opaque"
