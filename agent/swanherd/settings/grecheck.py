"""GRE devices: whether their packets are protected, and what two tables must not say of one."""

from swanherd.settings.connection import ConnectionTable
from swanherd.settings.fragments import Key
from swanherd.settings.notation import ANY_REMOTE, PROTOCOLS
from swanherd.settings.validate import Tables


def check_gre(tables: Tables) -> None:
    """Add a problem for every GRE device that nothing would protect, or that has no ends or name of its own."""
    owners = {interface.device: f"the device of interface '{name}'" for name, interface in tables.interfaces.items()}
    for name, connection in tables.connections.items():
        if connection.xfrm_interface is not None:
            owners.setdefault(connection.xfrm_interface.name, f"the XFRM interface of connection '{name}'")
    ends: dict[tuple[str, str], str] = {}
    for name, connection in tables.connections.items():
        if connection.gre_interface is None:
            continue
        key, device = ("connections", name, "gre_interface"), connection.gre_interface.name
        _protected(tables, key, connection)
        if device in owners:
            tables.add((*key, "name"), f"is {owners[device]}")
        owners.setdefault(device, f"the GRE device of connection '{name}'")
        between = [(way, remote) for way in connection.interfaces for remote in connection.remote]
        if others := {ends.setdefault(each, name) for each in between} - {name}:
            tables.add(key, f"has the ends of that of connection '{min(others)}': the kernel tells them by those alone")


def _protected(tables: Tables, key: Key, connection: ConnectionTable) -> None:
    """Its packets go between the tunnel's own ends: only transport mode, for GRE or for everything, has them."""
    selectors = [each for child in connection.children.values() for each in (*child.local, *child.remote)]
    if connection.mode != "transport" or not all(map(_takes_gre, selectors)):
        tables.add(
            key, "needs mode = 'transport' and a child for GRE ('dynamic[gre]'): nothing else protects its packets"
        )
    elif connection.xfrm_interface is not None:
        tables.add(key, "cannot be beside an xfrm_interface, whose SA takes only what is routed into it")
    if ANY_REMOTE & set(connection.remote):
        tables.add(key, "needs to know where the peer is: it is the device's other end")
    elif connection.start == "responder-only" and len(connection.remote) > 1:
        tables.add(key, "needs one endpoint where the peer calls: which one is the device's other end?")


def _takes_gre(selector: str) -> bool:
    _, _, inside = selector.removesuffix("]").partition("[")
    return inside in {"", str(PROTOCOLS["gre"])}
