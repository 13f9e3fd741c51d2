"""Two real charons in network namespaces of their own, on one cable."""

import itertools
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Final

from vici import Session

from swanherd.core.intent import Child, Connection
from swanherd.core.words import Start
from tests.lab.waiting import wait_until

_PLUGINS: Final = (
    "random nonce pem x509 constraints pubkey pkcs1 pkcs8 openssl "
    "hmac kdf {userland} kernel-netlink socket-default vici"
)
_NUMBERS: Final = itertools.count(1)
IMPATIENT: Final = "retransmit_timeout = 0.2\n retransmit_tries = 1\n"
"""A peer that does not answer is given up in half a second."""
SECRET: Final = b"between-the-two-of-us"


@dataclass(slots=True)
class Site:
    """A network namespace with one address on the cable, one behind it, and a charon."""

    name: str
    netns: str
    ip: IPv4Address
    inner: IPv4Address
    directory: Path
    options: str = IMPATIENT
    """More of strongswan.conf's ``charon-systemd`` section, for the next start."""
    userland: bool = True
    """Whether charon encrypts by itself: for kernels without IPsec. Without it nothing comes up there."""
    _process: subprocess.Popen[bytes] | None = None
    _sessions: list[socket.socket] = field(default_factory=list)

    @property
    def socket_path(self) -> str:
        """Where vici listens."""
        return str(self.directory / "vici")

    @property
    def pid(self) -> int:
        """Of the charon that was started last."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start charon, and wait until vici takes calls."""
        conf = self.directory / "strongswan.conf"
        conf.write_text(f"""\
charon-systemd {{
    load = {_PLUGINS.format(userland="kernel-libipsec" if self.userland else "")}
    {self.options}
    plugins {{
        vici {{ socket = unix://{self.socket_path} }}
    }}
    filelog {{
        log {{
            path = {self.directory}/log
            default = 1
            flush_line = yes
        }}
    }}
}}
""")
        argv = ["ip", "netns", "exec", self.netns, "charon-systemd"]
        with (self.directory / "out").open("ab") as out:
            self._process = subprocess.Popen(
                argv, env={**os.environ, "STRONGSWAN_CONF": str(conf)}, stdout=out, stderr=out
            )
        wait_until(self._answers, f"vici of {self.name}", every_s=0.005)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(self.socket_path) == 0

    def kill(self) -> None:
        """End charon with -9; the socket's file stays behind, as on a real host."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Stop charon in its tracks."""
        os.kill(self.pid, signal.SIGSTOP)
        wait_until(lambda: Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T", "frozen")

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def ip_command(self, *argv: str) -> None:
        """``ip`` in this namespace."""
        subprocess.run(["ip", "-n", self.netns, *argv], check=True)

    def vici(self) -> Any:
        """A session of the library's own, for what somebody else does to charon."""
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(self.socket_path)
        sock.settimeout(60)  # emulated, one answer can take long
        self._sessions.append(sock)
        return Session(sock)

    def swanctl(self, *argv: str) -> str:
        """What an operator types; swanctl.conf is empty."""
        empty = self.directory / "swanctl.conf"
        empty.touch()
        argv = ("swanctl", *argv, "--uri", f"unix://{self.socket_path}", "--file", str(empty))
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout

    def log(self) -> str:
        """Charon's log so far."""
        return (self.directory / "log").read_text(errors="replace")

    def close(self) -> None:
        """End everything here."""
        for sock in self._sessions:
            sock.close()
        self.kill()
        subprocess.run(["ip", "netns", "del", self.netns], check=True)


@contextmanager
def two_sites(directory: Path, *, userland: bool = True, impatient: bool = True) -> Iterator[tuple[Site, Site]]:
    """Two sites with running charons; *impatient* ones give a peer up in half a second."""
    number = next(_NUMBERS)
    sites = []
    for name, last in (("left", 1), ("right", 2)):
        home = directory / name
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        netns = f"{name}{number}"
        subprocess.run(["ip", "netns", "add", netns], check=True)
        sites.append(
            Site(
                name,
                netns,
                IPv4Address(f"10.9.0.{last}"),
                IPv4Address(f"10.{last}.0.1"),
                home,
                # A kernel with IPsec may be an emulated one, in which an answer takes its time.
                options=IMPATIENT if impatient and userland else "",
                userland=userland,
            )
        )
    left, right = sites
    try:
        left.ip_command("link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", right.netns)
        for site in sites:
            site.ip_command("addr", "add", f"{site.ip}/24", "dev", "cable")
            site.ip_command("addr", "add", f"{site.inner}/32", "dev", "lo")
            site.ip_command("link", "set", "lo", "up")
            site.ip_command("link", "set", "cable", "up")
        for site in sites:
            site.start()
        yield left, right
    finally:
        for site in sites:
            site.close()


def connection(here: Site, there: Site, name: str = "office", **changes: Any) -> Connection:
    """A connection from *here* to *there*, with the child ``lan`` between the inner addresses."""
    child = Child(name="lan", local_ts=(f"{here.inner}/32",), remote_ts=(f"{there.inner}/32",))
    plain = Connection(name=name, interfaces=("wan",), remote=(str(there.ip),), children=(child,), start=Start.CONNECT)
    return replace(plain, **changes)
