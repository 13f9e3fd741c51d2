"""What can go wrong with the firewall, in words that say what to do."""

import errno
import os
from typing import Final


class FirewallError(Exception):
    """The firewall cannot be read or changed; the text says what to do about it."""


class ForeignElementError(ValueError):
    """Something in our tables that no ``Wire`` has: somebody else put it there."""


_NO_NF_TABLES = (
    "this kernel has no nf_tables for the inet and arp families: load the modules nf_tables and nft_fib_inet"
)
_ADVICE: Final = {
    errno.EPERM: "not permitted to use nf_tables: run with CAP_NET_ADMIN",
    errno.ENOENT: "the table inet swanherd or arp swanherd, or a part of nf_tables (nft_fib_inet), is not there",
    errno.EOPNOTSUPP: _NO_NF_TABLES,
    errno.EAFNOSUPPORT: _NO_NF_TABLES,
    errno.EPROTONOSUPPORT: _NO_NF_TABLES,
    errno.ERESTART: "somebody else keeps changing the ruleset; see who with 'nft monitor'",
    errno.ENOBUFS: "the kernel's answer was lost, the outcome is unknown; it is read again",
    errno.EBUSY: "the table inet swanherd or arp swanherd is owned by another process (flags owner); end that process",
}


class RefusedError(FirewallError):
    """The kernel refused a request; *code* is its errno."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(_ADVICE.get(code, f"the kernel refused a change of nf_tables: {os.strerror(code)}"))
