"""A stand-in for a ghost: it sends IPsec from the VIP to the peer, whether or not the VIP is here, and never stops.

Userland ESP falls silent by itself when its address goes, and so does much of the kernel's. That proves nothing about a
guard or a fence; people do set ``ip_nonlocal_bind``, and IPv6 ESP goes on by itself. So rows about them are proven with
something that never falls silent: raw ESP and ESP in UDP from the VIP, in a network namespace of a gateway.
"""

import os
import select
import socket
import struct
import threading
import time
from types import TracebackType
from typing import Final, Self

from tests.lab.hosts import Host
from tests.lab.namespaces import socket_in
from tests.lab.observe.packets import Esp, Packet

SPI: Final = 0x5AFE0000
"""The stand-in's SPI, by which the observer tells its packets from charon's. UDP carries the next one."""
EVERY_S: Final = 0.005
"""One packet of each kind to each remote so often: a silence is known to about that."""
_UDP_PORT: Final = 4500
_UDP_CHECKSUM_AT: Final = 6
_IPV6_TRANSPARENT: Final = 75
"""linux/in6.h; the socket module has no name for it."""
_IPV6_CHECKSUM: Final = 7


class StandIn:
    """Sends from *source* to *remotes* on *host* from ``__enter__`` to ``__exit__``; what is refused is counted."""

    def __init__(self, host: Host, *remotes: str, source: str, every_s: float = EVERY_S) -> None:
        self._every_s = every_s
        self._host = host
        self._remotes = remotes
        self._source = source
        self._family = socket.AF_INET6 if ":" in source else socket.AF_INET
        self._nonlocal = f"net.ipv{6 if ':' in source else 4}.ip_nonlocal_bind"
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._send, name="stand-in", daemon=True)
        self.sent = 0
        self.refused = 0
        """Sends that the kernel refused: the firewall (EPERM), or no route."""

    @property
    def tries(self) -> int:
        """How often it has tried to send."""
        return self.sent + self.refused

    def __enter__(self) -> Self:
        self._host.sysctl(self._nonlocal, "1")
        self._esp = self._bound(socket.IPPROTO_ESP)
        # A raw socket for UDP too: charon has the port.
        self._udp = self._bound(socket.IPPROTO_UDP)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()
        for sock in (self._esp, self._udp):
            sock.close()
        if self._host.up:
            self._host.sysctl(self._nonlocal, "0")

    def _bound(self, protocol: int) -> socket.socket:
        sock = socket_in(self._host.netns, self._family, socket.SOCK_RAW, protocol)
        # The sysctl lets it bind; IPv4 finds no route from an address that is not here without this too.
        if self._family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TRANSPARENT, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_TRANSPARENT, 1)
            if protocol == socket.IPPROTO_UDP:
                sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_CHECKSUM, _UDP_CHECKSUM_AT)
        sock.bind((self._source, 0))
        return sock

    def _send(self) -> None:
        due = time.monotonic()
        sequence = 0
        while not self._end.is_set():
            sequence += 1
            body = os.urandom(48)
            esp = struct.pack("!II", SPI, sequence) + body
            inner = struct.pack("!II", SPI + 1, sequence) + body
            udp = struct.pack("!HHHH", _UDP_PORT, _UDP_PORT, 8 + len(inner), 0) + inner
            for remote in self._remotes:
                for sock, packet in ((self._esp, esp), (self._udp, udp)):
                    self._one(sock, packet, remote)
            # Never to catch up: a burst after a busy moment would tell nothing about the time that it missed.
            due = max(due + self._every_s, time.monotonic())
            select.select([], [], [], max(0.0, due - time.monotonic()))

    def _one(self, sock: socket.socket, packet: bytes, remote: str) -> None:
        try:
            sock.sendto(packet, (remote, 0))
        except OSError:
            self.refused += 1
        else:
            self.sent += 1


def is_stand_in(packet: Packet) -> bool:
    """Whether the observer's *packet* is one of the stand-in's."""
    return isinstance(packet.content, Esp) and int(packet.content.spi, 16) in {SPI, SPI + 1}
