"""Finds and deletes the kernel's states and policies between given addresses, one by one.

A charon that is killed leaves both, and they work on: what they protect is still sent, from an address that may have
become another gateway's. A new charon does not list them. A charon that lives removes its own; so this is only asked
for what no charon has.
"""

import errno
import itertools
import os
import socket
from collections.abc import Callable, Collection, Iterator
from typing import Final

from swanherd.core.facts import Pair
from swanherd.core.intent import IPAddress
from swanherd.world.xfrm.codec import DONE, DUMP_INTERRUPTED, ERROR, Policy, Reply, State, listing, replies

NETLINK_XFRM: Final = 6
DATAGRAM_BYTES: Final = 1 << 16
"""More than the kernel puts into one datagram (32 KiB)."""
ANSWER_S: Final = 1.0
"""The kernel answers within the call; silence is a broken socket."""
LISTINGS: Final = 5
"""How often a listing is begun anew because something changed meanwhile."""
NO_IPSEC: Final = frozenset({errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT})
"""A kernel without XFRM: there charon carries ESP itself, and all of it dies with charon."""
GONE: Final = frozenset({errno.ESRCH, errno.ENOENT})
"""It expired, or somebody else deleted it, between the listing and now."""


class KernelIpsecError(OSError):
    """The kernel's IPsec cannot be read or changed; the text says why."""


class KernelIpsec:
    """The states and policies of the network namespace in which it is called; every call is synchronous and short."""

    def __init__(self) -> None:
        self._sequences = itertools.count(1)

    def sweep(self, pairs: Collection[Pair], if_ids: Collection[int] = (0,)) -> int:
        """Delete all that was made for IPsec between *pairs*, in both directions, and see that it is gone.

        What belongs to an XFRM interface is touched only where its number is among *if_ids* (0: to none). Answers how
        many states and policies went.
        KernelIpsecError where something is left, or cannot be read.
        """
        try:
            with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_XFRM) as sock:
                sock.settimeout(ANSWER_S)
                found = self._find(sock, pairs, if_ids)
                # Policies first: without its states, a policy would ask charon for new ones.
                for item in sorted(found, key=lambda item: isinstance(item, State)):
                    self._delete(sock, item)
                left = self._find(sock, pairs, if_ids) if found else []
        except OSError as error:
            if error.errno in NO_IPSEC:
                return 0
            raise KernelIpsecError(f"the kernel's IPsec cannot be swept: {error.strerror or error}") from error
        if left:
            raise KernelIpsecError(f"{len(left)} of the kernel's IPsec states and policies came back")
        return len(found)

    def _find(self, sock: socket.socket, pairs: Collection[Pair], if_ids: Collection[int]) -> list[State | Policy]:
        ours = _matcher(pairs)
        return [
            item
            for policies in (True, False)
            for item in self._list(sock, policies=policies)
            if item.if_id in if_ids and any(ours(*ends) for ends in _ends(item))
        ]

    def _list(self, sock: socket.socket, *, policies: bool) -> list[State | Policy]:
        rows: list[Reply] = []
        for _ in range(LISTINGS):
            sequence = next(self._sequences)
            sock.send(listing(policies=policies, sequence=sequence))
            rows = list(_answers(sock, sequence))
            if not any(row.flags & DUMP_INTERRUPTED for row in rows):
                return [item for row in rows if (item := row.parse()) is not None]
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    def _delete(self, sock: socket.socket, item: State | Policy) -> None:
        sequence = next(self._sequences)
        sock.send(item.deletion(sequence))
        try:
            list(_answers(sock, sequence))
        except OSError as error:
            if error.errno not in GONE:
                raise


def _answers(sock: socket.socket, sequence: int) -> Iterator[Reply]:
    """What answers the request *sequence*, to its end; OSError with the kernel's refusal."""
    while True:
        for reply in replies(sock.recv(DATAGRAM_BYTES)):
            if reply.sequence != sequence:
                continue
            if reply.kind in {ERROR, DONE} and reply.error > 0:
                raise OSError(reply.error, os.strerror(reply.error))
            yield reply
            if reply.kind in {ERROR, DONE}:
                return


def _ends(item: State | Policy) -> tuple[tuple[IPAddress, IPAddress], ...]:
    return item.ends if isinstance(item, Policy) else ((item.source, item.destination),)


def _matcher(pairs: Collection[Pair]) -> Callable[[IPAddress, IPAddress], bool]:
    by_source: dict[IPAddress, list[Pair]] = {}
    for pair in pairs:
        by_source.setdefault(pair.source, []).append(pair)

    def between(one: IPAddress, other: IPAddress) -> bool:
        return any(
            remote in pair.remote
            for source, remote in ((one, other), (other, one))
            for pair in by_source.get(source, ())
        )

    return between
