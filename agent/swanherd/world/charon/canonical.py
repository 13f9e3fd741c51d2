"""One spelling for what ``list-conns`` shows and for what will be shown after a load, so that the two can be compared.

``list-conns`` does not show everything that was loaded (no proposals, no MOBIKE, no encapsulation); see
:class:`swanherd.core.facts.LoadedConfig` for what follows from that. Charon merges selectors that lie within one
another and writes addresses its own way; both sides go through the same here.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, TypeAlias

from swanherd.core.facts import LoadedConfig, shape
from swanherd.core.intent import Child, Connection, IPAddress
from swanherd.core.literal import literal
from swanherd.world.charon.codec import Section, inner, sections, text, texts
from swanherd.world.charon.messages import local_id, rekey_s, remote_addrs, remote_id
from swanherd.world.charon.selectors import canonical as selectors

_AUTH_CLASS: Final = {"psk": "pre-shared key", "certificate": "public key"}
"""The settings' words for an authentication, as ``list-conns`` shows them."""

_TYPED: Final = re.compile(r"(rfc822|email|userfqdn|fqdn|dns|keyid):")
"""Types that may stand in front of an identity; charon does not show them."""

_ATTRIBUTES: Final = {
    "EMAIL": "E", "EMAILADDRESS": "E", "EN": "EMPLOYEENUMBER", "UN": "UNSTRUCTUREDNAME", "UA": "UNSTRUCTUREDADDRESS",
}  # fmt: skip
"""Parts of a directory's name that can be written in two ways, and which of them charon shows."""

EXPECTED_KEPT: Final = 8192
"""Connections times sources; each costs 0.1 ms to work out and 1 kB to keep."""
SUBJECT: Final = "%subject"
"""Stands for the identity that is the subject of one's own certificate."""
UNKNOWN_SENT: Final = "?"
"""Stands for the fingerprint of what this run of the agent did not load."""

Visible: TypeAlias = Mapping[str, object]
"""What ``list-conns`` tells of a connection, in one spelling."""


def shown(name: str, section: Section, known: str | None) -> LoadedConfig:
    """What ``list-conns`` shows under *name*. What looks like *known*, the digest of our last load, is that."""
    digest = _digest(visible(section))
    if known is None or shape(known) != digest:
        known = f"{digest}.{UNKNOWN_SENT}"
    return LoadedConfig(name=name, digest=known, source=_literal(texts(section, "local_addrs")))


@lru_cache(maxsize=EXPECTED_KEPT)
def expected(connection: Connection, source: IPAddress) -> LoadedConfig:
    """What ``list-conns`` will show once *connection* is loaded from *source*."""
    digest = f"{_digest(to_be_visible(connection, source))}.{connection.fingerprint(source)}"
    return LoadedConfig(name=connection.name, digest=digest, source=source)


def difference(connection: Connection, source: IPAddress, section: Section) -> str:
    """Where *section* is not what it should be, for people; "" if it is."""
    ours, theirs = to_be_visible(connection, source), visible(section)
    return "; ".join(f"{key} is {theirs[key]}, not {ours[key]}" for key in ours if ours[key] != theirs[key])


def visible(section: Section) -> Visible:
    """A connection in ``list-conns``."""
    rounds = [(key, inner(section, key)) for key, _ in sections(section) if key != "children"]
    return {
        "local_addrs": texts(section, "local_addrs"),
        "remote_addrs": texts(section, "remote_addrs"),
        "version": text(section, "version"),
        "rekey_s": text(section, "rekey_time") or "0",
        "reauth_s": text(section, "reauth_time") or "0",
        "unique": text(section, "unique"),
        "dpd_delay_s": text(section, "dpd_delay") or "0",
        "auth": sorted(
            f"{key.partition('-')[0]} {text(auth, 'class')} {_shown_identity(auth)}" for key, auth in rounds
        ),
        "children": {child: _visible_child(inside) for child, inside in sections(inner(section, "children"))},
    }


def _visible_child(section: Section) -> Visible:
    return {
        "mode": text(section, "mode"),
        "rekey_s": text(section, "rekey_time") or "0",
        "dpd_action": text(section, "dpd_action"),
        "close_action": text(section, "close_action"),
        "local_ts": selectors(tuple(texts(section, "local-ts"))),
        "remote_ts": selectors(tuple(texts(section, "remote-ts"))),
    }


def to_be_visible(connection: Connection, source: IPAddress) -> Visible:
    """*connection* as it will be in ``list-conns``."""
    auth = _AUTH_CLASS[connection.auth]
    return {
        "local_addrs": [str(source)],
        "remote_addrs": remote_addrs(connection),
        "version": f"IKEv{connection.ike_version}",
        "rekey_s": str(rekey_s(connection)),
        "reauth_s": "0",
        "unique": "UNIQUE_NO",
        "dpd_delay_s": str(connection.dpd_delay_s),
        "auth": [
            f"local {auth} {_own_identity(connection, source)}",
            f"remote {auth} {identity(remote_id(connection))}",
        ],
        "children": {child.name: _child_to_be_visible(child, connection) for child in connection.children},
    }


def _child_to_be_visible(child: Child, connection: Connection) -> Visible:
    return {
        "mode": child.mode.upper(),
        "rekey_s": str(child.rekey_s if connection.rekey else 0),
        "dpd_action": "none",  # charon shows "clear" like this
        "close_action": "none",
        "local_ts": selectors(child.local_ts),
        "remote_ts": selectors(child.remote_ts),
    }


def _own_identity(connection: Connection, source: IPAddress) -> str:
    own = connection.local_id.value
    if connection.auth == "certificate" and (own is None or "=" in own):
        return SUBJECT
    return identity(local_id(connection, source))


def _shown_identity(auth: Section) -> str:
    """The subject of one's own certificate is written in as many ways as there are kinds of names: one word for all."""
    shown_id = text(auth, "id")
    return SUBJECT if texts(auth, "certs") and "=" in shown_id else identity(shown_id)


def identity(written: str) -> str:
    """An identity as charon shows it: without a type in front, addresses and names of the directory its own way."""
    written = _TYPED.sub("", written.strip())
    if (address := _literal([written])) is not None:
        return str(address)
    if "=" in written:
        parts = (part.strip().partition("=") for part in re.split(r"[,/]", written) if part.strip())
        return ", ".join(f"{_attribute(kind)}={value.strip()}" for kind, _, value in parts)
    if written.startswith("@#"):
        return _key_id(written[2:])
    return written.lstrip("@")


def _attribute(kind: str) -> str:
    word = kind.strip().upper()
    return _ATTRIBUTES.get(word, word)


def _key_id(digits: str) -> str:
    """Bytes as charon shows them: as text where they are."""
    try:
        raw = bytes.fromhex(digits)
    except ValueError:
        return digits
    return raw.decode() if all(0x20 <= byte < 0x7F for byte in raw) else raw.hex(":")


def _literal(addresses: list[str]) -> IPAddress | None:
    """The one address in *addresses*; None for none, several, ranges, names and ``%any``."""
    return literal(addresses[0]) if len(addresses) == 1 else None


def _digest(told: Visible) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
