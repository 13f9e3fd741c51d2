"""Where the settings and keepalived's configuration do not say the same: warnings, as keepalived may be run elsewhere.

Read by ``swanherd check`` only. The agent itself goes by what it sees of keepalived, never by its configuration.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from swanherd.core.intent import Connection, EvidenceSource, Intent, Interface, VrrpDeclaration
from swanherd.settings.fragments import Key, dotted
from swanherd.settings.keepalivedconf import Configuration, Instance, read
from swanherd.settings.loading import Settings
from swanherd.settings.problems import Problem

Said = Iterator[tuple[Key, str]]
"""Where, and what does not match there."""


def compare(settings: Settings) -> tuple[Problem, ...]:
    """Everything that does not match, in the order of the settings; nothing if there is no configuration to read."""
    file = Path(settings.options.keepalived_conf)
    try:
        configuration = read(file)
    except FileNotFoundError:
        return ()
    except OSError as error:
        return (Problem(str(file), "", f"cannot be compared: {error.strerror}"),)
    said = list(_everything(settings, configuration))
    problems = [Problem(settings.merged.origin(key), dotted(key), rule) for key, rule in said]
    if configuration.conditional:
        problems.append(Problem(str(file), "", "lines that begin with @ are for one machine, and were not compared"))
    return tuple(problems)


def _everything(settings: Settings, configuration: Configuration) -> Said:
    interfaces = [each for each in settings.intent.interfaces.values() if each.vips]
    if interfaces and configuration.namespace is not None:
        yield (
            ("agent", "keepalived_conf"),
            f"keepalived goes to the network namespace '{configuration.namespace}'; swanherd must run there too",
        )
    for interface in interfaces:
        yield from _interface(interface, configuration)
    for connection in settings.intent.connections.values():
        yield from _moved_apart(connection, settings.intent, configuration)
    if any(_has(interface, EvidenceSource.FIFO) for interface in interfaces):
        fifo = settings.options.notify_fifo
        if fifo not in configuration.fifos:
            theirs = ", ".join(configuration.fifos) or "none"
            yield ("agent", "notify_fifo"), f"is no notify FIFO of keepalived's (it has: {theirs})"


def _moved_apart(connection: Connection, intent: Intent, configuration: Configuration) -> Said:
    """Several ways out of one connection whose VIPs can be on different gateways: both would run it."""
    vips = {vip for name in connection.interfaces if name in intent.interfaces for vip in intent.interfaces[name].vips}
    movers = {each.name for each in configuration.instances.values() if vips & (each.vips | each.excluded)}
    if len(movers) > 1 and not any(movers <= group for group in configuration.groups):
        names = " and ".join(sorted(movers))
        rule = (
            f"keepalived's {names} move their VIPs, and are in no vrrp_sync_group together: each gateway can hold one, "
            "and both would run the connection"
        )
        yield ("connections", connection.name, "interfaces"), rule


def _interface(interface: Interface, configuration: Configuration) -> Said:
    key = ("interfaces", interface.name)
    movers = {
        vip: [each for each in configuration.instances.values() if vip in each.vips | each.excluded]
        for vip in interface.vips
    }
    for position, vip in enumerate(interface.vips):
        if not movers[vip]:
            yield (*key, "vips", position), f"no vrrp_instance of keepalived's moves {vip}"
    if interface.vrrp is None:
        for mover in {each.name: each for found in movers.values() for each in found}.values():
            declaration = (
                f'instance = "{mover.name}", vrid = {mover.vrid}, advert_interval_s = {mover.advert_interval_s:g}'
            )
            if mover.device not in {"", interface.device}:
                declaration += f', device = "{mover.device}"'
            yield (*key, "vips"), f"keepalived's {mover.name} moves them; say so: vrrp = {{ {declaration} }}"
        return
    instance = _declared(interface, interface.vrrp, configuration.instances.values())
    if instance is None:
        names = ", ".join(configuration.instances) or "none"
        name, vrid = interface.vrrp.instance, interface.vrrp.vrid
        on = interface.vrrp.device or interface.device
        what = f"vrrp_instance '{name}'" if name else f"vrrp_instance with vrid {vrid} on {on}"
        if name or vrid is not None:
            yield (*key, "vrrp"), f"keepalived has no {what} (it has: {names})"
    else:
        for position, vip in enumerate(interface.vips):
            if movers[vip] and instance not in movers[vip]:
                yield (*key, "vips", position), f"{vip} is moved by {movers[vip][0].name}, not by {instance.name}"
        yield from _instance((*key, "vrrp"), interface, interface.vrrp, instance)
    yield from _bus((*key, "vrrp", "evidence"), interface, configuration)


def _declared(interface: Interface, vrrp: VrrpDeclaration, instances: Iterable[Instance]) -> Instance | None:
    """The instance that is meant: of that name, or of that vrid on that device."""
    for each in instances:
        if vrrp.instance is not None:
            if each.name == vrrp.instance:
                return each
        elif (each.device, each.vrid) == (vrrp.device or interface.device, vrrp.vrid) and vrrp.family in {
            None,
            each.family,
        }:
            return each
    return None


def _instance(key: Key, interface: Interface, vrrp: VrrpDeclaration, instance: Instance) -> Said:
    theirs = f"keepalived's {instance.name}"
    if vrrp.vrid is not None and vrrp.vrid != instance.vrid:
        yield (*key, "vrid"), f"{theirs} has virtual_router_id {instance.vrid}"
    yield from _devices(key, interface, vrrp, instance)
    if vrrp.advert_interval_s != instance.advert_interval_s:
        yield (
            (*key, "advert_interval_s"),
            f"{theirs} has advert_int {instance.advert_interval_s:g}: silence would be judged by the wrong measure",
        )
    family = vrrp.family or interface.vips[0].version
    if family != instance.family and EvidenceSource.ADVERTS in vrrp.evidence:
        yield (*key, "family"), f"{theirs} speaks IPv{instance.family}: its adverts would never be heard"
    if frozenset(vrrp.unicast_peers) != instance.unicast_peers and EvidenceSource.ADVERTS in vrrp.evidence:
        peers = ", ".join(sorted(map(str, instance.unicast_peers))) or "none, it speaks multicast"
        yield (*key, "unicast_peers"), f"{theirs} has other ones: {peers}"
    if instance.ignores_nopreempt:
        yield (*key, "instance"), f"{theirs} says nopreempt, which keepalived ignores where the state is MASTER"


def _devices(key: Key, interface: Interface, vrrp: VrrpDeclaration, instance: Instance) -> Said:
    """Where the VIPs are, and where VRRP speaks for them: mostly, but not always, the same."""
    theirs = f"keepalived's {instance.name}"
    for where, named in (((*key[:-1], "device"), interface.device), ((*key, "device"), vrrp.device)):
        if named is not None and named == instance.vmac:
            yield where, f"is the virtual MAC's device, which comes and goes; name the one below it, {instance.device}"
            return
    moved = [vip for vip in interface.vips if vip in instance.vips | instance.excluded]
    places = {vip: instance.devices.get(vip, instance.device) for vip in moved}
    elsewhere = {vip: place for vip, place in places.items() if place not in {interface.device, instance.vmac}}
    for vip, place in elsewhere.items():
        yield (*key[:-1], "device"), f"{theirs} puts {vip} on {place or 'no interface'}"
    if instance.device != (vrrp.device or interface.device) and (vrrp.device is not None or not elsewhere):
        rule = f"{theirs} is on {instance.device or 'no interface'}: neither it nor another router would be heard"
        yield (*key, "device"), rule


def _bus(key: Key, interface: Interface, configuration: Configuration) -> Said:
    if not _has(interface, EvidenceSource.DBUS):
        return
    if not configuration.dbus:
        yield key, "keepalived has no enable_dbus in its global_defs, so dbus tells nothing but 'gone'"
    elif configuration.dbus_name is not None:
        yield (
            key,
            f"keepalived has another name on the bus, {configuration.dbus_name}, so dbus tells nothing but 'gone'",
        )


def _has(interface: Interface, source: EvidenceSource) -> bool:
    return interface.vrrp is not None and source in interface.vrrp.evidence
