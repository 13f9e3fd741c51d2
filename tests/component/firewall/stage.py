"""A gateway's namespace with a link to a far one: what is sent here by raw sockets, and what arrives there.

The sender writes whole IP headers, so it sends from an address that is not here, as charon's ESP in the kernel does;
the receiver looks at the far end of the link, behind everything that the gateway's firewall can do.
"""

import socket
import struct
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Final

from swanherd.core.intent import IPAddress
from tests.lab.namespaces import socket_in
from tests.lab.waiting import wait_until

ETH_P_ALL: Final = 3
IPPROTO_RAW: Final = 255
MARK: Final = b"swanherd-test:"

VIP: Final = {4: ip_address("192.0.2.1"), 6: ip_address("2001:db8::1")}
OWN: Final = {4: ip_address("192.0.2.2"), 6: ip_address("2001:db8::2")}
PEER: Final = {4: ip_address("192.0.2.9"), 6: ip_address("2001:db8::9")}
OTHER_PEER: Final = {4: ip_address("192.0.2.8"), 6: ip_address("2001:db8::8")}


@dataclass(frozen=True)
class Traffic:
    """One kind of packet."""

    label: str
    protocol: int
    ports: tuple[int, int] | None = None
    head: bytes = b""
    """What a header of another protocol begins with."""

    def payload(self, number: int) -> bytes:
        """The bytes behind the IP header, with a mark that the receiver finds."""
        head = self.head
        mark = MARK + f"{self.label}:{number}".encode()
        if self.protocol == socket.IPPROTO_UDP and self.ports:
            head = struct.pack("!HHHH", *self.ports, 8 + len(mark), 0)
        elif self.protocol == socket.IPPROTO_TCP and self.ports:
            head = struct.pack("!HHIIBBHHH", *self.ports, 1, 0, 5 << 4, 2, 1024, 0, 0)
        elif self.protocol in {50, 51}:
            head = struct.pack("!II", 0x0BADCAFE, number)
        return head + mark


UDP, TCP = socket.IPPROTO_UDP, socket.IPPROTO_TCP
IPSEC: Final = (
    Traffic("esp", 50),
    Traffic("ah", 51),
    Traffic("ike", UDP, (500, 500)),
    Traffic("nat-t", UDP, (4500, 4500)),
    Traffic("ike-to", UDP, (40000, 500)),
    Traffic("nat-t-from", UDP, (4500, 40000)),
)
OTHERS: Final = (
    Traffic("bgp", TCP, (40000, 179)),
    Traffic("bgp-passive", TCP, (179, 500)),
    Traffic("ssh", TCP, (40000, 22)),
    Traffic("bfd", UDP, (49152, 3784)),
    Traffic("vxlan", UDP, (4501, 4789)),
    Traffic("gre", 47),
    Traffic("vrrp", 112),
    Traffic("ospf", 89),
)
_LAST: Final = Traffic("last", UDP, (9, 9))
"""Sent behind all others: when it has arrived, so has what left before it."""


def packet(source: IPAddress, destination: IPAddress, protocol: int, payload: bytes) -> bytes:
    """A whole IP packet."""
    if isinstance(source, IPv6Address):
        return struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64) + source.packed + destination.packed + payload
    total = 20 + len(payload)
    return (
        struct.pack("!BBHHHBBH", 0x45, 0, total, 0, 0, 64, protocol, 0) + source.packed + destination.packed + payload
    )


class Stage:
    """Sends in the namespace of the calling thread, and counts at the far end."""

    def __init__(self, far_netns: str) -> None:
        self.netns = far_netns
        """The far namespace."""
        # It stays in the far namespace, whoever reads it.
        self._ear = socket_in(far_netns, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._ear.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self._ear.bind(("far", 0))
        self._ear.setblocking(False)
        self._senders = {
            4: socket.socket(socket.AF_INET, socket.SOCK_RAW, IPPROTO_RAW),
            6: socket.socket(socket.AF_INET6, socket.SOCK_RAW, IPPROTO_RAW),
        }
        self._heard: Counter[str] = Counter()
        self._number = 0

    def close(self) -> None:
        """Close its sockets."""
        for sock in (self._ear, *self._senders.values()):
            sock.close()

    def emit(self, traffic: Traffic, source: IPAddress, destination: IPAddress) -> bool:
        """Send one packet; False: the sender was told that it may not."""
        self._number += 1
        data = packet(source, destination, traffic.protocol, traffic.payload(self._number))
        try:
            self._senders[source.version].sendto(data, (str(destination), 0))
        except PermissionError:
            return False
        return True

    def arrived(
        self, kinds: Iterable[Traffic], source: IPAddress, destination: IPAddress | None = None, *, each: int = 20
    ) -> dict[str, int]:
        """Send *each* packets of every kind; how many of which arrived at the far end."""
        destination = destination or PEER[source.version]
        self.listen()
        self._heard.clear()
        kinds = tuple(kinds)
        for _ in range(each):
            for kind in kinds:
                self.emit(kind, source, destination)
        return {kind.label: count for kind, count in zip(kinds, self.counted(kinds), strict=True)}

    def counted(self, kinds: Iterable[Traffic]) -> list[int]:
        """What has arrived of *kinds* since the last count, all that was sent until now included."""
        before = self._heard["last"]
        assert self.emit(_LAST, OWN[4], PEER[4])
        wait_until(lambda: self.listen()["last"] > before, "the last packet arrives")
        return [self._heard[kind.label] for kind in kinds]

    def forget(self) -> None:
        """Count from zero again."""
        self.listen()
        self._heard.clear()

    def listen(self) -> Counter[str]:
        """Take what has arrived."""
        while True:
            try:
                data = self._ear.recv(2048)
            except BlockingIOError:
                return self._heard
            at = data.find(MARK)
            if at >= 0:
                self._heard[data[at + len(MARK) :].split(b":")[0].decode()] += 1


def ip(*commands: str) -> None:
    """Run commands in one `ip` process."""
    subprocess.run(["ip", "-batch", "-"], input="\n".join(commands), text=True, check=True)


def vip(verb: str) -> None:
    """Put the VIPs (`replace`) on the gateway, or take them away (`del`)."""
    ip(f"addr {verb} {VIP[4]}/32 dev wan", f"addr {verb} {VIP[6]}/128 dev wan nodad")
    # The kernel puts an IPv6 address to use some 50 us after it says that it is there.
    command = ["ip", "-6", "route", "show", "table", "local", f"{VIP[6]}"]
    here = verb == "replace"
    wait_until(
        lambda: bool(subprocess.run(command, check=True, capture_output=True, text=True).stdout) is here,
        f"{VIP[6]} is {'here' if here else 'gone'}",
    )


@contextmanager
def staged() -> Iterator[Stage]:
    """A stage whose gateway is the calling thread's namespace; its VIPs are not here yet."""
    far = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
    netns = f"/proc/{far.pid}/ns/net"
    home = Path("/proc/thread-self/ns/net").stat().st_ino
    try:
        wait_until(lambda: Path(netns).stat().st_ino != home, "the far namespace is there")
        ip(f"link add wan type veth peer name far netns {far.pid}", "link set wan up")
        subprocess.run(
            ["nsenter", f"--net={netns}", "ip", "-batch", "-"],
            input="link set far address 02:00:00:00:00:09\nlink set far up\n",
            text=True,
            check=True,
        )
        neighbours = (
            f"neigh add {address} lladdr 02:00:00:00:00:09 dev wan nud permanent"
            for peers in (PEER, OTHER_PEER)
            for address in peers.values()
        )
        ip(f"addr add {OWN[4]}/24 dev wan", f"addr add {OWN[6]}/64 dev wan nodad", *neighbours)
        stage = Stage(netns)
        try:
            yield stage
        finally:
            stage.close()
    finally:
        far.kill()
        far.wait()
