"""From the tables to what the core speaks."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_network
from types import MappingProxyType

from swanherd.core import intent as core
from swanherd.core.words import Start
from swanherd.settings.child import ChildTable
from swanherd.settings.connection import ConnectionTable
from swanherd.settings.gre import GreInterfaceTable
from swanherd.settings.interface import InterfaceTable, VrrpTable
from swanherd.settings.rules import evidence_of, family_of
from swanherd.settings.split import part_name
from swanherd.settings.validate import Tables
from swanherd.settings.xfrm import XfrmInterfaceTable


def to_intent(tables: Tables, certificates: Mapping[str, core.Certificates]) -> core.Intent:
    """The intent that valid tables express, with the *certificates* that were read for them."""
    interfaces = {name: _interface(name, table) for name, table in tables.interfaces.items()}
    whole = (_connection(name, table, certificates.get(name)) for name, table in tables.connections.items())
    connections = {each.name: each for connection in whole for each in _parts(connection, tables)}
    return core.Intent(
        interfaces=MappingProxyType(interfaces),
        connections=MappingProxyType(connections),
        ike_ports=tables.options.ike_ports,
    )


def _interface(name: str, table: InterfaceTable) -> core.Interface:
    vips = tuple(map(ip_address, table.vips))
    return core.Interface(name=name, device=table.device, vips=vips, vrrp=_vrrp(table.vrrp) if table.vrrp else None)


def _vrrp(table: VrrpTable) -> core.VrrpDeclaration:
    return core.VrrpDeclaration(
        instance=table.instance,
        vrid=table.vrid,
        evidence=frozenset(map(core.EvidenceSource, evidence_of(table))),
        advert_interval_s=table.advert_interval_s,
        device=table.device,
        family=table.family,
        unicast_peers=tuple(map(ip_address, table.unicast_peers)),
    )


def _parts(connection: core.Connection, tables: Tables) -> Iterator[core.Connection]:
    """*connection*, or if it is split a connection for each of its children."""
    if not tables.connections[connection.name].split:
        yield connection
        return
    for number, child in enumerate(connection.children):
        name = part_name(connection.name, child.name)
        yield replace(connection, name=name, children=(child,), part=core.Part(connection.name, number))


def _connection(name: str, table: ConnectionTable, certificates: core.Certificates | None) -> core.Connection:
    return core.Connection(
        name=name,
        interfaces=table.interfaces,
        source_by=table.source_by,
        remote=table.remote,
        children=tuple(_child(child_name, child, table) for child_name, child in table.children.items()),
        local_id=core.Identity(table.local_id),
        remote_id=table.remote_id,
        ip_version=6 if family_of(table) == 6 else 4,
        ike_version=table.ike_version,
        auth=table.auth,
        certificates=certificates,
        proposals=table.proposals,
        rekey_s=table.rekey_s,
        rekey=table.rekey,
        start=Start(table.start),
        mobike=table.mobike,
        encap=table.nat_traversal == "force",
        refuse_nat=table.nat_traversal == "off",
        dpd_delay_s=table.dpd_delay_s,
        dpd_timeout_s=table.dpd_timeout_s,
        attempt_s=table.attempt_s,
        prefer_first=table.prefer_first,
        move_hold_s=table.move_hold_s,
        if_id=table.xfrm_interface.if_id if table.xfrm_interface else 0,
        xfrm=_xfrm(table.xfrm_interface) if table.xfrm_interface else None,
        gre=_gre(table.gre_interface) if table.gre_interface else None,
        priority=table.priority,
        firewall_rule=_chain(table.firewall_rule) if table.firewall_rule is not None else None,
        when_down=table.when_down,
    )


def _chain(text: str) -> core.ChainName:
    family, table, chain = text.split(" ")
    return core.ChainName("inet" if family == "inet" else "ip" if family == "ip" else "ip6", table, chain)


def _xfrm(table: XfrmInterfaceTable) -> core.XfrmInterface:
    return core.XfrmInterface(
        name=table.name,
        if_id=table.if_id,
        addresses=tuple(map(ip_address, table.addresses)),
        mtu=table.mtu,
        install_routes=table.install_routes,
        routes=tuple(map(ip_network, table.routes)),
    )


def _gre(table: GreInterfaceTable) -> core.GreInterface:
    return core.GreInterface(
        name=table.name,
        addresses=tuple(map(ip_address, table.addresses)),
        mtu=table.mtu,
        routes=tuple(map(ip_network, table.routes)),
    )


def _child(name: str, child: ChildTable, table: ConnectionTable) -> core.Child:
    is_ah = table.encryption == "ah"
    return core.Child(
        name=name,
        local_ts=child.local,
        remote_ts=child.remote,
        esp_proposals=() if is_ah else child.proposals,
        # Charon takes ESP where neither is set.
        ah_proposals=(child.proposals or ("default",)) if is_ah else (),
        mode=table.mode,
        rekey_s=child.rekey_s,
        start=child.start and Start(child.start),
    )
