"""The tables ``[interfaces.NAME]``: the ways out, and which VRRP instance moves their addresses."""

from typing import Annotated, Literal

from pydantic import Field

from swanherd.settings.about import About
from swanherd.settings.fields import Addresses, Device, Evidence, Table, Vips


class VrrpTable(Table):
    """Which VRRP instance moves the interface's VIPs, and which evidence about it exists on this gateway."""

    instance: Annotated[
        str | None,
        Field(min_length=1, max_length=255),
        About(text="The instance's name in keepalived's configuration.", example='instance = "VI_WAN1"'),
    ] = None
    vrid: Annotated[
        int | None,
        Field(ge=1, le=255),
        About(text="The instance's virtual router id.", example="vrid = 51"),
    ] = None
    device: Annotated[
        Device | None,
        About(
            text="The device on which the instance speaks (keepalived's `interface`), where it is another one than "
            "the VIPs': VRRP runs on the LAN or on a cable between the gateways, and moves the WAN's address along "
            "(`dev` in keepalived's address lines).",
            example='device = "lan"',
            default="the interface's",
        ),
    ] = None
    evidence: Annotated[
        Evidence | None,
        About(
            text="The sources that exist for this VIP: keepalived's word by `dbus` (needs `enable_dbus` there), the "
            "VRRP `adverts` on the wire, whether keepalived's `process`es live, and its notify `fifo`, which only "
            "says when to look. What is not declared never decides; `[]`: the address alone does. "
            "`swanherd check` says which faults the declared ones cannot see.",
            example='evidence = ["dbus", "adverts", "process"]',
            default='`["adverts", "process"]` with a `vrid`, `["process"]` with an `instance` alone, else none',
        ),
    ] = None
    family: Annotated[
        Literal[4, 6] | None,
        About(
            text="The IP version in which the instance speaks. An instance can move VIPs of the other one too "
            "(`virtual_ipaddress_excluded`).",
            example="family = 4",
            default="that of the first VIP",
        ),
    ] = None
    advert_interval_s: Annotated[
        float,
        Field(ge=0.01, le=40.95, allow_inf_nan=False),
        About(
            text="The instance's advert interval; VRRPv3 goes from 0.01 to 40.95.",
            unit="s",
            example="advert_interval_s = 0.2",
        ),
    ] = 1.0
    unicast_peers: Annotated[
        Addresses,
        About(
            text="The other gateways' addresses where VRRP speaks unicast (`unicast_peer`); adverts from anybody else "
            "then count for nothing. Empty: VRRP speaks multicast.",
            example='unicast_peers = ["203.0.113.3"]',
        ),
    ] = ()


class InterfaceTable(Table):
    """A named way out: a device plus the address that is the IKE source."""

    device: Annotated[
        Device,
        About(
            text="The network device that the address is on. Where it differs between the gateways, set it in conf.d.",
            example='device = "wan1"',
            manual="Interfaces",
        ),
    ]
    vips: Annotated[
        Vips,
        Field(max_length=64),
        About(
            text="The VRRP virtual addresses that are IKE sources here. Without any, the device's own address is the "
            "source and is held while the device has one.",
            example='vips = ["203.0.113.10"]',
            manual="Interfaces (VRRP virtual IP)",
            strongswan="connections.NAME.local_addrs",
        ),
    ] = ()
    vrrp: Annotated[
        VrrpTable | None,
        About(
            text="What moves the VIPs.",
            example='vrrp = { instance = "VI_WAN1", vrid = 51 }',
        ),
    ] = None
