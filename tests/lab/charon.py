"""charon on a host of the lab: charon-systemd at its stock paths, without systemd."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tests.lab.daemon import Daemon
from tests.lab.hosts import Host
from tests.lab.waiting import wait_until

VICI: Final = "/run/charon.vici"
LOG: Final = "charon.log"

_PLUGINS: Final = (
    "random",
    "nonce",
    "pem",
    "x509",
    "constraints",
    "pubkey",
    "pkcs1",
    "pkcs8",
    "openssl",
    "hmac",
    "kdf",
)
_PLUGINS_END: Final = ("kernel-netlink", "socket-default", "vici")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tunnel:
    """One connection with one child in swanctl's notation, seen from one end. Equal selectors on both ends, swapped."""

    name: str
    local_id: str
    remote_id: str
    local_ts: str
    remote_ts: str
    secret: str
    local_addrs: str = "%any"
    remote_addrs: str = "%any"
    child: str = "lan"
    options: Mapping[str, str] = field(default_factory=dict)
    """More settings of the connection, e.g. ``{"version": "2", "proposals": "aes256-sha256-ecp256"}``."""
    child_options: Mapping[str, str] = field(default_factory=dict)
    """More settings of the child, e.g. ``{"start_action": "start"}``."""


def swanctl_conf(*tunnels: Tunnel) -> str:
    """A swanctl.conf with these connections and their pre-shared keys."""
    connections = "".join(
        f"""\
    {tunnel.name} {{
        local_addrs = {tunnel.local_addrs}
        remote_addrs = {tunnel.remote_addrs}
{_settings(tunnel.options, 8)}\
        local {{
            auth = psk
            id = {tunnel.local_id}
        }}
        remote {{
            auth = psk
            id = {tunnel.remote_id}
        }}
        children {{
            {tunnel.child} {{
                local_ts = {tunnel.local_ts}
                remote_ts = {tunnel.remote_ts}
{_settings(tunnel.child_options, 16)}\
            }}
        }}
    }}
"""
        for tunnel in tunnels
    )
    secrets = "".join(
        f"""\
    ike-{tunnel.name} {{
        id-local = {tunnel.local_id}
        id-remote = {tunnel.remote_id}
        secret = "{tunnel.secret}"
    }}
"""
        for tunnel in tunnels
    )
    return f"connections {{\n{connections}}}\nsecrets {{\n{secrets}}}\n"


class Charon(Daemon):
    """The IKE daemon of a host. Its log is ``charon.log``; vici is at the stock path."""

    def __init__(self, host: Host, *, has_xfrm: bool, options: Mapping[str, str] | None = None) -> None:
        super().__init__(host, "charon-systemd", log="charon.out")
        self.has_xfrm = has_xfrm
        self.options = dict(options or {})
        """Settings of strongswan.conf's ``charon-systemd`` section, read at the next start."""

    @property
    def vici(self) -> str:
        """The vici socket as the lab can connect to it."""
        return str(self.host.path(VICI))

    def start(self) -> None:
        """Start it with the options of now, and wait until vici takes calls (about 15 ms)."""
        self.host.write("/etc/strongswan.conf", self._conf())
        super().start()
        wait_until(self._answers, f"vici of {self!r}", every_s=0.002)

    def load(self, *tunnels: Tunnel) -> None:
        """Make these the only connections and secrets of swanctl.conf, and load them as an operator does."""
        self.host.write("/etc/swanctl/swanctl.conf", swanctl_conf(*tunnels), mode=0o600)
        self.host.run("swanctl", "--load-all")

    def journal(self) -> str:
        """Its log so far, over all its runs."""
        path = self.host.log(LOG)
        return path.read_text(errors="replace") if path.exists() else ""

    def _answers(self) -> bool:
        if not self.running:
            raise AssertionError(f"{self!r} ended at once: {self.said()}{self.journal()}")
        with socket.socket(socket.AF_UNIX) as probe:
            # A socket file of the last run may still be there: only a connection proves that somebody listens.
            return probe.connect_ex(self.vici) == 0

    def _conf(self) -> str:
        # Userland ESP must be named before kernel-netlink, or that one is asked for IPsec first and refuses.
        ours = () if self.has_xfrm else ("kernel-libipsec",)
        plugins = " ".join((*_PLUGINS, *ours, *_PLUGINS_END))
        return f"""\
charon-systemd {{
    load = {plugins}
{_settings(self.options, 4)}\
    filelog {{
        main {{
            path = /var/log/{LOG}
            time_format = %H:%M:%S
            time_add_ms = yes
            ike_name = yes
            flush_line = yes
            default = 1
        }}
    }}
}}
include strongswan.d/swanherd*.conf
"""


def _settings(options: Mapping[str, str], indent: int) -> str:
    return "".join(f"{'':{indent}}{key} = {value}\n" for key, value in options.items())
