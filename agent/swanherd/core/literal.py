"""Addresses as people and charon write them."""

from functools import lru_cache
from ipaddress import ip_address
from typing import Final

from swanherd.core.intent import IPAddress

REMEMBERED: Final = 16_384
"""More than the endpoints of a gateway: the same few are read in each decision, and in each listing of an SA."""


@lru_cache(maxsize=REMEMBERED)
def literal(text: str) -> IPAddress | None:
    """The address that *text* is; None where it is none: a hostname, a range, nothing."""
    try:
        return ip_address(text)
    except ValueError:
        return None
