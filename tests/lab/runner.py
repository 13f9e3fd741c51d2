"""What moves the IPsec on a gateway of the lab: swanherd, or the notify script that people use today."""

import os
import select
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Final, Protocol

from tests.lab.charon import swanctl_conf
from tests.lab.daemon import Daemon
from tests.lab.hosts import HERE, Host
from tests.lab.peer import gateway_tunnel
from tests.lab.waiting import PATIENCE

AGENT_CONF: Final = "/etc/swanherd/swanherd.toml"
AGENT_READY_S: Final = 20.0 * PATIENCE
"""An agent that is not ready by then is not going to be."""
NOTIFY_SCRIPT: Final = "/etc/keepalived/notify.sh"
_UNIT: Final = HERE.parents[1] / "systemd/swanherd.service"
NICE: Final = int(_UNIT.read_text().partition("\nNice=")[2].partition("\n")[0])
"""The agent's, as in its unit."""
_READY_SOCKET: Final = "/run/ready.sock"


class Runner(Protocol):
    """The part of a gateway that differs between the two kinds of pair."""

    notify: str | None
    """The script that keepalived calls, if any."""

    def install(self) -> None:
        """Put its files on the host, which has just booted."""

    def start(self) -> None:
        """Start it, and wait until it is ready; charon is there already, keepalived not yet."""


class NotifyScript:
    """The baseline: keepalived's notify script runs swanctl (``tests/lab/notify``). Nothing of it runs in between."""

    notify: str | None = NOTIFY_SCRIPT

    def __init__(self, host: Host, *, connections: int = 1) -> None:
        self._host = host
        self._connections = connections

    def install(self) -> None:
        """Put the script and what it loads where how-tos put them."""
        files = HERE / "notify"
        self._host.write(NOTIFY_SCRIPT, (files / "notify.sh").read_text(), mode=0o755)
        for name in ("swanctl.conf", "standby.conf"):
            self._host.write(f"/etc/swanctl/{name}", (files / name).read_text(), mode=0o600)
        more = [
            replace(gateway_tunnel(number), child_options={"start_action": "start"})
            for number in range(1, self._connections)
        ]
        if more:
            self._host.write("/etc/swanctl/conf.d/more.conf", swanctl_conf(*more), mode=0o600)

    def start(self) -> None:
        """Nothing to start: keepalived starts the script."""


class Agent(Daemon):
    """swanherd on a gateway: ``swanherd run`` with the configuration *config*; its log is ``swanherd.log``."""

    notify: str | None = None

    def __init__(self, host: Host, config: str, *, files: Mapping[str, str] | None = None) -> None:
        super().__init__(host, "python3", "-m", "swanherd", "run", "--config", AGENT_CONF, log="swanherd.log")
        self.config = config
        """Text of the configuration file; :meth:`install` writes it."""
        self.files = dict(files or {})
        """More files by absolute path, e.g. secrets; readable for root only."""
        self._ready: socket.socket | None = None

    def install(self) -> None:
        """Write the configuration and its files."""
        for path, text in self.files.items():
            self.host.write(path, text, mode=0o600)
        self.host.write(AGENT_CONF, self.config, mode=0o600)

    def start(self) -> None:
        """Start it and wait for its ``READY=1``, as systemd would."""
        self.launch()
        self.ready()

    def launch(self) -> None:
        """Start it without waiting."""
        if self._ready is not None:
            self._ready.close()
        path = self.host.path(_READY_SOCKET)
        path.unlink(missing_ok=True)
        # Stays bound while the agent runs, and may fill up: an agent must survive a manager that does not read.
        self._ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._ready.bind(str(path))
        path.chmod(0o666)  # an agent that is not root tells it too
        if self.running:
            raise RuntimeError(f"{self!r} runs already")
        self._process = self.host.spawn(*self._argv, log=self.log, env={"NOTIFY_SOCKET": _READY_SOCKET})
        with suppress(PermissionError):  # whoever may not raise it has a slower agent, and no other one
            os.setpriority(os.PRIO_PROCESS, self._process.pid, NICE)

    def ready(self, *, within_s: float = AGENT_READY_S) -> None:
        """Wait for ``READY=1``; AssertionError with its log when it ends before, or does not say so in time."""
        if self._ready is None:
            raise RuntimeError("launch() comes first")
        # 20 ms slices, so that an agent that ends at once is seen at once.
        for _ in range(int(within_s / 0.02)):
            if select.select([self._ready], [], [], 0.02)[0] and b"READY=1" in self._ready.recv(4096).split(b"\n"):
                return
            if not self.running:
                raise AssertionError(f"{self!r} ended before it was ready:\n{self.said()}")
        raise AssertionError(f"{self!r} not ready within {within_s:g} s:\n{self.said()}")
