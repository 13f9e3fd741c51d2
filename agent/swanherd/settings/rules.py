"""What must hold between keys. Each rule says what is wrong at the key where a person would put it right."""

from collections.abc import Mapping
from ipaddress import ip_address

from swanherd.settings.child import ChildTable
from swanherd.settings.connection import ConnectionTable
from swanherd.settings.fragments import Key
from swanherd.settings.identities import ANY_IDENTITY
from swanherd.settings.interface import VrrpTable
from swanherd.settings.notation import ANY_INTERFACE, ANY_REMOTE, families, is_address
from swanherd.settings.secrets import Secret
from swanherd.settings.split import names
from swanherd.settings.validate import Tables


def check_rules(tables: Tables) -> None:
    """Add a problem for every rule that is broken."""
    _options(tables)
    _interface_tables(tables)
    for name, connection in tables.connections.items():
        key = ("connections", name)
        _interfaces(tables, key, connection)
        _source_by(tables, key, connection)
        _chain(tables, key, connection)
        _remote(tables, key, connection)
        _peer(tables, key, connection)
        for child_name, child in connection.children.items():
            _selectors(tables, (*key, "children", child_name), child)
    _contradictions(tables)


def family_of(connection: ConnectionTable) -> int:
    """The IP family of the tunnel's outside, its default filled in."""
    if connection.ip_version is not None:
        return connection.ip_version
    return next((ip_address(remote).version for remote in connection.remote if is_address(remote)), 4)


def evidence_of(vrrp: VrrpTable) -> tuple[str, ...]:
    """The declared sources of VRRP evidence, the default filled in."""
    if vrrp.evidence is not None:
        return vrrp.evidence
    if vrrp.vrid is not None:
        return ("adverts", "process")
    return ("process",) if vrrp.instance is not None else ()


def _options(tables: Tables) -> None:
    options = tables.options
    if options.retry_max_s < options.retry_min_s:
        tables.add(("agent", "retry_max_s"), "is below retry_min_s")
    if options.handshakes < options.handshakes_per_endpoint:
        tables.add(("agent", "handshakes"), "is below handshakes_per_endpoint")


def _interface_tables(tables: Tables) -> None:
    owners: dict[str, str] = {}
    for name, interface in tables.interfaces.items():
        if name == ANY_INTERFACE:
            tables.add(
                ("interfaces", name), "this name is taken: 'any' means whichever interface the default route uses"
            )
        for position, vip in enumerate(interface.vips):
            owner = owners.setdefault(vip, name)
            if owner != name:
                tables.add(("interfaces", name, "vips", position), f"{vip} is a VIP of interface '{owner}' too")
        if interface.vrrp and not interface.vips:
            tables.add(("interfaces", name, "vrrp"), "says what moves the VIPs, but there are no vips")
        elif interface.vrrp:
            _vrrp(tables, ("interfaces", name, "vrrp"), interface.vrrp, interface.vips)


def _vrrp(tables: Tables, key: Key, vrrp: VrrpTable, vips: tuple[str, ...]) -> None:
    evidence = evidence_of(vrrp)
    for source in evidence:
        missing = {
            "adverts": vrrp.vrid is None and "adverts need the vrid: it is what they are known by",
            "dbus": vrrp.instance is None and vrrp.vrid is None and "dbus needs the instance's name, or its vrid",
            "fifo": tables.options.notify_fifo is None and "fifo needs agent.notify_fifo, the path of the FIFO",
            "process": False,
        }[source]
        if missing:
            tables.add((*key, "evidence"), missing)
    if vrrp.unicast_peers and "adverts" not in evidence:
        tables.add((*key, "unicast_peers"), "says whose adverts count, but adverts are no evidence here")
    family = vrrp.family or ip_address(vips[0]).version
    for position, peer in enumerate(vrrp.unicast_peers):
        if ip_address(peer).version != family:
            tables.add((*key, "unicast_peers", position), f"is not IPv{family}, which the instance speaks (see family)")
        elif peer in vips:
            tables.add((*key, "unicast_peers", position), "is a VIP; VRRP speaks from the gateways' own addresses")


def _interfaces(tables: Tables, key: Key, connection: ConnectionTable) -> None:
    family = family_of(connection)
    for position, name in enumerate(connection.interfaces):
        where = (*key, "interfaces", position)
        if name == ANY_INTERFACE:
            if len(connection.interfaces) > 1:
                tables.add(where, "'any' is every interface already; no other one can stand beside it")
            continue
        if name not in tables.names:
            known = ", ".join(sorted(tables.names)) or "none"
            tables.add(where, f"there is no interface '{name}' (known: {known})")
        elif name in tables.interfaces:
            vips = tables.interfaces[name].vips
            if vips and all(ip_address(vip).version != family for vip in vips):
                tables.add(where, f"interface '{name}' has no IPv{family} VIP, and the tunnel's outside is IPv{family}")


def _source_by(tables: Tables, key: Key, connection: ConnectionTable) -> None:
    if connection.source_by == "default-route":
        return
    where = (*key, "source_by")
    if ANY_REMOTE & set(connection.remote):
        tables.add(where, "needs an endpoint that is called: there is no route to a peer that can be anywhere")
    elif len(connection.interfaces) < 2:
        only = connection.interfaces[0]
        what = "'any' is what the default route gives" if only == ANY_INTERFACE else f"'{only}' is the only one"
        tables.add(where, f"says which of several interfaces is used, but {what}")


def _chain(tables: Tables, key: Key, connection: ConnectionTable) -> None:
    family = family_of(connection)
    other = {4: "ip6", 6: "ip"}[family]
    if connection.firewall_rule is not None and connection.firewall_rule.startswith(f"{other} "):
        tables.add(
            (*key, "firewall_rule"), f"a table of family {other} has no IPv{family} packets, and the tunnel's are"
        )


def _remote(tables: Tables, key: Key, connection: ConnectionTable) -> None:
    family = family_of(connection)
    vips = {vip for name in connection.interfaces if name in tables.interfaces for vip in tables.interfaces[name].vips}
    for position, remote in enumerate(connection.remote):
        where = (*key, "remote", position)
        if is_address(remote) and ip_address(remote).version != family:
            tables.add(where, f"is IPv{ip_address(remote).version}, and the tunnel's outside is IPv{family}")
        if remote in vips:
            tables.add(where, f"{remote} is this pair's own VIP")
        if remote in ANY_REMOTE and len(connection.remote) > 1:
            tables.add(where, f"{remote} is any address already; no other endpoint can stand beside it")


def _peer(tables: Tables, key: Key, connection: ConnectionTable) -> None:
    if connection.dpd_timeout_s is not None and connection.dpd_delay_s == 0:
        tables.add((*key, "dpd_timeout_s"), "means nothing where dpd_delay_s is 0: nobody is asked")
    if connection.local_id == ANY_IDENTITY:
        tables.add((*key, "local_id"), "cannot be 'any': this end says who it is")
    if not ANY_REMOTE & set(connection.remote):
        _child_starts(tables, key, connection)
        _endpoints(tables, key, connection)
        return
    if connection.start != "responder-only":
        tables.add((*key, "start"), "must be 'responder-only': a peer that can be anywhere cannot be called")
    if connection.remote_id is None:
        tables.add((*key, "remote_id"), "is required where the peer can be anywhere: its address does not identify it")


def _endpoints(tables: Tables, key: Key, connection: ConnectionTable) -> None:
    """Which of several is called changes, and who is meant must not change with it."""
    if connection.remote_id is None and any(not is_address(remote) for remote in connection.remote):
        tables.add(
            (*key, "remote_id"),
            "is required where an endpoint is a hostname: whoever calls is known by it, from anywhere",
        )
    elif connection.remote_id is None and len(connection.remote) > 1:
        tables.add((*key, "remote_id"), "is required where there are several endpoints: which address is the identity?")
    if connection.remote_id == ANY_IDENTITY and any(not is_address(remote) for remote in connection.remote):
        tables.add((*key, "remote_id"), "cannot be 'any' where an endpoint is a hostname: anybody could call")
    if connection.prefer_first and (len(connection.remote) < 2 or connection.start == "responder-only"):
        tables.add((*key, "prefer_first"), "says to which endpoint to return, but there is no other one to call")


def _child_starts(tables: Tables, key: Key, connection: ConnectionTable) -> None:
    if connection.start != "responder-only":
        return
    for name, child in connection.children.items():
        if child.start is not None and child.start != "responder-only":
            where = (*key, "children", name, "start")
            tables.add(where, f"cannot be '{child.start}' where the connection is 'responder-only'")


def _selectors(tables: Tables, key: Key, child: ChildTable) -> None:
    local = {family for selector in child.local for family in families(selector)}
    remote = {family for selector in child.remote for family in families(selector)}
    if not local & remote:
        tables.add((*key, "remote"), "has no network of an IP family that local has")


def check_names(tables: Tables, others: frozenset[str]) -> None:
    """Names in charon are the names in the settings, so nobody else's connection may have one of them."""
    for name in (own for own, each in tables.connections.items() if others.intersection(names(own, each))):
        tables.add(
            ("connections", name),
            f"a connection in {tables.options.swanctl_conf} has this name too: swanctl --load-all would replace ours",
        )


def check_secrets(tables: Tables, found: Mapping[str, Secret]) -> None:
    """Charon chooses a secret by the identities alone: equal identities with unequal secrets are a game of chance."""
    by_identities: dict[tuple[object, ...], str] = {}
    for name, secret in found.items():
        connection = tables.connections[name]
        if connection.auth != "psk":
            continue
        local = connection.local_id or connection.interfaces
        remote = connection.remote_id or connection.remote
        first = by_identities.setdefault((local, remote, family_of(connection)), name)
        if found[first].value != secret.value:
            field = "psk" if connection.psk is not None else "psk_file"
            tables.add(
                ("connections", name, field),
                f"is another secret than that of connection '{first}', which has the same identities: charon looks "
                "for a secret by the identities alone",
            )


def _contradictions(tables: Tables) -> None:
    """Charon tells connections apart by addresses and identities, never by name."""
    owners: dict[tuple[object, ...], str] = {}
    for name, connection in tables.connections.items():
        who = (family_of(connection), connection.local_id, connection.remote_id)
        first = {
            owners.setdefault((way, remote, *who), name)
            for way in connection.interfaces
            for remote in connection.remote
        } - {name}
        if first:
            tables.add(
                ("connections", name),
                f"contradicts connection '{min(first)}': same way out, endpoint and identities, so charon cannot tell "
                "them apart; make it a child of that one, or give it another identity",
            )
