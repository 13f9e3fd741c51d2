"""The sockets to the kernel's nf_tables: one for requests, one that hears of changes.

The kernel works on a request inside ``sendmsg``, so every answer is there when the call returns: nothing here waits,
but for a transaction that somebody else is committing in the same network namespace at this moment.
"""

import errno
import itertools
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from swanherd.world.firewall.codec import (
    ACK,
    BATCH_BEGIN,
    BATCH_END,
    DONE,
    DUMP,
    DUMP_INTERRUPTED,
    ERROR,
    Message,
    Reply,
    Request,
    frame,
    replies,
)
from swanherd.world.firewall.errors import FirewallError, RefusedError

NETLINK_NETFILTER: Final = 12
SOL_NETLINK: Final = 270
NETLINK_ADD_MEMBERSHIP: Final = 1
GROUP_NF_TABLES: Final = 7
"""NFNLGRP_NFTABLES: every committed change of any table of this network namespace."""
GENERATION_ID: Final = 1
"""NFTA_GEN_ID."""

DATAGRAM_BYTES: Final = 1 << 16
"""More than the kernel puts into one datagram (32 KiB)."""
BUFFER_BYTES: Final = 4 << 20
"""Of a socket: a build with 10,000 IPv6 pairs takes 1 MiB, and no answer or notification may be lost."""


class InterruptedReadError(Exception):
    """Somebody's change fell into a dump: what was read is a mixture, read again."""


def _open() -> socket.socket:
    try:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
    except OSError as error:
        raise RefusedError(error.errno or errno.EIO) from error
    for option, forced in (
        (socket.SO_SNDBUF, getattr(socket, "SO_SNDBUFFORCE", 32)),
        (socket.SO_RCVBUF, getattr(socket, "SO_RCVBUFFORCE", 33)),
    ):
        try:
            sock.setsockopt(socket.SOL_SOCKET, forced, BUFFER_BYTES)
        except PermissionError:  # not in the namespace that owns the network: as much as is allowed
            sock.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
    return sock


class Kernel:
    """Requests to nf_tables in the network namespace in which it was made; all calls are synchronous."""

    def __init__(self) -> None:
        self._sequences = itertools.count(1)
        self._sock: socket.socket | None = None

    def close(self) -> None:
        """Close the socket; the next request opens a new one."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def generation(self) -> int:
        """The number of the ruleset's generation: it changes with every committed change of any table."""
        for reply in self.ask(Request(Message.GETGEN)):
            for kind, value in reply.attributes():
                if kind == GENERATION_ID:
                    return int.from_bytes(value)
        raise FirewallError("the kernel did not tell the generation of its ruleset")

    def ask(self, request: Request) -> list[Reply]:
        """Everything that answers a request; RefusedError, or InterruptedReadError for a dump that was disturbed."""
        sequence = self._send(lambda first: request.encode(first, 0 if request.flags & DUMP else ACK))
        found: list[Reply] = []
        for reply in self._receive():
            if reply.sequence != sequence:
                continue
            if reply.flags & DUMP_INTERRUPTED:
                self.close()
                raise InterruptedReadError
            if reply.kind == ERROR:
                if reply.error:
                    raise RefusedError(reply.error)
                return found
            if reply.kind == DONE:
                return found
            found.append(reply)
        raise FirewallError("the kernel's answer about nf_tables ended early")

    def commit(self, requests: Sequence[Request]) -> None:
        """Carry out all *requests* as one transaction, or none of them (RefusedError)."""
        sequences = [next(self._sequences) for _ in requests]
        batch = b"".join(request.encode(number, ACK) for number, request in zip(sequences, requests, strict=True))
        last = next(self._sequences)
        opening = self._send(lambda first: frame(BATCH_BEGIN, first) + batch + frame(BATCH_END, last))
        missing = set(sequences)
        for reply in self._receive():
            if reply.kind != ERROR or reply.sequence not in {opening, last, *sequences}:
                continue
            if reply.error:
                self.close()  # answers to the messages behind the refused one are still in it
                raise RefusedError(reply.error)
            missing.discard(reply.sequence)
            if not missing:
                return
        raise RefusedError(errno.ENOBUFS)

    def _send(self, encode: Callable[[int], bytes]) -> int:
        if self._sock is None:
            self._sock = _open()
        sequence = next(self._sequences)
        try:
            self._sock.send(encode(sequence))
        except OSError as error:
            self.close()
            raise RefusedError(error.errno or errno.EIO) from error
        return sequence

    def _receive(self) -> Iterator[Reply]:
        """What is in the socket; a dump goes on while it is read. Ends when the kernel has nothing more to say."""
        while self._sock is not None:
            try:
                datagram = self._sock.recv(DATAGRAM_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as error:
                self.close()
                raise RefusedError(error.errno or errno.EIO) from error
            yield from replies(datagram)


def subscribe() -> socket.socket:
    """A non-blocking socket that hears of every change of nf_tables; ENOBUFS on it means that some were lost."""
    sock = _open()
    try:
        sock.bind((0, 0))
        sock.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, GROUP_NF_TABLES)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise RefusedError(error.errno or errno.EIO) from error
    return sock
