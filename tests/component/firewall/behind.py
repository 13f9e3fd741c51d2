"""A host behind the gateway, whose packets the gateway forwards to the far end of its link."""

import socket
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from swanherd.core.intent import IPAddress
from tests.lab.namespaces import socket_in
from tests.lab.waiting import wait_until

from .stage import IPPROTO_RAW, MARK, PEER, UDP, Stage, Traffic, ip, packet

INSIDE: Final = {4: ip_address("10.10.0.5"), 6: ip_address("fd00:10::5")}
BEYOND: Final = {4: ip_address("10.20.0.5"), 6: ip_address("fd00:20::5")}
_GATEWAY: Final = {4: "10.10.0.1/24", 6: "fd00:10::1/64"}
_LAST: Final = Traffic("forwarded-last", UDP, (9, 9))
_GATEWAY_MAC, _MAC = "02:00:00:00:02:01", "02:00:00:00:02:02"


class Behind:
    """Sends whole packets from inside; counts on the stage what was forwarded."""

    def __init__(self, stage: Stage, netns: str) -> None:
        self._stage = stage
        self._senders = {
            4: socket_in(netns, socket.AF_INET, socket.SOCK_RAW, IPPROTO_RAW),
            6: socket_in(netns, socket.AF_INET6, socket.SOCK_RAW, IPPROTO_RAW),
        }

    def close(self) -> None:
        """Close its sockets."""
        for sock in self._senders.values():
            sock.close()

    def send(self, data: bytes, destination: IPAddress) -> None:
        """Send one whole packet."""
        self._senders[destination.version].sendto(data, (str(destination), 0))

    def arrived(
        self,
        kinds: Iterable[Traffic],
        destination: IPAddress,
        *,
        source: IPAddress | None = None,
        each: int = 20,
        later_fragment: bool = False,
    ) -> dict[str, int]:
        """Send *each* packets of every kind from inside; how many of which came out at the far end."""
        source = source or INSIDE[destination.version]
        kinds = tuple(kinds)
        self._stage.forget()
        for number in range(each):
            for kind in kinds:
                data = packet(source, destination, kind.protocol, kind.payload(number))
                if later_fragment:  # without its header, where ports would be looked for
                    mark = MARK + f"{kind.label}:{number}".encode()
                    data = _later(packet(source, destination, kind.protocol, mark))
                self.send(data, destination)
        heard = self.heard()
        return {kind.label: heard[kind.label] for kind in kinds}

    def emit(self, kind: Traffic, destination: IPAddress) -> None:
        """Send one packet of *kind* from inside."""
        self.send(packet(INSIDE[destination.version], destination, kind.protocol, kind.payload(0)), destination)

    def heard(self) -> Counter[str]:
        """What has come out at the far end, all that was sent until now included."""
        before = self._stage.listen()[_LAST.label]
        self.send(packet(INSIDE[4], PEER[4], _LAST.protocol, _LAST.payload(0)), PEER[4])
        # The kernel forwards a link's packets in their order.
        wait_until(lambda: self._stage.listen()[_LAST.label] > before, "the last packet was forwarded")
        return self._stage.listen()


def _later(data: bytes) -> bytes:
    """The packet as the last of several fragments."""
    if data[0] >> 4 == 4:
        return data[:6] + b"\x00\x40" + data[8:]
    header = bytes([data[6], 0, 0x02, 0x00, 0, 0, 0, 7])
    length = int.from_bytes(data[4:6]) + len(header)
    return data[:4] + length.to_bytes(2) + bytes([44]) + data[7:40] + header + data[40:]


@contextmanager
def behind_it(stage: Stage) -> Iterator[Behind]:
    """A host behind the gateway of *stage*, which is the calling thread's namespace and forwards from now on."""
    host = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
    netns = f"/proc/{host.pid}/ns/net"
    home = Path("/proc/thread-self/ns/net").stat().st_ino
    try:
        wait_until(lambda: Path(netns).stat().st_ino != home, "the host behind is there")
        ip(f"link add lan type veth peer name inside netns {host.pid}", f"link set lan address {_GATEWAY_MAC} up")
        ip(*(f"addr add {_GATEWAY[family]} dev lan{' nodad' if family == 6 else ''}" for family in (4, 6)))
        ip(*(f"route add default via {PEER[family]} dev wan" for family in (4, 6)))
        for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            Path("/proc/sys/net", name).write_text("1")
        batch = [f"link set inside address {_MAC} up"]
        for family in (4, 6):
            gateway = _GATEWAY[family].split("/", maxsplit=1)[0]
            prefix = _GATEWAY[family].rsplit("/", maxsplit=1)[1]
            batch += [
                f"addr add {INSIDE[family]}/{prefix} dev inside{' nodad' if family == 6 else ''}",
                f"neigh add {gateway} lladdr {_GATEWAY_MAC} dev inside nud permanent",
                f"route add default via {gateway} dev inside",
            ]
        run = ["nsenter", f"--net={netns}", "ip", "-batch", "-"]
        subprocess.run(run, input="\n".join(batch), text=True, check=True)
        sender = Behind(stage, netns)
        try:
            yield sender
        finally:
            sender.close()
    finally:
        host.kill()
        host.wait()
