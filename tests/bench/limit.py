"""Charon's own best: everything is loaded; this initiates it at the VIP's netlink event, and does nothing else.

    python -m tests.bench.limit --connections N [--per-endpoint 2] [--overall 16]

No decision, no record, no firewall, no read-back: the limit that swanherd is judged against. Same window of handshakes
in flight, driven by charon's events; the neighbours are told too, as an answer to a stale MAC would be lost.
"""

import argparse
import gc
import select
import socket
import struct
from collections import deque
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

from vici.protocol import FiniteStream, Message, Packet

from swanherd.world.announce import Announcer
from tests.lab.charon import VICI
from tests.lab.observe.holders import read_events
from tests.lab.peer import gateway_tunnel
from tests.lab.topology import vip

SOCKETS: Final = 3
"""For commands; more do not make charon faster (measured)."""
READY: Final = "/run/limit.ready"
_IPV4_ADDRESSES: Final = 0x10  # RTMGRP_IPV4_IFADDR
_LENGTH: Final = struct.Struct("!I")
_READ_BYTES: Final = 65536


class Connection:
    """A vici connection: bytes out, whole packets in."""

    def __init__(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(VICI)
        self._buffer = b""

    def send(self, packet: bytes) -> None:
        """Send one packet."""
        self.sock.sendall(_LENGTH.pack(len(packet)) + packet)

    def packets(self) -> list[bytes]:
        """Read once: the packets that are whole now."""
        self._buffer += self.sock.recv(_READ_BYTES)
        found = []
        while len(self._buffer) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._buffer)[0]
            if len(self._buffer) < end:
                break
            found.append(self._buffer[_LENGTH.size : end])
            self._buffer = self._buffer[end:]
        return found


class Limit:
    """The client."""

    def __init__(self, names: list[str], *, in_flight: int) -> None:
        self._names = names
        self._limit = in_flight
        self._initiates = {name: _command("initiate", ike=name, child="lan", timeout="-1") for name in names}
        self._terminates = [_command("terminate", ike=name, force="yes", timeout="-1") for name in names]
        self._waiting: deque[str] = deque()
        self._in_flight: set[str] = set()
        self._queue: deque[bytes] = deque()
        self._address = IPv4Address(vip("wan1"))
        self._announcer = Announcer()
        self._kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._kernel.bind((0, _IPV4_ADDRESSES))
        self._events = Connection()
        self._events.send(Packet.register_event("child-updown"))
        self._events.packets()
        self._commands = [Connection() for _ in range(SOCKETS)]
        self._idle = list(self._commands)

    def run(self) -> None:
        """Until the host ends."""
        poll = select.epoll()
        by_fd = {connection.sock.fileno(): connection for connection in (self._events, *self._commands)}
        for fd in (self._kernel.fileno(), *by_fd):
            poll.register(fd, select.EPOLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == self._kernel.fileno():
                    self._address_events()
                elif by_fd[fd] is self._events:
                    self._charon_events()
                elif by_fd[fd].packets():
                    self._idle.append(by_fd[fd])
            self._go_on()

    def _address_events(self) -> None:
        for event in read_events(self._kernel.recv(_READ_BYTES)):
            if event.address == str(self._address):
                self._in_flight.clear()
                self._waiting = deque(self._names if event.present else ())
                self._queue = deque(() if event.present else self._terminates)
                if event.present:
                    self._announcer.announce(self._address, "wan1")

    def _charon_events(self) -> None:
        for packet in self._events.packets():
            body = packet[2 + packet[1] :]
            event = Message.deserialize(FiniteStream(body))
            if event.get("up") == b"yes":
                self._in_flight.difference_update(event)

    def _go_on(self) -> None:
        while self._idle and (self._queue or (self._waiting and len(self._in_flight) < self._limit)):
            if self._queue:
                packet = self._queue.popleft()
            else:
                name = self._waiting.popleft()
                self._in_flight.add(name)
                packet = self._initiates[name]
            self._idle.pop().send(packet)


def _command(name: str, **fields: str) -> bytes:
    packet: bytes = Packet.request(name, Message.serialize(fields))
    return packet


def main() -> None:
    """Parse, say that it is ready, run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--in-flight", type=int, default=2, help="handshakes at once; all are to one endpoint here")
    options = parser.parse_args()
    names = [gateway_tunnel(number).name for number in range(options.connections)]
    limit = Limit(names, in_flight=options.in_flight)
    gc.disable()
    Path(READY).touch()
    limit.run()


if __name__ == "__main__":
    main()
