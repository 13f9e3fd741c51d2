"""The lab: all hosts, wired. Faults of power and cabling are here; daemons are in :mod:`tests.lab.pair`."""

import os
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.lab import topology
from tests.lab.hosts import Host

LOGS: Final = Path("/tmp/lab")  # the private root's own /tmp, gone with it
"""Where the hosts' ``/var/log`` are: ``lab-N/HOST``, a number for each lab, since two may stand side by side."""


class Lab:
    """``with Lab() as lab:`` all hosts stand, addressed and routed, nothing runs on them. Takes well under a second."""

    def __init__(self) -> None:
        LOGS.mkdir(exist_ok=True)
        logs = Path(tempfile.mkdtemp(prefix=f"lab-{len(list(LOGS.iterdir())) + 1}-", dir=LOGS))
        self.switch = Host(topology.SWITCH, logs=logs / topology.SWITCH)
        self.hosts = {name: Host(name, logs=logs / name) for name in topology.HOSTS}
        self.has_xfrm = False
        """Whether this kernel has IPsec itself; else charon must bring its own (kernel-libipsec)."""
        self._held: dict[str, int] = {}

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    @property
    def gw_a(self) -> Host:
        """The gateway with the higher VRRP priority."""
        return self.hosts["gw-a"]

    @property
    def gw_b(self) -> Host:
        """The other gateway."""
        return self.hosts["gw-b"]

    @property
    def gateways(self) -> tuple[Host, Host]:
        """The pair."""
        return self.gw_a, self.gw_b

    @property
    def peer(self) -> Host:
        """The other end of every tunnel, and the internet's router."""
        return self.hosts["peer"]

    @property
    def client(self) -> Host:
        """A host behind the pair."""
        return self.hosts["client"]

    @property
    def server(self) -> Host:
        """A host behind the peer."""
        return self.hosts["server"]

    def close(self) -> None:
        """End every host. Nothing to do the second time."""
        for host in (*self.hosts.values(), self.switch):
            host.stop()
        for fd in self._held.values():
            os.close(fd)
        self._held.clear()

    # --- building -----------------------------------------------------------------------------------------------

    def _build(self) -> None:
        everybody = (self.switch, *self.hosts.values())
        for host in everybody:
            host.launch()
        for host in everybody:
            host.ready()
        self.has_xfrm = _has_xfrm(self.switch)
        pids = {name: host.pid for name, host in self.hosts.items()}
        # From outside the switch's pid namespace: the kernel reads the pids as the caller counts them.
        ip_batch(self.switch.netns, topology.switch_batch(pids))
        for host in self.hosts.values():
            self._configure(host)

    def _configure(self, host: Host) -> None:
        if topology.forwards(host.name):
            host.sysctl("net.ipv4.ip_forward", "1")
            host.sysctl("net.ipv6.conf.all.forwarding", "1")
        for family in (4, 6):
            ip_batch(host.netns, topology.host_batch(host.name, family), f"-{family}")
        if host is self.peer:
            host.run("nft", "-f", "-", text_in=topology.peer_ruleset(has_xfrm=self.has_xfrm))

    # --- cables and power ---------------------------------------------------------------------------------------

    def cut(self, host: Host, *nets: str) -> None:
        """Pull the cables of a host (all, or those to *nets*): its devices lose their carrier."""
        self._cables(host, nets, "down")

    def restore(self, host: Host, *nets: str) -> None:
        """Plug the cables of a host in again."""
        self._cables(host, nets, "up")

    def power_off(self, host: Host) -> None:
        """Cut all links, then kill everything with -9: nothing can say goodbye, and its kernel's state is gone."""
        self.cut(host)
        # The namespace is held only for its devices: so the switch's ports, and who listens on them, live on.
        self._held[host.name] = os.open(host.netns, os.O_RDONLY | os.O_CLOEXEC)
        host.stop()

    def power_on(self, host: Host) -> None:
        """Boot a host that is off: same cables, addresses and logs; empty /etc, /run and rulesets; nothing runs."""
        held = self._held.pop(host.name)
        try:
            host.launch()
            host.ready()
            moves = "".join(f"link set {net} netns {host.pid}\n" for net in topology.nets_of(host.name))
            ip_batch(f"/proc/{os.getpid()}/fd/{held}", moves)
        finally:
            os.close(held)
        self._configure(host)
        self.restore(host)

    def _cables(self, host: Host, nets: Iterable[str], state: str) -> None:
        chosen = tuple(nets) or topology.nets_of(host.name)
        lines = (f"link set {topology.port(host.name, net)} {state}\n" for net in chosen)
        ip_batch(self.switch.netns, "".join(lines))

    def flush_neighbours(self) -> None:
        """Make client and peer ask anew who has the virtual addresses: whoever answers first is believed."""
        for host in (self.client, self.peer):
            host.run("ip", "neighbour", "flush", "all")

    def clear_packets(self) -> int:
        """How many packets for the far net the peer has seen in clear on its WANs (and dropped)."""
        said = self.peer.run("nft", "list", "counter", "inet", "lab", "clear").stdout
        return int(said.split("packets")[1].split()[0])


def ip_batch(netns: str, batch: str, *options: str) -> None:
    """Run *batch* by ``ip`` in a network namespace; RuntimeError with what it said where it cannot."""
    done = subprocess.run(
        ["nsenter", f"--net={netns}", "ip", *options, "-batch", "-"],
        input=batch, text=True, capture_output=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"ip -batch: {done.stderr.strip()}")


def _has_xfrm(anywhere: Host) -> bool:
    """Try it: an ESP state that is taken and removed again. Names of modules and config files prove nothing."""
    ends = ("src", "192.0.2.1", "dst", "192.0.2.2", "proto", "esp", "spi", "0x5a5a")
    key = "0x" + "00" * 20
    added = anywhere.run(
        "ip", "xfrm", "state", "add", *ends, "mode", "tunnel",
        "aead", "rfc4106(gcm(aes))", key, "128", check=False,
    )  # fmt: skip
    if added.returncode != 0:
        return False
    anywhere.run("ip", "xfrm", "state", "delete", *ends)
    return True
