"""Throws away what waits in the kernel for a neighbour's MAC.

While a neighbour does not answer (its cable is out, say) up to a hundred packets to it wait for 3 s, *behind* every
hook of the firewall: a fence that came meanwhile does not stop what leaves when it answers at last.
"""

import os
import socket
import struct
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import Final

from swanherd.world.netlink.messages import (
    NLMSG_DONE,
    NLMSG_ERROR,
    Part,
    attribute,
    attributes,
    error_of,
    parts,
    request,
)

ANSWER_S: Final = 0.1
"""The kernel answers within the call; silence is a broken socket."""
DATAGRAM_BYTES: Final = 1 << 16

_DELETE, _GET = 29, 30
"""RTM_DELNEIGH, RTM_GETNEIGH; each row of a listing is an RTM_NEWNEIGH."""
_NEW: Final = 28
_INCOMPLETE: Final = 0x01
"""NUD_INCOMPLETE: asked for, not answered; the only state in which packets wait."""
_DESTINATION: Final = 1
"""NDA_DST."""
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_NEIGHBOUR = struct.Struct("=BxxxiHBB")  # family, index, state, flags, type


def drop_waiting(devices: Collection[str]) -> str:
    """Drop what waits for any neighbour on *devices*; why that could not be done, "" if it was.

    A neighbour entry that nobody has answered is deleted, and its packets with it; the next packet to that neighbour
    asks anew. A listing of a thousand neighbours takes the kernel 0.3 ms.
    """
    indices = set()
    for device in devices:
        with suppress(OSError):  # gone, and its neighbours with it
            indices.add(socket.if_nametoindex(device))
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as sock:
            sock.settimeout(ANSWER_S)
            sock.send(request(_GET, _REQUEST | _DUMP, 1, _NEIGHBOUR.pack(socket.AF_UNSPEC, 0, 0, 0, 0)))
            waiting = [row for part, data in _answers(sock, 1) if (row := _incomplete(part, data, indices))]
            for sequence, row in enumerate(waiting, start=2):
                sock.send(request(_DELETE, _REQUEST | _ACK, sequence, row))
                with suppress(FileNotFoundError):  # answered, or given up, meanwhile
                    list(_answers(sock, sequence))
    except (OSError, ValueError) as error:
        return f"packets that wait for a neighbour cannot be dropped: {error}"
    return ""


def _answers(sock: socket.socket, sequence: int) -> Iterator[tuple[Part, bytes]]:
    """The rows that answer the request *sequence*, to its end; OSError with the kernel's refusal."""
    while True:
        data = sock.recv(DATAGRAM_BYTES)
        for part in parts(data):
            if part.sequence != sequence:
                continue
            if part.type in {NLMSG_ERROR, NLMSG_DONE}:
                if number := error_of(part, data):
                    raise OSError(number, os.strerror(number))
                return
            yield part, data


def _incomplete(part: Part, data: bytes, indices: Collection[int]) -> bytes:
    """What names the entry in a request to delete it; empty where nothing waits for it, or not on *indices*."""
    if part.type != _NEW or part.end - part.start < _NEIGHBOUR.size:
        return b""
    family, index, state, _flags, _type = _NEIGHBOUR.unpack_from(data, part.start)
    if not state & _INCOMPLETE or index not in indices:
        return b""
    destination = attributes(data, part.start + _NEIGHBOUR.size, part.end).get(_DESTINATION, b"")
    return _NEIGHBOUR.pack(family, index, 0, 0, 0) + attribute(_DESTINATION, destination) if destination else b""
