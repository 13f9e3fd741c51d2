"""A DNS server in the lab: dnsmasq on the peer, which both gateways ask; its records change, it freezes and dies."""

import os
import signal
from collections.abc import Iterable
from typing import Final

from tests.lab.daemon import Daemon
from tests.lab.hosts import Host

RECORDS: Final = "/etc/records"


class NameServer(Daemon):
    """dnsmasq; its log is ``dnsmasq.log``."""

    def __init__(self, host: Host, place: str) -> None:
        super().__init__(
            host, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--no-hosts",
            "--no-resolv", f"--listen-address={place}", "--bind-interfaces", "--local-ttl=1", f"--addn-hosts={RECORDS}",
            "--pid-file=/run/dnsmasq.pid", log="dnsmasq.log",
        )  # fmt: skip
        self.place = place

    def say(self, *records: str) -> None:
        """Have these records, as lines of a hosts file, and no others."""
        self.host.write(RECORDS, "".join(f"{record}\n" for record in records))
        if self.running:
            os.kill(self.pid, signal.SIGHUP)

    def serve(self, hosts: Iterable[Host]) -> None:
        """Have *hosts* ask this server."""
        for host in hosts:
            host.write("/etc/resolv.conf", f"nameserver {self.place}\n")
