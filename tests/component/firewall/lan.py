"""A gateway on a LAN with two more hosts: one asks where addresses are, the other one owns the VIP too when told to.

What a host knows of others is read from its neighbour cache, so the test sees what routers and clients would do.
"""

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from swanherd.core.intent import IPAddress
from tests.lab.namespaces import socket_in
from tests.lab.waiting import wait_until

from .stage import OWN, VIP, ip, vip

GATEWAY_MAC: Final = "02:00:00:00:00:01"
NEW_MAC: Final = "02:00:00:00:01:01"
OWNER_MAC: Final = "02:00:00:00:00:02"
ASKER_MAC: Final = "02:00:00:00:00:03"
ASKER: Final = {4: ip_address("192.0.2.3"), 6: ip_address("2001:db8::3")}
PREFIX: Final = {4: 32, 6: 128}
RETRANSMIT_MS: Final = 100
"""Between a host's three questions for an address; a second in the kernel's default, which only makes tests slow."""
_SETTLED: Final = {"REACHABLE", "STALE", "DELAY", "PROBE", "FAILED", "PERMANENT"}


class Host:
    """One host of the LAN; *netns* is None for the gateway, which is the calling thread's namespace."""

    def __init__(self, device: str, netns: str | None = None) -> None:
        self.device = device
        self.netns = netns

    def run(self, *command: str) -> str:
        """What *command* prints on the host."""
        entered = command if self.netns is None else ("nsenter", f"--net={self.netns}", *command)
        return subprocess.run(entered, check=True, capture_output=True, text=True).stdout

    def ip(self, *commands: str) -> None:
        """Run `ip` commands."""
        for command in commands:
            self.run("ip", *command.split())

    def ask(self, whom: IPAddress, *, source: IPAddress | None = None) -> str | None:
        """Forget where *whom* is and send it a packet, from *source*; the MAC that came of it, None: no answer."""
        self.forget(whom)
        kind = {4: socket.AF_INET, 6: socket.AF_INET6}[whom.version]
        sender = (
            socket.socket(kind, socket.SOCK_DGRAM)
            if self.netns is None
            else socket_in(self.netns, kind, socket.SOCK_DGRAM)
        )
        with sender:
            if source is not None:
                sender.bind((str(source), 0))
            sender.sendto(b"where are you", (str(whom), 9))
        entry = wait_until(lambda: self._entry(whom), f"{whom} is resolved or not")
        return entry.get("lladdr")

    def forget(self, whom: IPAddress) -> None:
        """Drop what the neighbour cache has of *whom*."""
        self.ip(f"neigh replace {whom} lladdr 02:00:00:00:00:ff dev {self.device} nud permanent")
        self.ip(f"neigh del {whom} dev {self.device}")

    def knows(self, whom: IPAddress) -> str | None:
        """The MAC under which the cache has *whom* now."""
        return self._entry(whom).get("lladdr")

    def _entry(self, whom: IPAddress) -> dict[str, str]:
        """The settled entry of *whom*; empty while there is none."""
        for entry in json.loads(self.run("ip", "-json", "neigh", "show", "to", str(whom), "dev", self.device)):
            if _SETTLED & set(entry["state"]):
                return entry  # type: ignore[no-any-return]  # JSON
        return {}


class Lan:
    """The gateway, which has its VIPs; and the two others."""

    def __init__(self, owner: Host, asker: Host) -> None:
        self.gateway = Host("wan")
        self.owner = owner
        self.asker = asker

    def own(self, family: int, *, checked: bool = False) -> None:
        """The owner takes the VIP; *checked*: after asking whether somebody has it (IPv6)."""
        how = "" if family == 4 or checked else " nodad"
        self.owner.ip(f"addr add {VIP[family]}/{PREFIX[family]} dev {self.owner.device}{how}")

    def disown(self, family: int) -> None:
        """The owner gives it up."""
        self.owner.ip(f"addr del {VIP[family]}/{PREFIX[family]} dev {self.owner.device}")

    def refused(self, family: int) -> bool:
        """Whether the owner was told that somebody has the VIP already."""

        def flags() -> set[str]:
            shown = self.owner.run("ip", "-json", "addr", "show", "dev", self.owner.device, "to", str(VIP[family]))
            (address,) = (info for link in json.loads(shown) for info in link["addr_info"] if "local" in info)
            return {flag for flag in ("tentative", "dadfailed") if address.get(flag)}

        wait_until(lambda: flags() != {"tentative"}, "the check ends")
        return "dadfailed" in flags()

    def answers(self, family: int, *, times: int = 5) -> set[str | None]:
        """From which MACs the VIP answers the asker."""
        return {self.asker.ask(VIP[family]) for _ in range(times)}


def _host(stack: ExitStack, name: str) -> tuple[Host, int]:
    """A namespace, and the process that keeps it; its device is still to come."""
    process = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
    stack.callback(process.wait)
    stack.callback(process.kill)
    netns = f"/proc/{process.pid}/ns/net"
    home = Path("/proc/thread-self/ns/net").stat().st_ino
    wait_until(lambda: Path(netns).stat().st_ino != home, "the namespace is there")
    return Host(name, netns), process.pid


def _started(host: Host, mac: str, addresses: dict[int, IPAddress]) -> None:
    host.ip(
        f"link set {host.device} address {mac}",
        f"link set {host.device} up",
        f"addr add {addresses[4]}/24 dev {host.device}",
        f"addr add {addresses[6]}/64 dev {host.device} nodad",
        f"ntable change name arp_cache dev {host.device} retrans {RETRANSMIT_MS}",
        f"ntable change name ndisc_cache dev {host.device} retrans {RETRANSMIT_MS}",
    )


@contextmanager
def joined() -> Iterator[Lan]:
    """A LAN whose gateway is the calling thread's namespace; its VIPs are here."""
    with ExitStack() as stack:
        switch, switch_pid = _host(stack, "switch")
        switch.ip("link add switch type bridge", "link set switch up")
        owner, owner_pid = _host(stack, "owner")
        asker, asker_pid = _host(stack, "asker")
        ip(f"link add wan type veth peer name gateway netns {switch_pid}")
        for name, pid in (("owner", owner_pid), ("asker", asker_pid)):
            switch.ip(f"link add {name} type veth peer name {name} netns {pid}")
        for port in ("gateway", "owner", "asker"):
            switch.ip(f"link set {port} master switch up")
        _started(Host("wan"), GATEWAY_MAC, OWN)
        _started(owner, OWNER_MAC, {4: ip_address("192.0.2.4"), 6: ip_address("2001:db8::4")})
        _started(asker, ASKER_MAC, ASKER)
        vip("replace")
        yield Lan(owner, asker)
