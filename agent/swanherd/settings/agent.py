"""The table ``[agent]``: what concerns the agent as a whole, not one connection."""

from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, Field

from swanherd.settings import notation
from swanherd.settings.about import About
from swanherd.settings.fields import Table

Port = Annotated[int, Field(ge=1, le=65535)]
_Directory = Annotated[str, AfterValidator(notation.directory)]
_Socket = Annotated[str, AfterValidator(notation.socket_path)]


class Listen(NamedTuple):
    """Where the metrics are served."""

    host: str
    port: int


class Options(Table):
    """Agent-wide options; every one has a default."""

    vici_socket: Annotated[
        _Socket,
        About(
            text="Charon's vici socket.",
            example='vici_socket = "/run/charon.vici"',
            strongswan="charon.plugins.vici.socket",
        ),
    ] = "/run/charon.vici"
    ike_ports: Annotated[
        tuple[Port, ...],
        Field(strict=False, min_length=1, max_length=8),
        About(
            text="The ports on which this gateway's charon speaks IKE, and UDP-encapsulated ESP. Tells the firewall "
            "table what is IPsec; charon's own ports are set in strongswan.conf.",
            example="ike_ports = [500, 4500]",
            strongswan="charon.port, charon.port_nat_t",
        ),
    ] = (500, 4500)
    swanctl_conf: Annotated[
        _Directory,
        About(
            text="Other people's connections: a connection of the same name is refused, since `swanctl --load-all` "
            "would replace ours. A file that is not there has none.",
            example='swanctl_conf = "/etc/swanctl/swanctl.conf"',
        ),
    ] = "/etc/swanctl/swanctl.conf"
    strongswan_conf: Annotated[
        _Directory,
        About(
            text="charon's configuration, which `swanherd check` compares with these settings. A file that is not "
            "there is not compared.",
            example='strongswan_conf = "/etc/strongswan.conf"',
        ),
    ] = "/etc/strongswan.conf"
    keepalived_conf: Annotated[
        _Directory,
        About(
            text="keepalived's configuration, which `swanherd check` compares with these settings. A file that is not "
            "there is not compared.",
            example='keepalived_conf = "/etc/keepalived/keepalived.conf"',
        ),
    ] = "/etc/keepalived/keepalived.conf"
    keepalived_pid_file: Annotated[
        _Directory,
        About(
            text="keepalived's pid file, for the evidence `process`; the one of its VRRP process, `vrrp.pid`, is "
            "looked for beside it.",
            example='keepalived_pid_file = "/run/keepalived.pid"',
        ),
    ] = "/run/keepalived.pid"
    notify_fifo: Annotated[
        _Directory | None,
        About(
            text="The FIFO of keepalived's `vrrp_notify_fifo`, for the evidence `fifo`; made if it is missing. "
            "Nobody else may read it.",
            example='notify_fifo = "/run/swanherd-notify.fifo"',
        ),
    ] = None
    dbus_address: Annotated[
        str | None,
        Field(min_length=1, max_length=1024),
        About(
            text="The D-Bus address of the bus on which keepalived is, for the evidence `dbus`.",
            example='dbus_address = "unix:path=/run/dbus/system_bus_socket"',
            default="the system bus",
        ),
    ] = None
    control_socket: Annotated[
        _Socket | None,
        About(
            text="The local control socket that `swanherd status` and `swanherd reload` speak to.",
            example='control_socket = "/run/swanherd/control.sock"',
            default="control.sock in runtime_dir",
        ),
    ] = None
    control_group: Annotated[
        str | None,
        Field(pattern=r"^[a-z_][a-z0-9_-]{0,31}$"),
        About(
            text="The group that may read the status over the control socket; the agent's user must be a member. "
            "Changes are for root only.",
            example='control_group = "adm"',
            default="the agent's own group",
        ),
    ] = None
    metrics_listen: Annotated[
        str,
        AfterValidator(notation.listen),
        About(
            text='Where /metrics, /livez and /readyz are served: ADDRESS:PORT, or "off".',
            example='metrics_listen = "[::1]:9817"',
        ),
    ] = "127.0.0.1:9817"
    state_dir: Annotated[
        _Directory,
        About(
            text="Survives a reboot: the last good settings, a copy of the ownership record.",
            example='state_dir = "/var/lib/swanherd"',
        ),
    ] = "/var/lib/swanherd"
    runtime_dir: Annotated[
        _Directory,
        About(
            text="Survives a restart of the service, not a reboot: the ownership record, the control socket.",
            example='runtime_dir = "/run/swanherd"',
        ),
    ] = "/run/swanherd"
    on_stop: Annotated[
        Literal["leave", "release"],
        About(
            text="What a stop of the agent does to the tunnels it runs: leave them up (a restart or an upgrade then "
            "loses no packet), or release them.",
            example='on_stop = "release"',
        ),
    ] = "leave"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        About(text="The least important level that is logged.", example='log_level = "debug"'),
    ] = "info"
    log_format: Annotated[
        Literal["auto", "json", "text"],
        About(
            text="How log lines are written; auto: readable on a terminal, JSON elsewhere.",
            example='log_format = "json"',
        ),
    ] = "auto"
    handshakes_per_endpoint: Annotated[
        int,
        Field(ge=1, le=5),
        About(
            text="Handshakes in flight to one endpoint address. A charon with default limits answers a sixth half- "
            "open handshake from one source with silence.",
            example="handshakes_per_endpoint = 2",
        ),
    ] = 2
    handshakes: Annotated[
        int,
        Field(ge=1, le=1000),
        About(
            text="Handshakes in flight in all. All at once is far worse for the first tunnel, and no better for the "
            "last.",
            example="handshakes = 16",
        ),
    ] = 16
    retry_min_s: Annotated[
        float,
        Field(ge=0.1, le=3600, allow_inf_nan=False),
        About(
            text="The pause after a first failed attempt; it doubles with each further one.",
            unit="s",
            example="retry_min_s = 1.0",
        ),
    ] = 1.0
    retry_max_s: Annotated[
        float,
        Field(ge=0.1, le=86400, allow_inf_nan=False),
        About(text="The longest pause between attempts.", unit="s", example="retry_max_s = 60.0"),
    ] = 60.0
    allow_inline_secrets: Annotated[
        bool,
        About(
            text="Allow `psk` in the settings themselves. Settings are copied, mailed and versioned; a secret is "
            "better a file of its own.",
            example="allow_inline_secrets = true",
        ),
    ] = False

    @property
    def control_path(self) -> Path:
        """The control socket, its default filled in."""
        return Path(self.control_socket) if self.control_socket else Path(self.runtime_dir) / "control.sock"

    @property
    def hint_path(self) -> Path:
        """Where `swanherd notify` sends its hints."""
        return Path(self.runtime_dir) / "hint.sock"

    @property
    def metrics(self) -> Listen | None:
        """Where to serve the metrics; None: nowhere."""
        if self.metrics_listen == "off":
            return None
        host, _, port = self.metrics_listen.rpartition(":")
        return Listen(host.removeprefix("[").removesuffix("]"), int(port))
