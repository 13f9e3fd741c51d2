"""What a reload does to each live SA, field by field.

The tables are the contract of a reload: ``swanherd check --diff`` prints it, the reload does it, and a field without a
row fails a test. They rest on a measured fact: charon makes a live SA keep the configuration that it was made with,
through every rekey of ours and of the peer's, even after its child has left the configuration (strongSwan 5.9.8). So
nothing ever changes "at the next rekey": a change comes with a new SA or not at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

from swanherd.core.intent import Child, Connection, Interface
from swanherd.core.words import ConfigChange, Start
from swanherd.settings.loading import Settings

T = TypeVar("T", Connection, Interface, Child)

NOTHING, NEXT_SA, THIS_CHILD, RE_ESTABLISH = (
    ConfigChange.NOTHING,
    ConfigChange.NEXT_SA,
    ConfigChange.THIS_CHILD,
    ConfigChange.RE_ESTABLISH,
)


@dataclass(frozen=True, slots=True)
class Row:
    """What a change of one field does, and why."""

    effect: ConfigChange
    why: str
    setting: str = ""
    """The field's name in the settings, where the core calls it otherwise."""


_AGREED = "it was agreed with the peer when the SA was made"
_ALLOWED = "the SA uses what may no longer be allowed, and keeps it through every rekey"
_LIFETIME = "the SA keeps its lifetime through every rekey"
_PROOF = "it proves who is there when an SA is made, and never again"
_COMES_UP = "it says how an SA comes up, and this one is up"
_STAYS = "what the SA uses stays"

CONNECTION: Mapping[str, Row] = MappingProxyType(
    {
        "interfaces": Row(RE_ESTABLISH, "the source may change; one added at the end changes nothing"),
        "source_by": Row(NOTHING, "the other route is looked at at once; the SA moves where that leaves another way"),
        "remote": Row(RE_ESTABLISH, "the endpoint of the SA may have gone; a responder's SA stays"),
        "local_id": Row(RE_ESTABLISH, "the peer knows this end by the old identity"),
        "remote_id": Row(RE_ESTABLISH, "the peer was let in under the old identity"),
        "ip_version": Row(RE_ESTABLISH, "the tunnel's outside is of the other family"),
        "ike_version": Row(RE_ESTABLISH, "the SA speaks the other version"),
        "auth": Row(RE_ESTABLISH, "the peer was let in by the old method"),
        "proposals": Row(RE_ESTABLISH, _ALLOWED),
        "mobike": Row(RE_ESTABLISH, _AGREED),
        "refuse_nat": Row(NOTHING, "an SA that found no NAT stays; one that did ends", "nat_traversal = off"),
        "encap": Row(RE_ESTABLISH, _AGREED, "nat_traversal"),
        "rekey_s": Row(NEXT_SA, _LIFETIME),
        "rekey": Row(NEXT_SA, _LIFETIME),
        "dpd_delay_s": Row(NEXT_SA, "the SA keeps the delay that it was made with"),
        "dpd_timeout_s": Row(NOTHING, "the agent counts it, for a live SA too"),
        "secret": Row(NEXT_SA, _PROOF, "psk_file, psk, key_file, key_passphrase_file"),
        "certificates": Row(NEXT_SA, _PROOF, "certificate_file, ca_files"),
        "start": Row(NOTHING, _COMES_UP),
        "attempt_s": Row(NOTHING, "it bounds the next attempt"),
        "prefer_first": Row(NOTHING, "the SA stays until the first endpoint answers"),
        "move_hold_s": Row(NOTHING, "it says when the next move may be"),
        "if_id": Row(RE_ESTABLISH, "the SA belongs to the other interface", "xfrm_interface.if_id"),
        "xfrm": Row(NOTHING, "the interface is made so; what the SA uses stays", "xfrm_interface"),
        "gre": Row(NOTHING, "the device is made so; what the SA uses stays", "gre_interface"),
        "part": Row(NOTHING, "its parts are connections of their own, which come and go by name", "split"),
        "priority": Row(NOTHING, "it orders takeovers"),
        "firewall_rule": Row(NOTHING, "it is about what may come in; the firewall follows at once"),
        "when_down": Row(NOTHING, "it is about packets that find no SA; the firewall follows at once"),
    }
)
"""By field of ``core.intent.Connection``, and its secret."""

INTERFACE: Mapping[str, Row] = MappingProxyType(
    {
        "device": Row(RE_ESTABLISH, "its own address is the source; where there are vips, their place changes nothing"),
        "vips": Row(RE_ESTABLISH, "the source may change; one added at the end changes nothing"),
        "vrrp": Row(NOTHING, "it says what is evidence; the role is decided anew at once"),
    }
)
"""By field of ``core.intent.Interface``, for each connection that uses it."""

CHILD: Mapping[str, Row] = MappingProxyType(
    {
        "local_ts": Row(THIS_CHILD, _AGREED, "local"),
        "remote_ts": Row(THIS_CHILD, _AGREED, "remote"),
        "esp_proposals": Row(THIS_CHILD, _ALLOWED, "proposals"),
        "ah_proposals": Row(THIS_CHILD, _ALLOWED, "proposals"),
        "mode": Row(THIS_CHILD, _AGREED),
        "rekey_s": Row(NEXT_SA, _LIFETIME),
        "start": Row(NOTHING, _COMES_UP),
    }
)
"""By field of ``core.intent.Child``."""


_WEIGHT = (NOTHING, NEXT_SA, THIS_CHILD, RE_ESTABLISH)


@dataclass(frozen=True, slots=True)
class Change:
    """What a reload does to the live SA of a connection (``child`` is None) or of one of its children."""

    connection: str
    child: str | None
    effect: ConfigChange
    fields: tuple[str, ...] = ()
    """The fields that changed, as in the settings' own words; empty: none."""
    why: str = ""

    def __str__(self) -> str:
        name = self.connection if self.child is None else f"{self.connection}/{self.child}"
        reason = f" ({', '.join(self.fields)}: {self.why})" if self.fields else ""
        return f"{name}: {self.effect}{reason}"


def diff(old: Settings, new: Settings) -> tuple[Change, ...]:
    """What becomes of each SA that may be up under *old* when *new* comes into force; unchanged ones are listed too."""
    before, after = old.intent.connections, new.intent.connections
    changes: list[Change] = []
    for name in dict.fromkeys((*before, *after)):
        if name not in after:
            changes.append(Change(name, None, ConfigChange.REMOVED))
        elif name not in before:
            changes.append(Change(name, None, ConfigChange.ADDED))
        else:
            changes += _connection(name, old, new)
    return tuple(changes)


def _connection(name: str, old: Settings, new: Settings) -> list[Change]:
    before, after = old.intent.connections[name], new.intent.connections[name]
    rows = _changed(before, after, CONNECTION)
    if "remote" in rows and (before.start is Start.RESPOND or set(before.remote) <= set(after.remote)):
        rows["remote"] = Row(NOTHING, _STAYS)
    if "interfaces" in rows and _grown(_ways(before, old), _ways(after, new)):
        rows["interfaces"] = Row(NOTHING, _STAYS)
    for interface in before.interfaces:
        if interface in old.intent.interfaces:
            rows |= _interface(old.intent.interfaces[interface], new.intent.interfaces.get(interface))
    if _secret(old, name) != _secret(new, name):
        rows[CONNECTION["secret"].setting] = CONNECTION["secret"]
    whole = _change(name, None, rows)
    return [whole, *_children(before, after, whole.effect)]


def _interface(before: Interface, after: Interface | None) -> dict[str, Row]:
    """An interface that is gone is a change of the connection's own ``interfaces``."""
    if after is None:
        return {}
    rows = _changed(before, after, INTERFACE)
    if "device" in rows and before.vips:
        rows["device"] = Row(NOTHING, _STAYS)
    if "vips" in rows and _grown(before.vips, after.vips):
        rows["vips"] = Row(NOTHING, _STAYS)
    return {f"interfaces.{before.name}.{field}": row for field, row in rows.items()}


def _ways(connection: Connection, settings: Settings) -> tuple[object, ...]:
    """The sources that the connection can have, in order; an interface's name is nothing to an SA."""
    known = settings.intent.interfaces
    return tuple(known[name].vips or known[name].device if name in known else name for name in connection.interfaces)


def _secret(settings: Settings, name: str) -> bytes | None:
    secret = settings.secrets.get(name)
    return secret.value if secret else None


def _children(before: Connection, after: Connection, whole: ConfigChange) -> list[Change]:
    old = {child.name: child for child in before.children}
    new = {child.name: child for child in after.children}
    changes: list[Change] = []
    for name in dict.fromkeys((*old, *new)):
        if name not in new:
            changes.append(Change(before.name, name, ConfigChange.REMOVED))
        elif name not in old:
            changes.append(Change(before.name, name, ConfigChange.ADDED))
        elif whole is RE_ESTABLISH:
            changes.append(Change(before.name, name, RE_ESTABLISH))
        else:
            changes.append(_change(before.name, name, _changed(old[name], new[name], CHILD)))
    return changes


def _changed(before: T, after: T, table: Mapping[str, Row]) -> dict[str, Row]:
    """The rows of the fields that differ."""
    rows: dict[str, Row] = {}
    for name, row in table.items():
        if getattr(before, name, None) == getattr(after, name, None):
            continue
        rows[row.setting or name] = row
    return rows


def _grown(before: tuple[object, ...], after: tuple[object, ...]) -> bool:
    return len(before) > 0 and after[: len(before)] == before


def _change(connection: str, child: str | None, rows: Mapping[str, Row]) -> Change:
    if not rows:
        return Change(connection, child, NOTHING)
    heaviest = max(rows.values(), key=lambda row: _WEIGHT.index(row.effect))
    return Change(connection, child, heaviest.effect, tuple(rows), heaviest.why)


RESTART_ONLY = (
    "vici_socket", "dbus_address", "control_socket", "control_group", "metrics_listen", "state_dir", "runtime_dir",
)  # fmt: skip
"""Options that are bound to sockets and directories in use: a reload keeps the old value and says so."""


def needs_restart(old: Settings, new: Settings) -> tuple[str, ...]:
    """Options of ``[agent]`` that differ and come into force by a restart of the agent only, which loses no tunnel."""
    return tuple(name for name in RESTART_ONLY if getattr(old.options, name) != getattr(new.options, name))
