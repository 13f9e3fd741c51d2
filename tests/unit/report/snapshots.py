"""A published snapshot with one of everything, for tests and for looking at the tables."""

from dataclasses import asdict, replace
from ipaddress import ip_address, ip_network

from swanherd.core.facts import Pair
from swanherd.core.words import Fence, Reason, Role
from swanherd.report.published import (
    ChildReport,
    ConfigReport,
    ConnectionReport,
    DeviceReport,
    EvidenceReport,
    FirewallReport,
    LoopReport,
    Published,
    SaReport,
    SourceReport,
    WordReport,
)
from swanherd.world import keepalived, netlink
from swanherd.world.vrrp import Ignored

NOW = 5000.0
"""The monotonic moment of the snapshot."""

WALL = 1_790_000_000.0

VIP = ip_address("203.0.113.10")
VIP6 = ip_address("2001:db8:ffff:ffff:ffff:ffff:ffff:1010")


def up(name: str = "branch", *, at: float = NOW) -> ConnectionReport:
    """A connection that is up."""
    sa = SaReport(
        unique_id=7,
        state="ESTABLISHED",
        local=VIP,
        remote=ip_address("203.0.113.20"),
        since=at - 3000,
        children=(ChildReport("net", "INSTALLED"), ChildReport("voice", "INSTALLED")),
    )
    return ConnectionReport(
        name=name,
        role=Role.ACTIVE,
        reason=Reason.UP,
        since=at - 3000,
        fence=Fence.NOT_NEEDED,
        source=VIP,
        endpoint="203.0.113.20",
        children_up=2,
        children_wanted=2,
        sas=(sa,),
    )


def standby(name: str = "warehouse", *, at: float = NOW) -> ConnectionReport:
    """A connection that rightly does not run here."""
    return ConnectionReport(
        name=name, role=Role.STANDBY, reason=Reason.NO_ADDRESS, since=at - 90000, fence=Fence.FENCED, children_up=0
    )


def failing(name: str = "partner-with-a-rather-long-name-0001", *, at: float = NOW) -> ConnectionReport:
    """A connection whose peer refuses our key, with the peer's own words."""
    return ConnectionReport(
        name=name,
        role=Role.ACTIVE,
        reason=Reason.AUTH_FAILED,
        since=at - 12,
        fence=Fence.NOT_NEEDED,
        detail="received AUTHENTICATION_FAILED notify error from 'peer\x1b[31m.example'",
        source=VIP6,
        endpoint="vpn.partner.example",
        children_up=0,
        children_wanted=1,
        next_look_at=at + 4.25,
        attempts=3,
    )


def pending(name: str = "lab", *, at: float = NOW) -> ConnectionReport:
    """A connection that has lost its right and whose fence is not verified."""
    return ConnectionReport(
        name=name,
        role=Role.STANDBY,
        reason=Reason.NO_ADDRESS,
        since=at - 0.3,
        fence=Fence.PENDING,
        detail="charon does not answer",
        source=None,
        endpoint="198.51.100.7",
    )


def snapshot(*connections: ConnectionReport, at: float = NOW) -> Published:
    """A gateway on which all is well, with *connections*."""
    return Published(
        at=at,
        wall=WALL,
        version="0.1.0",
        config=ConfigReport("/etc/swanherd/swanherd.toml"),
        started_at=at - 86400 * 3,
        pid=4711,
        ready=True,
        sources=tuple(SourceReport(name, up=True, synced=True, since=at - 100) for name in ("netlink", "charon")),
        connections=connections,
        firewall=FirewallReport(
            present=True, since=at - 100, guarded=frozenset({VIP, VIP6}), ours=4, dropped={"guard": 12, "fence": 0}
        ),
        loop=LoopReport(passes=99, last_pass_s=0.0012, longest_pass_s=0.03, lag_s=0.0004),
    )


def troubled(*, at: float = NOW) -> Published:
    """A gateway with every kind of trouble."""
    whole = snapshot(up(at=at), standby(at=at), failing(at=at), pending(at=at), at=at)
    return replace(
        whole,
        config=ConfigReport("/etc/swanherd/swanherd.toml", stale=True, why="connections.x: no such thing"),
        sources=(*whole.sources, SourceReport("firewall", up=False, synced=False, since=at - 3, detail="no right")),
        firewall=FirewallReport(
            present=None,
            since=at - 3,
            fenced=frozenset({VIP}),
            fenced_pairs=frozenset({Pair(VIP, ip_network("198.51.100.7/32"))}),
        ),
        devices=(DeviceReport("ipsec-a", up=True, trouble="it is not swanherd's"), DeviceReport("gre-a", up=None)),
        evidence=(
            EvidenceReport(
                interface="wan",
                dbus=WordReport("master", known=True, since=at - 0.1),
                process=WordReport("alive", known=True, since=at - 900),
                adverts=WordReport("listening", known=True, since=at - 900),
                own_advert_at=at - 0.2,
                other_advert_at=at - 70,
                other="203.0.113.3",
                claimed_at=at - 69,
            ),
            EvidenceReport(interface="lan", dbus=WordReport("no-bus", known=False, since=at - 3)),
        ),
        counts={
            "netlink": asdict(netlink.Counters(2, 1, 3, 1)),
            "keepalived": asdict(keepalived.Counters(*range(3, 10))),
            "adverts": {"dropped": 3, "heard": 5, **dict.fromkeys(Ignored, 1), Ignored.TTL: 4},
        },
    )
