"""keepalived on a gateway of the lab: by default one sync group that moves the addresses of WAN and LAN together."""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from tests.lab.daemon import Daemon
from tests.lab.hosts import Host
from tests.lab.topology import GATEWAYS, NET_OF_FAMILY, address, vip
from tests.lab.waiting import wait_until

CONF: Final = "/etc/keepalived/keepalived.conf"
DEMOTE: Final = "/run/demote"
"""A tracked file: the number in it is added to the priority. keepalived sees a change at once, without a reload."""
DEMOTION: Final = -100
"""More than the distance of the two priorities."""
PRIORITIES: Final = (150, 100)
"""Of an instance's master, and of the other gateway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A ``vrrp_instance``; equal on both gateways but for the priority."""

    name: str
    vrid: int
    device: str
    vips: tuple[str, ...]
    """As keepalived takes them: an address, and what may follow it. The first one's family is that of its adverts."""
    excluded: tuple[str, ...] = ()
    """Moved along, and in no advert."""
    master: str = GATEWAYS[0]
    """Which gateway has the higher priority."""
    group: str = "PAIR"
    """The sync group that it belongs to."""
    unicast: bool = False
    lines: tuple[str, ...] = ()
    """More of its lines, e.g. ``use_vmac``."""

    @property
    def family(self) -> int:
        """IP version of its adverts."""
        return ip_address(_bare(self.vips[0])).version

    @property
    def addresses(self) -> tuple[str, ...]:
        """All that it moves, without prefixes."""
        return tuple(_bare(line) for line in (*self.vips, *self.excluded))

    def sender(self, gateway: str) -> str:
        """The address of *gateway* from which it speaks unicast."""
        return address(gateway, self.device, self.family)


def _bare(line: str) -> str:
    return line.split(maxsplit=1)[0].partition("/")[0]


def instance_of(net: str, vrid: int) -> Instance:
    """A net's own instance: its first VIP of each family, the IPv6 one excluded, since an instance has one family."""
    return Instance(
        name=f"VI_{net.upper()}",
        vrid=vrid,
        device=net,
        vips=(f"{vip(net)}/{NET_OF_FAMILY[4]}",),
        excluded=(f"{vip(net, 6)}/{NET_OF_FAMILY[6]}",),
    )


WAN: Final = instance_of("wan1", 51)
LAN: Final = instance_of("lan", 52)
WAN_2: Final = instance_of("wan2", 53)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vrrp:
    """How the pair does VRRP; equal on both gateways."""

    instances: tuple[Instance, ...] = (WAN, LAN)
    advert_s: float = 0.2
    """keepalived's default is 1 s; below that only VRRP version 3 is exact."""
    notify: str | None = None
    """Script that gets the sync groups' changes."""
    dbus: bool = False
    """Whether it is on the message bus, which is then started before it; Debian's is not."""
    extra_global: str = ""
    """More lines of ``global_defs``, e.g. ``vrrp_notify_fifo``."""


class Keepalived(Daemon):
    """The VRRP daemon of a gateway; its log is ``keepalived.log``."""

    def __init__(self, host: Host, vrrp: Vrrp) -> None:
        super().__init__(
            host, "keepalived", "--dont-fork", "--log-console", "--log-detail", "--use-file", CONF,
            log="keepalived.log",
        )  # fmt: skip
        self.vrrp = vrrp

    def start(self) -> None:
        """Write its configuration and start it. It is BACKUP first, and MASTER after three adverts' silence."""
        self.configure()
        super().start()
        wait_until(lambda: len(self.pids()) > 1, f"the VRRP process of {self!r}")

    def configure(self) -> None:
        """Write its configuration."""
        self.host.write(DEMOTE, "0\n")
        self.host.write(CONF, keepalived_conf(self.host.name, self.vrrp))

    def demote(self) -> None:
        """Lower the priority below the other gateway's, as an operator does before maintenance."""
        self._demotion(DEMOTION)

    def promote(self) -> None:
        """Take :meth:`demote` back."""
        self._demotion(0)

    def _demotion(self, points: int) -> None:
        # By rename, as an empty file (between truncation and writing) would be read as 0.
        new = self.host.path(DEMOTE + ".new")
        new.write_text(f"{points}\n")
        new.rename(self.host.path(DEMOTE))


def keepalived_conf(gateway: str, vrrp: Vrrp) -> str:
    """The keepalived.conf of a gateway."""
    head = f"""\
global_defs {{
    router_id {gateway}
    vrrp_version 3
    script_user root
    enable_script_security
    {"enable_dbus" if vrrp.dbus else ""}
    {vrrp.extra_global}
}}
track_file demote {{
    file {DEMOTE}
    weight 1
}}
"""
    groups = "".join(_group(name, vrrp) for name in dict.fromkeys(each.group for each in vrrp.instances))
    return head + groups + "".join(_instance(gateway, each, vrrp) for each in vrrp.instances)


def _group(name: str, vrrp: Vrrp) -> str:
    members = " ".join(each.name for each in vrrp.instances if each.group == name)
    notify = f"    notify {vrrp.notify}\n" if vrrp.notify else ""
    return f"""\
vrrp_sync_group {name} {{
    group {{ {members} }}
    sync_group_tracking_weight
{notify}}}
"""


def _instance(gateway: str, instance: Instance, vrrp: Vrrp) -> str:
    more = "".join(f"    {line}\n" for line in instance.lines)
    return f"""\
vrrp_instance {instance.name} {{
    state BACKUP
    interface {instance.device}
    virtual_router_id {instance.vrid}
    priority {PRIORITIES[gateway != instance.master]}
    advert_int {vrrp.advert_s}
    track_file {{
        demote
    }}
{_block("virtual_ipaddress", instance.vips)}\
{_block("virtual_ipaddress_excluded", instance.excluded)}\
{_unicast(gateway, instance)}\
{more}\
}}
"""


def _block(keyword: str, lines: tuple[str, ...]) -> str:
    inside = "".join(f"        {line}\n" for line in lines)
    return f"    {keyword} {{\n{inside}    }}\n" if lines else ""


def _unicast(gateway: str, instance: Instance) -> str:
    if not instance.unicast:
        return ""
    others = tuple(instance.sender(each) for each in GATEWAYS if each != gateway)
    return f"    unicast_src_ip {instance.sender(gateway)}\n" + _block("unicast_peer", others)
