"""The two kinds of netlink socket: one that hears events, and one for each reading of a table.

They are never the same socket: on a shared one, events made by other processes can pass for rows of our reading, or a
reading ends early without an error. A reading gets a fresh socket, so one that was cancelled leaves nothing behind.
"""

import asyncio
import ctypes
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from swanherd.world.netlink.messages import (
    NLM_F_DUMP_INTR,
    NLMSG_DONE,
    NLMSG_ERROR,
    NLMSG_OVERRUN,
    RT_TABLE_MAIN,
    RTM_DELROUTE,
    RTM_NEWROUTE,
    Message,
    decode,
    dump_request,
    error_of,
    parts,
)

DATAGRAM_BYTES: Final = 1 << 16
"""The kernel cuts its datagrams to the reader's buffer, at most 32 KiB; a shorter buffer would cut messages off."""

BURST_DATAGRAMS: Final = 16
"""About 5000 addresses, which the kernel lists in 3 ms."""

DUMP_TIMEOUT_S: Final = 5.0
"""The kernel answers a reading while it is asked (10 000 addresses: 6 ms); silence this long is a broken socket."""

_GROUPS: Final = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
"""RTMGRP_LINK, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE."""

_PATH_GROUPS: Final = 0x40 | 0x80 | 0x400 | 1 << 18 | 1 << 31
"""RTNLGRP_IPV4_ROUTE, IPV4_RULE, IPV6_ROUTE, IPV6_RULE and NEXTHOP as bits."""

HINT_BUFFER_BYTES: Final = 4096
"""A few events: one is as good as a thousand."""

_SOL_NETLINK, _NETLINK_GET_STRICT_CHK = 270, 12
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE = 26, 33
_SEQUENCE = 1


@dataclass(frozen=True, slots=True)
class Reading:
    """What a table held, and whether nothing changed while it was read.

    Each row of an unclean one was there; but something that was there all the time may be missing.
    """

    rows: list[Message]
    clean: bool


def open_events(receive_buffer_bytes: int) -> socket.socket:
    """A subscribed, non-blocking socket. OSError where there is none to be had."""
    with _kept(_open()) as events:
        try:
            events.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, receive_buffer_bytes)
        except PermissionError:  # without CAP_NET_ADMIN net.core.rmem_max is the limit
            events.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        _keep_default_routes_only(events)
        events.bind((0, _GROUPS))
    return events


def open_hints() -> socket.socket:
    """A non-blocking socket on which something comes when a route, rule or nexthop of whatever table changes.

    It is small on purpose, and may overflow: then a routing daemon moves a million routes, and it is heard that they
    move. OSError where there is none to be had.
    """
    with _kept(_open()) as hints:
        hints.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, HINT_BUFFER_BYTES)
        hints.bind((0, _PATH_GROUPS))
    return hints


def open_questions() -> socket.socket:
    """A non-blocking socket for single questions, which the kernel answers while they are sent."""
    with _kept(_open()) as questions:
        questions.bind((0, 0))
    return questions


@contextmanager
def _kept(sock: socket.socket) -> Iterator[socket.socket]:
    """*sock*, which stays open if what is done to it works."""
    try:
        yield sock
    except BaseException:  # whatever ends this, the socket is not left open
        sock.close()
        raise


async def dump(kind: int) -> Reading:
    """All that the kernel has of *kind* (an ``RTM_GET...``). OSError, also when the kernel stays silent.

    Taken from the kernel in bursts, so that little can change meanwhile, and decoded in slices of one datagram.
    """
    rows: list[Message] = []
    clean, done = True, False
    with _open() as asking:
        with suppress(OSError):  # before Linux 4.20: rows of other tables come as well and are not decoded
            asking.setsockopt(_SOL_NETLINK, _NETLINK_GET_STRICT_CHK, 1)
        asking.bind((0, 0))
        asking.send(dump_request(kind, _SEQUENCE))
        async with asyncio.timeout(DUMP_TIMEOUT_S):
            while not done:
                for datagram in await _burst(asking):
                    for part in parts(datagram):
                        clean &= not part.flags & NLM_F_DUMP_INTR and part.type != NLMSG_OVERRUN
                        if part.type in {NLMSG_ERROR, NLMSG_DONE}:
                            if number := error_of(part, datagram):
                                raise OSError(number, f"the kernel refused to list (request {kind})")
                            done = True
                        elif message := decode(part, datagram):
                            rows.append(message)
                    await asyncio.sleep(0)
    return Reading(rows, clean)


async def _burst(asking: socket.socket) -> list[bytes]:
    """At least one datagram, and what else is there at once; the kernel makes each while it is asked for it."""
    burst = [await asyncio.get_running_loop().sock_recv(asking, DATAGRAM_BYTES)]
    with suppress(BlockingIOError):
        while len(burst) < BURST_DATAGRAMS:
            burst.append(asking.recv(DATAGRAM_BYTES))
    return burst


def _open() -> socket.socket:
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    return socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)


class _FilterProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def _keep_default_routes_only(events: socket.socket) -> None:
    """Lets no other route through: a routing daemon that moves a million of them must not overflow this socket.

    A route's destination length is at byte 17 of the message and its table at byte 20. The filter loads big-endian,
    the message's type is in the host's order.
    """

    def seen(number: int) -> int:
        return int.from_bytes(number.to_bytes(2, sys.byteorder), "big")

    load_half, load_byte, if_equal, give = 0x28, 0x30, 0x15, 0x06
    program = (
        (load_half, 0, 0, 4),
        (if_equal, 1, 0, seen(RTM_NEWROUTE)),
        (if_equal, 0, 4, seen(RTM_DELROUTE)),
        (load_byte, 0, 0, 17),
        (if_equal, 0, 3, 0),
        (load_byte, 0, 0, 20),
        (if_equal, 0, 1, RT_TABLE_MAIN),
        (give, 0, 0, 0xFFFFFFFF),
        (give, 0, 0, 0),
    )
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    argument = _FilterProgram(len(program), code)
    events.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, bytes(argument))
