"""Charon's own best: everything is loaded; this initiates it at the VIP's netlink event, and does nothing else.

    python -m tests.bench.limit --connections N [--peers K] [--family 6] [--empty]

No decision, no record, no firewall, no read-back: the limit that swanherd is judged against. The window of handshakes
in flight is swanherd's, driven by charon's events; the neighbours are told too: an answer to a stale MAC would be lost.
Charon (before 6.0.3) tells no event of a handshake that fails: one that has told nothing for half a second is asked
about, is begun anew where charon knows it no more, and has five seconds in all. Where all goes well nothing is asked.

With ``--empty`` the secrets alone are loaded beforehand: each connection is loaded just before its handshake, and
unloaded at the end, as whoever keeps a standby empty has to.
"""

import argparse
import gc
import select
import socket
import struct
import time
from collections import deque
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from vici.exception import CommandException
from vici.protocol import FiniteStream, Message, Packet

from swanherd.runtime.window import OVERALL, PER_ENDPOINT
from swanherd.world.announce import Announcer
from tests.bench.handshakes import Handshakes
from tests.bench.site import Site
from tests.lab.asking import vici_session
from tests.lab.charon import VICI, Tunnel
from tests.lab.observe.holders import read_events

SOCKETS: Final = 3
"""For commands; more do not make charon faster (measured)."""
READY: Final = "/run/limit.ready"
_ADDRESSES: Final = 0x10 | 0x100  # RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR
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

    def __init__(self, site: Site, *, empty: bool) -> None:
        tunnels = site.tunnels()
        endpoints = {each.name: each.remote_addrs for each in tunnels}
        self._handshakes = Handshakes(endpoints, per_endpoint=PER_ENDPOINT, overall=OVERALL)
        self._initiates = {
            each.name: _command("initiate", ike=each.name, child=each.child, timeout="-1") for each in tunnels
        }
        self._loads = {each.name: _load(each) for each in tunnels if empty}
        self._ends = [_command("terminate", ike=name, force="yes", timeout="-1") for name in endpoints]
        self._ends += [_command("unload-conn", name=name) for name in self._loads]
        self._ending: deque[bytes] = deque()
        self._address = ip_address(site.source)
        self._here = False
        self._announcer = Announcer()
        self._kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._kernel.bind((0, _ADDRESSES))
        self._events = Connection()
        self._events.send(Packet.register_event("child-updown"))
        while not self._events.packets():  # charon writes the length of its answer, and then the answer
            pass
        self._commands = [Connection() for _ in range(SOCKETS)]
        self._idle = list(self._commands)
        self._asked: dict[Connection, str] = {}
        """Whose handshake a connection has been told to begin."""
        self._loading: dict[Connection, str] = {}
        """Who is being loaded by it, to be begun next."""

    def run(self) -> None:
        """Until the host ends."""
        poll = select.epoll()
        by_fd = {connection.sock.fileno(): connection for connection in (self._events, *self._commands)}
        for fd in (self._kernel.fileno(), *by_fd):
            poll.register(fd, select.EPOLLIN)
        while True:
            look = self._handshakes.next_look()
            for fd, _ in poll.poll(None if look is None else max(0.0, look - time.monotonic())):
                if fd == self._kernel.fileno():
                    self._address_events()
                elif by_fd[fd] is self._events:
                    self._charon_events()
                elif by_fd[fd].packets():
                    self._answered(by_fd[fd])
            for name in self._handshakes.due(time.monotonic()):
                self._look(name)
            self._go_on()

    def _address_events(self) -> None:
        for event in read_events(self._kernel.recv(_READ_BYTES)):
            if event.address != str(self._address) or event.present == self._here:
                continue  # a repeated one changes flags or lifetimes
            self._here = event.present
            if event.present:
                self._announcer.announce(self._address, "wan1")
                self._handshakes.begin()
            else:
                self._handshakes.forget()
                self._ending = deque(self._ends)

    def _charon_events(self) -> None:
        for packet in self._events.packets():
            body = packet[2 + packet[1] :]
            event = Message.deserialize(FiniteStream(body))
            if event.get("up") == b"yes":
                for name in event:
                    self._handshakes.up(name)

    def _answered(self, connection: Connection) -> None:
        if name := self._loading.pop(connection, ""):
            self._begin(name, connection)
            return
        self._idle.append(connection)
        if name := self._asked.pop(connection, ""):
            self._handshakes.sent(name, time.monotonic())

    def _look(self, name: str) -> None:
        """Ask charon what became of a handshake. Waits for the answer: what is asked about has failed, or hangs."""
        with vici_session(Path(VICI)) as session:
            sas = [sa for entry in session.list_sas({"ike": name}) for sa in entry.values()]
            if any(child["state"] == b"INSTALLED" for sa in sas for child in sa.get("child-sas", {}).values()):
                self._handshakes.up(name)
            elif not any(sa["state"] == b"CONNECTING" for sa in sas):
                self._fail(name, "it has failed")
            elif self._handshakes.late(name, time.monotonic()):
                # Else the next try would join this one, and wait for charon's next retransmission.
                with suppress(CommandException):
                    list(session.terminate({"ike": name, "force": "yes", "timeout": "-1"}))
                self._fail(name, "no answer")

    def _fail(self, name: str, why: str) -> None:
        print(f"{time.monotonic():.3f} {name}: {why}", flush=True)
        self._handshakes.failed(name)

    def _go_on(self) -> None:
        while self._idle:
            if self._ending:
                self._idle.pop().send(self._ending.popleft())
                continue
            name = self._handshakes.next(time.monotonic())
            if name is None:
                return
            connection = self._idle.pop()
            if name in self._loads:
                self._loading[connection] = name
                connection.send(self._loads[name])
            else:
                self._begin(name, connection)

    def _begin(self, name: str, connection: Connection) -> None:
        self._asked[connection] = name
        connection.send(self._initiates[name])


def _command(command: str, /, **fields: str) -> bytes:
    packet: bytes = Packet.request(command, Message.serialize(fields))
    return packet


def _load(tunnel: Tunnel) -> bytes:
    conf = {
        "local_addrs": [tunnel.local_addrs],
        "remote_addrs": [tunnel.remote_addrs],
        "mobike": "no",
        "local": {"auth": "psk", "id": tunnel.local_id},
        "remote": {"auth": "psk", "id": tunnel.remote_id},
        "children": {tunnel.child: {"local_ts": [tunnel.local_ts], "remote_ts": [tunnel.remote_ts]}},
    }
    packet: bytes = Packet.request("load-conn", Message.serialize({tunnel.name: conf}))
    return packet


def arguments(site: Site, *, empty: bool) -> tuple[str, ...]:
    """What to start it with."""
    where = ("--connections", str(site.connections), "--peers", str(site.peers), "--family", str(site.family))
    return (*where, "--empty") if empty else where


def main() -> None:
    """Parse, say that it is ready, run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--peers", type=int, default=1)
    parser.add_argument("--family", type=int, choices=(4, 6), default=4)
    parser.add_argument("--empty", action="store_true", help="nothing but secrets is loaded beforehand")
    options = parser.parse_args()
    site = Site(connections=options.connections, peers=options.peers, family=options.family)
    limit = Limit(site, empty=options.empty)
    gc.disable()
    Path(READY).touch()
    limit.run()


if __name__ == "__main__":
    main()
