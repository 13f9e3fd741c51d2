"""A name server of Debian's in a throw-away network namespace."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.component.netlink.conftest import namespace
from tests.lab.waiting import wait_until

__all__ = ["namespace"]


@dataclass(slots=True)
class Server:
    """dnsmasq on 127.0.0.1, and the files that say so."""

    directory: Path
    _process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def hosts(self) -> Path:
        """Stands for ``/etc/hosts``; not the server's."""
        return self.directory / "hosts"

    @property
    def resolv_conf(self) -> Path:
        """Names the server, which may not run."""
        return self.directory / "resolv.conf"

    def prepare(self) -> None:
        """Write the files; nothing runs."""
        self.hosts.write_text("127.0.0.1 localhost\n")
        self.resolv_conf.write_text("nameserver 127.0.0.1\n")
        self.say()

    def say(self, *records: str) -> None:
        """Have these records, as lines of a hosts file, and no others."""
        (self.directory / "records").write_text("".join(f"{record}\n" for record in records))
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = subprocess.Popen(
            ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--no-hosts", "--no-resolv",
             "--listen-address=127.0.0.1", "--bind-interfaces", "--local-ttl=1", "--auth-ttl=1", "--domain-needed",
             f"--addn-hosts={self.directory / 'records'}", f"--pid-file={self.directory / 'pid'}"]
        )  # fmt: skip
        wait_until(self._listens, "dnsmasq listens")

    @staticmethod
    def _listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", 53)) == 0

    def freeze(self) -> None:
        """It is there, and answers nothing."""
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGSTOP)

    def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def server(namespace: None, tmp_path: Path) -> Iterator[Server]:
    """A name server that has not been started."""
    del namespace
    made = Server(tmp_path)
    made.prepare()
    try:
        yield made
    finally:
        made.stop()
