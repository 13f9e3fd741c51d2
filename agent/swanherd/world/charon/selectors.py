"""Traffic selectors in one spelling, whoever wrote them: the settings, or charon showing what it made of them."""

import ipaddress
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

KEPT: Final = 4096
"""Lists of selectors remembered; they are read again and again, and rarely change."""

_SELECTOR: Final = re.compile(r"\s*(?P<hosts>[^\[\]]+?)\s*(?:\[(?P<proto>[^/\]]*)(?:/(?P<port>[^\]]*))?\])?\s*")
_RANGE: Final = re.compile(r"(?P<low>.+?)(?:\.\.|-)(?P<high>.+)")
"""Settings write ``a-b``, charon shows ``a..b``."""
_ICMP: Final = re.compile(r"(?P<type>\d+)(?:\((?P<code>\d+)\))?")
"""How charon shows a port of ICMP, which it keeps in one number; the code only where it is one."""
_ICMP_PROTOCOLS: Final = frozenset({"1", "58"})
_OPAQUE: Final = "opaque"
"""Charon takes it in small letters and shows it in capitals."""
_NUMBERS: Final = re.compile(r"\d+(-\d+)?")
_ANY: Final = frozenset({"", "any", "0", "%any"})
_PROTOCOLS: Final = {"icmp": "1", "tcp": "6", "udp": "17", "gre": "47", "esp": "50", "ah": "51", "ipv6-icmp": "58"}
"""The usual names, where the host has no ``/etc/protocols``."""


@dataclass(frozen=True, slots=True)
class _Selector:
    hosts: str
    protocol: str
    port: str
    family: int = 0
    low: int = 0
    high: int = 0

    def within(self, other: "_Selector") -> bool:
        """Whether *other* covers all of this one, as far as charon would see it."""
        return (
            self.family == other.family != 0
            and other.low <= self.low
            and self.high <= other.high
            and other.protocol in {"", self.protocol}
            and other.port in {"", self.port}
        )

    def __str__(self) -> str:
        ports = f"[{self.protocol}/{self.port}]" if self.protocol or self.port else ""
        return f"{self.hosts}{ports}"


@lru_cache(maxsize=KEPT)
def canonical(written: tuple[str, ...]) -> tuple[str, ...]:
    """*written* in one spelling and order, without those that lie within another (charon drops them, too)."""
    parsed = list(dict.fromkeys(_parse(item) for item in written))
    widest = (item for item in parsed if not any(item != other and item.within(other) for other in parsed))
    return tuple(sorted(str(item) for item in widest))


def _parse(written: str) -> _Selector:
    match = _SELECTOR.fullmatch(written)
    if match is None:
        return _Selector(hosts=written.strip(), protocol="", port="")
    protocol = _number(match["proto"] or "", names=_PROTOCOLS, lookup=socket.getprotobyname)
    port = _port(match["port"] or "", protocol)
    try:
        low, high = _bounds(match["hosts"])
    except ValueError:
        return _Selector(hosts=match["hosts"], protocol=protocol, port=port)  # "dynamic", or what we do not know
    hosts = f"{low}-{high}"
    return _Selector(hosts=hosts, protocol=protocol, port=port, family=low.version, low=int(low), high=int(high))


def _bounds(
    hosts: str,
) -> tuple[ipaddress.IPv4Address, ipaddress.IPv4Address] | tuple[ipaddress.IPv6Address, ipaddress.IPv6Address]:
    if span := _RANGE.fullmatch(hosts):
        low, high = ipaddress.ip_address(span["low"]), ipaddress.ip_address(span["high"])
        if isinstance(low, ipaddress.IPv4Address) and isinstance(high, ipaddress.IPv4Address):
            return low, high
        if isinstance(low, ipaddress.IPv6Address) and isinstance(high, ipaddress.IPv6Address):
            return low, high
        raise ValueError(hosts)
    network = ipaddress.ip_network(hosts, strict=False)
    if isinstance(network, ipaddress.IPv4Network):
        return network.network_address, network.broadcast_address
    return network.network_address, network.broadcast_address


def _port(word: str, protocol: str) -> str:
    if word.lower() == _OPAQUE:
        return _OPAQUE
    if protocol in _ICMP_PROTOCOLS:
        return _ICMP.sub(_icmp, word)
    return _number(word, names={}, lookup=socket.getservbyname)


def _icmp(shown: re.Match[str]) -> str:
    """The number that is meant: above 255 it is one already, below it is a type."""
    kind = int(shown["type"])
    return str(kind if kind > 255 else kind * 256 + int(shown["code"] or 0))


def _number(word: str, *, names: dict[str, str], lookup: Callable[[str], int]) -> str:
    if word in _ANY:
        return ""
    if word in names or _NUMBERS.fullmatch(word):
        return names.get(word, word)
    try:
        return str(lookup(word))
    except OSError:
        return word
