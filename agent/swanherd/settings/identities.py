"""Identities: who an end is, in strongSwan's notation, and what charon makes of it without a word.

Charon refuses hardly any identity: what it does not understand it takes for a key id, and of an address or a directory
name with its type in front it takes the letters for the bytes. Then this end proves, or asks for, an identity that
nobody has. So what would become something else is refused here, or written so that charon understands it.
"""

import re
from ipaddress import ip_address, ip_network
from typing import Final

from swanherd.settings.notation import address, is_address

ANY_IDENTITY: Final = "%any"

_KINDS: Final = {
    "ipv4": "ip", "ipv6": "ip", "rfc822": "email", "email": "email", "userfqdn": "email", "fqdn": "fqdn", "dns": "fqdn",
    "asn1dn": "dn", "keyid": "keyid",
}  # fmt: skip
"""Prefixes of identities, and the kind that each stands for."""

_NO_KINDS: Final = re.compile(r"(ipv[46](net|range)|asn1gn|xmppaddr|\{\d+\}):")
"""Prefixes that charon knows too, of kinds that no peer's form has."""

_ANYBODY: Final = frozenset({"*", "%any6"})
"""What charon takes for anybody, as it does the unspecified addresses."""

_ATTRIBUTES: Final = frozenset({
    "ND", "UID", "DC", "CN", "SN", "SERIALNUMBER", "C", "L", "ST", "STREET", "O", "OU", "T", "D",
    "POSTALADDRESS", "POSTALCODE", "N", "G", "I", "DNQUALIFIER", "DMDNAME", "PSEUDONYM", "ID", "EN",
    "EMPLOYEENUMBER", "E", "EMAIL", "EMAILADDRESS", "UN", "UNSTRUCTUREDNAME", "UA", "UNSTRUCTUREDADDRESS",
    "TCGID",
})  # fmt: skip
"""What charon knows in the name of a directory (5.9.8, tried one by one); with any other it is a key id to it."""


def identity(text: str) -> str:
    """An IKE identity in strongSwan's notation; ``any`` is ``%any``."""
    if text in {"any", ANY_IDENTITY}:
        return ANY_IDENTITY
    if not text or text != text.strip() or not text.isprintable():
        raise ValueError("an identity is not empty and has no blank at its ends and no control character")
    if not text.isascii():
        raise ValueError(f"'{text}' has other characters than ASCII, which charon takes in no identity")
    if _NO_KINDS.match(text):
        raise ValueError(
            f"'{text}' is of a kind that identities here cannot be (a prefix is one of {', '.join(_KINDS)})"
        )
    prefix, colon, rest = text.partition(":")
    if colon and prefix in _KINDS:
        return _typed(text, prefix, rest)
    if is_address(text):
        return _address(text)
    if text in _ANYBODY:
        raise ValueError(f"'{text}' is anybody to charon: write 'any'")
    if _is_network(text):
        raise ValueError(f"'{text}' is a network; an identity is one address, a name, or 'any'")
    if "=" in text:
        return _directory(text)
    return _at(text) if text.startswith("@") else text


def _typed(text: str, prefix: str, rest: str) -> str:
    if not rest or rest != rest.strip():
        raise ValueError(f"'{text}' names a type of identity, but no identity, or one with a blank before it")
    match _KINDS[prefix]:
        case "ip":
            if not is_address(rest) or prefix != f"ipv{ip_address(rest).version}":
                raise ValueError(f"'{text}' is not an IPv{prefix[-1]} address")
            return _address(rest)
        case "dn":
            return _directory(rest)
        case "keyid" if rest.startswith("#"):
            return _at(f"@{rest}")
        case _ if rest.startswith("#"):
            raise ValueError(f"'{text}' is in hexadecimal, which only a key id can be (keyid:#6d6f6f6e)")
        case _:
            return text


def _address(text: str) -> str:
    if ip_address(text).is_unspecified:
        raise ValueError(f"'{text}' is anybody to charon: write 'any'")
    return address(text)


def _at(text: str) -> str:
    """A name behind ``@``, or a key id in hexadecimal behind ``@#``."""
    rest = text.lstrip("@")
    if not rest:
        raise ValueError(f"'{text}' is no name")
    if text.startswith("@#") and not re.fullmatch(r"([0-9a-fA-F]{2})+", rest[1:]):
        raise ValueError(f"'{text}' is not in hexadecimal, two digits a byte")
    return text


def _directory(text: str) -> str:
    """A distinguished name: ``C=CH, O=Lab, CN=moon``, or the same with ``/`` before each part."""
    parts = text.removeprefix("/").removesuffix("/").split("/") if text.startswith("/") else text.split(",")
    for part in parts:
        kind, equals, value = part.partition("=")
        if not equals or not value.strip():
            raise ValueError(
                f"'{text}' is not a distinguished name: '{part.strip()}' is not TYPE=VALUE (keyid: takes any)"
            )
        if kind.strip().upper() not in _ATTRIBUTES:
            raise ValueError(
                f"'{text}': charon knows no '{kind.strip()}' in a distinguished name (keyid: takes any text)"
            )
    return text


def _is_network(text: str) -> bool:
    low, dash, high = text.partition("-")
    if dash and is_address(low) and is_address(high):
        return True
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def identity_kind(text: str) -> tuple[str, str]:
    """Which kind of identity charon takes *text* for, and what it is without its type.

    The kinds are ``any``, ``ip``, ``fqdn``, ``email``, ``dn`` and ``keyid``; "" is of no kind.
    """
    prefix, colon, rest = text.partition(":")
    if colon and prefix in _KINDS:
        return _KINDS[prefix], rest
    match text:
        case "":
            kind = ""
        case "%any":
            kind = "any"
        case _ if "=" in text:
            kind = "dn"
        case _ if is_address(text):
            kind = "ip"
        case _ if text.startswith("@#"):
            kind = "keyid"
        case _ if "@" in text[1:]:
            kind = "email"
        case _:
            kind = "keyid" if ":" in text else "fqdn"
    return kind, text.removeprefix("@").removeprefix("#")
