"""What IKEv1 cannot do: each is one clear error, since charon would take it and do something else."""

from collections.abc import Mapping

from swanherd.settings import proposals
from swanherd.settings.child import ChildTable
from swanherd.settings.connection import ConnectionTable
from swanherd.settings.fragments import Key
from swanherd.settings.notation import ANY_REMOTE, is_address
from swanherd.settings.secrets import Secret
from swanherd.settings.validate import Tables


def check_ikev1(tables: Tables) -> None:
    """Add a problem for everything that only IKEv2 has, in connections that speak IKEv1."""
    for name, connection in tables.connections.items():
        if connection.ike_version == 1:
            _connection(tables, ("connections", name), connection)


def check_ikev1_secrets(tables: Tables, found: Mapping[str, Secret]) -> None:
    """In main mode charon answers with a secret that the addresses choose: who calls it learns only by that secret.

    Where we call, the connection is known, and the identities choose. A peer with a hostname may call from anywhere.
    """
    there: dict[tuple[str, str], list[str]] = {}
    """Connections by way out and endpoint; the latter is "" for anywhere."""
    for name, secret in found.items():
        connection = tables.connections[name]
        if connection.ike_version != 1 or connection.auth != "psk":
            continue
        remotes = {remote if is_address(remote) and remote not in ANY_REMOTE else "" for remote in connection.remote}
        alike = [there.setdefault((way, remote), []) for way in connection.interfaces for remote in sorted(remotes)]
        others = {
            other
            for names in alike
            for other in names
            if found[other].value != secret.value
            and "responder-only" in {connection.start, tables.connections[other].start}
        }
        if others:
            field = "psk" if connection.psk is not None else "psk_file"
            tables.add(
                ("connections", name, field),
                f"is another secret than that of connection '{min(others)}', whose peer may call from the same "
                "address: with IKEv1 charon chooses the secret before it knows who calls; use one secret for both, "
                "certificates, or IKEv2",
            )
        for names in alike:
            names.append(name)


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
