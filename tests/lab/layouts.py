"""Ways in which operators lay VRRP out, and a pair that is built like that, with the lab's tunnel or some more."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from tests.lab.agent_conf import AgentConf, connection_table, interface_table, secret_path
from tests.lab.charon import Tunnel
from tests.lab.keepalived import LAN, WAN, WAN_2, Instance, Vrrp
from tests.lab.lab import Lab
from tests.lab.pair import Pair
from tests.lab.peer import as_seen_by_peer, gateway_tunnel
from tests.lab.runner import Agent
from tests.lab.topology import address, vip


@dataclass(frozen=True, slots=True)
class Way:
    """An interface of the settings: the instance that moves its VIPs, and these."""

    instance: Instance
    vips: tuple[str, ...]
    device: str | None = None
    """Where they are, if not where the instance speaks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How the pair does VRRP, which ways out it declares, and by which of them each connection leaves."""

    vrrp: Vrrp
    ways: Mapping[str, Way]
    uses: tuple[str, ...] = ("wan",)
    """By the connection's number."""
    spoken_on: Instance = field(default=WAN)
    """The instance that says who may run the first connection."""

    @property
    def source(self) -> str:
        """From where the first connection runs."""
        return self.ways[self.uses[0]].vips[0]

    @property
    def family(self) -> int:
        """Of the first connection's outside."""
        return 6 if ":" in self.source else 4

    def tunnels(self) -> list[Tunnel]:
        """The connections as the gateways have them."""
        return [
            replace(
                gateway_tunnel(number),
                local_addrs=self.ways[way].vips[0],
                remote_addrs=address("peer", self._net(way), 6 if ":" in self.ways[way].vips[0] else 4),
            )
            for number, way in enumerate(self.uses)
        ]

    def _net(self, way: str) -> str:
        return self.ways[way].device or self.ways[way].instance.device

    def conf(self, gateway: str) -> AgentConf:
        """Return the settings of swanherd on *gateway*."""
        tunnels = self.tunnels()
        ways = [
            interface_table(name, way.instance, *way.vips, vrrp=self.vrrp, gateway=gateway, device=way.device)
            for name, way in self.ways.items()
        ]
        tables = [connection_table(tunnel, interface=way) for tunnel, way in zip(tunnels, self.uses, strict=True)]
        return AgentConf(
            text="\n".join(ways + tables), files={secret_path(tunnel): f"{tunnel.secret}\n" for tunnel in tunnels}
        )


@contextmanager
def layout_pair(layout: Layout) -> Iterator[Pair]:
    """A pair that is laid out like that and runs by swanherd, up and carrying traffic."""
    with Lab() as lab:
        confs = {host.name: layout.conf(host.name) for host in lab.gateways}
        pair = Pair(lab, lambda host: Agent(host, confs[host.name].text, files=confs[host.name].files), layout.vrrp)
        pair.peer.charon.start()
        pair.peer.load(*(as_seen_by_peer(tunnel) for tunnel in layout.tunnels()))
        pair.boot()
        yield pair


def _like(instance: Instance, *lines: str, **changes: object) -> Instance:
    return replace(instance, lines=(*instance.lines, *lines), **changes)  # type: ignore[arg-type]  # fields by name


def _layout(wan: Instance, lan: Instance, *, ways: Mapping[str, Way] | None = None, **more: object) -> Layout:
    simple = {"wan": Way(wan, (vip("wan1"),)), "lan": Way(lan, (vip("lan"),))}
    return Layout(
        vrrp=Vrrp(instances=(wan, lan)),
        ways=MappingProxyType(dict(ways or simple)),
        spoken_on=wan,
        **more,  # type: ignore[arg-type]  # fields by name
    )


PLAIN: Final = _layout(WAN, LAN)

VMAC: Final = _layout(_like(WAN, "use_vmac"), _like(LAN, "use_vmac"))
"""Virtual MACs, which both gateways have: the addresses are on a macvlan above the device."""

VMAC_BASE: Final = _layout(_like(WAN, "use_vmac", "vmac_xmit_base"), _like(LAN, "use_vmac", "vmac_xmit_base"))
"""The same with adverts that leave by the device itself."""

UNICAST: Final = _layout(_like(WAN, unicast=True), _like(LAN, unicast=True))
"""Adverts to the other gateway's address instead of a group's."""

_SECOND: Final = vip("wan1", number=1)

EXCLUDED: Final = _layout(
    _like(WAN, vips=(f"{_SECOND}/24",), excluded=(f"{vip('wan1')}/24", *WAN.excluded)),
    LAN,
)
"""The tunnel's source is in no advert: the instance is known by another address."""

_ALONG: Final = _like(LAN, excluded=(f"{vip('wan1')}/24 dev wan1", *LAN.excluded))

SPOKEN_ON_LAN: Final = Layout(
    vrrp=Vrrp(instances=(_ALONG,)),
    ways=MappingProxyType({"wan": Way(_ALONG, (vip("wan1"),), "wan1"), "lan": Way(_ALONG, (vip("lan"),))}),
    spoken_on=_ALONG,
)
"""VRRP on the LAN only; the WAN's address is moved along."""

_BOTH: Final = _like(WAN, vips=(f"{vip('wan1')}/24", f"{_SECOND}/24"))

MANY: Final = Layout(
    vrrp=Vrrp(instances=(_BOTH, WAN_2, LAN)),
    ways=MappingProxyType(
        {
            "wan": Way(_BOTH, (vip("wan1"),)),
            "second": Way(_BOTH, (_SECOND,)),
            "wan2": Way(WAN_2, (vip("wan2"),)),
            "lan": Way(LAN, (vip("lan"),)),
        }
    ),
    uses=("wan", "second", "wan2"),
    spoken_on=_BOTH,
)
"""Three tunnels from three addresses of two WANs, in one sync group."""

_SIX: Final = Instance(
    name="VI_SIX",
    vrid=61,
    device="wan1",
    vips=("fe80::10", vip("wan1", 6)),
    lines=("native_ipv6",),
)

SIX: Final = _layout(_SIX, LAN, ways={"wan": Way(_SIX, (vip("wan1", 6),)), "lan": Way(LAN, (vip("lan"),))})
"""IPv6 outside, as keepalived makes it: a link-local address first, /128, deprecated, with no duplicate detection."""

NOPREEMPT: Final = _layout(_like(WAN, "nopreempt"), _like(LAN, "nopreempt"))
"""A gateway that returns leaves the other one the master, whatever the priorities."""

_WAN_B: Final = Instance(
    name="VI_WAN1_B", vrid=54, device="wan1", vips=(f"{_SECOND}/24",), master="gw-b", group="PAIR_B"
)
_LAN_B: Final = Instance(
    name="VI_LAN_B", vrid=55, device="lan", vips=(f"{vip('lan', number=1)}/24",), master="gw-b", group="PAIR_B"
)

SHARED: Final = Layout(
    vrrp=Vrrp(instances=(WAN, LAN, _WAN_B, _LAN_B)),
    ways=MappingProxyType({"wan": Way(WAN, (vip("wan1"),)), "second": Way(_WAN_B, (_SECOND,))}),
    uses=("wan", "second"),
)
"""Each gateway is the master of one of two sync groups, and runs one of two tunnels."""
