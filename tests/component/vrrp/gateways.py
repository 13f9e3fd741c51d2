"""Two gateways on one cable, with real keepaliveds: the test's thread is on ours, the other is a named namespace."""

import itertools
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.lab.waiting import wait_until

ADVERT_S: Final = 0.1
VRID: Final = 51
_NUMBERS: Final = itertools.count(1)


def ip(*commands: str, netns: str | None = None) -> None:
    """Run one or many commands in one `ip` process."""
    where = ["-n", netns] if netns else []
    subprocess.run(["ip", *where, "-batch", "-"], input="\n".join(commands), text=True, check=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vrrp:
    """What an instance is like; equal on both gateways but for what is said per gateway."""

    version: int = 3
    family: int = 4
    unicast: bool = False
    advert_s: float = ADVERT_S
    extra: str = ""
    """More lines of the instance, e.g. ``use_vmac``."""
    extra_global: str = ""

    @property
    def vip(self) -> str:
        """The instance's first virtual address."""
        return "203.0.113.10" if self.family == 4 else "fe80::10"


@dataclass(slots=True)
class Gateway:
    """One end of the cable; its device is ``wan``."""

    netns: str | None
    """None: the test's own namespace."""
    number: int
    directory: Path
    _process: subprocess.Popen[bytes] | None = field(default=None)

    def address(self, family: int) -> str:
        """Its own address on the cable."""
        return f"203.0.113.{self.number}" if family == 4 else f"fe80::{self.number}"

    def ip(self, *commands: str) -> None:
        """Run `ip` commands there."""
        ip(*commands, netns=self.netns)

    def start(self, vrrp: Vrrp, *, priority: int) -> None:
        """Start keepalived there."""
        conf = self.directory / "keepalived.conf"
        conf.write_text(self._conf(vrrp, priority))
        enter = ["ip", "netns", "exec", self.netns] if self.netns else []
        names = {"-f": conf, "-p": "pid", "-r": "vrrp.pid", "-c": "checkers.pid"}
        argv = [*enter, "keepalived", "-n", "-l", "-D", *(str(each) for n in names.items() for each in n)]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=self.directory, start_new_session=True)

    def _conf(self, vrrp: Vrrp, priority: int) -> str:
        other = Gateway(None, 5 - self.number, self.directory).address(vrrp.family)
        peers = f"unicast_src_ip {self.address(vrrp.family)}\n unicast_peer {{ {other} }}" if vrrp.unicast else ""
        own = "" if vrrp.family == 4 or "use_vmac" in vrrp.extra else f"mcast_src_ip {self.address(6)}"
        return f"""\
global_defs {{
    vrrp_version {vrrp.version}
    router_id gw{self.number}
    {vrrp.extra_global}
}}
vrrp_instance VI_1 {{
    state BACKUP
    interface wan
    virtual_router_id {VRID}
    priority {priority}
    advert_int {vrrp.advert_s}
    {own if not vrrp.unicast else ""}
    {peers}
    {vrrp.extra}
    virtual_ipaddress {{
        {vrrp.vip}/{24 if vrrp.family == 4 else 64}
    }}
}}
"""

    def stop(self) -> None:
        """Ask it to end, and wait for that."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(10)

    def kill(self) -> None:
        """End its processes with -9, without a goodbye."""
        assert self._process is not None
        for number in (signal.SIGSTOP, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
        # Its children live in sessions of their own where keepalived makes them so.
        self._process.wait(10)

    def freeze(self) -> None:
        """Stop all of it."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def close(self) -> None:
        """Leave nothing behind."""
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def log(self) -> str:
        """What keepalived printed."""
        return (self.directory / "log").read_text()

    def holds(self, address: str) -> bool:
        """Whether *address* is there."""
        where = ["-n", self.netns] if self.netns else []
        shown = subprocess.run(["ip", *where, "-o", "addr"], capture_output=True, text=True, check=True).stdout
        return f" {address}/" in shown


@dataclass(slots=True)
class Gateways:
    """Both."""

    ours: Gateway
    theirs: Gateway


@contextmanager
def gateways(directory: Path) -> Iterator[Gateways]:
    """Ours is the namespace of the calling thread."""
    netns = f"theirs{next(_NUMBERS)}"
    both = []
    for number, name in ((2, None), (3, netns)):
        where = directory / f"gw{number}"
        where.mkdir()
        both.append(Gateway(name, number, where))
    subprocess.run(["ip", "netns", "add", netns], check=True)
    try:
        ip(f"link add wan type veth peer name wan netns {netns}")
        for gateway in both:
            gateway.ip(
                "link set lo up",
                "link set wan addrgenmode none",
                "link set wan up",
                f"addr add {gateway.address(4)}/24 dev wan",
                f"addr add {gateway.address(6)}/64 dev wan nodad",
            )
        yield Gateways(*both)
    finally:
        for gateway in both:
            gateway.close()
        subprocess.run(["ip", "netns", "del", netns], check=True)


def until_holds(gateway: Gateway, address: str) -> None:
    """Wait for a VIP."""
    wait_until(lambda: gateway.holds(address), f"{address} at gw{gateway.number}", every_s=0.02)
