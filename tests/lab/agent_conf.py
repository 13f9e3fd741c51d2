"""The lab's settings for swanherd: the same tunnels that the notify script runs, for both gateways alike."""

import json
from dataclasses import dataclass
from typing import Final

from tests.lab.charon import Tunnel
from tests.lab.keepalived import Instance, Vrrp
from tests.lab.peer import gateway_tunnel
from tests.lab.topology import GATEWAYS

INTERFACE = """\
[interfaces.wan]
device = "wan1"
vips = ["203.0.113.10"]
vrrp = { instance = "VI_WAN1", vrid = 51, advert_interval_s = 0.2 }
"""

LAN: Final = """\
[interfaces.lan]
device = "lan"
vips = ["10.10.0.1"]
vrrp = { instance = "VI_LAN", vrid = 52, advert_interval_s = 0.2 }
"""
"""No connection leaves by it. Declared, it is watched and fenced like the WAN's when it is left behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConf:
    """Text of swanherd.toml, and the secrets that it names, by absolute path."""

    text: str
    files: dict[str, str]


def agent_conf(*, connections: int = 1, agent: str = "", interfaces: str = INTERFACE, extra: str = "") -> AgentConf:
    """Settings with the first *connections* tunnels; *agent* are lines of ``[agent]``, the others whole tables."""
    tunnels = [gateway_tunnel(number) for number in range(connections)]
    tables = "\n".join(connection_table(tunnel) for tunnel in tunnels)
    return AgentConf(
        text=f"[agent]\n{agent}\n\n{interfaces}\n{tables}\n{extra}",
        files={secret_path(tunnel): f"{tunnel.secret}\n" for tunnel in tunnels},
    )


def interface_table(
    name: str, instance: Instance, *vips: str, vrrp: Vrrp, gateway: str, device: str | None = None, evidence: str = ""
) -> str:
    """The table of a way out by *vips*, with the declaration of the *instance* that moves them, as *gateway* has it.

    *device* is where the addresses are, if not where VRRP speaks; *evidence* a TOML list, or empty for the default.
    """
    said = [f'instance = "{instance.name}"', f"vrid = {instance.vrid}", f"advert_interval_s = {vrrp.advert_s}"]
    if device not in {None, instance.device}:
        said.append(f'device = "{instance.device}"')
    if any(":" in vip for vip in vips) != (instance.family == 6):
        said.append(f"family = {instance.family}")
    if instance.unicast:
        others = [instance.sender(each) for each in GATEWAYS if each != gateway]
        said.append(f"unicast_peers = {json.dumps(others)}")
    if evidence:
        said.append(f"evidence = {evidence}")
    return f"""\
[interfaces.{name}]
device = "{device or instance.device}"
vips = {json.dumps(vips)}
vrrp = {{ {", ".join(said)} }}
"""


def secret_path(tunnel: Tunnel) -> str:
    """Where the secret of a tunnel is."""
    return f"/etc/swanherd/secrets/{tunnel.name}.psk"


def connection_table(tunnel: Tunnel, *lines: str, interface: str = "wan") -> str:
    """The table of one connection that leaves by *interface*; *lines* are further settings of it."""
    more = "".join(f"{line}\n" for line in lines)
    return f"""\
[connections.{tunnel.name}]
interfaces = ["{interface}"]
remote = ["{tunnel.remote_addrs}"]
local_id = "{tunnel.local_id}"
remote_id = "{tunnel.remote_id}"
psk_file = "{tunnel.name}.psk"
{more}\
children.{tunnel.child} = {{ local = ["{tunnel.local_ts}"], remote = ["{tunnel.remote_ts}"] }}
"""
