"""What is measured: the matrix of `make bench`, the longer one of `make bench-all`, and that of `make bench-xfrm`."""

from dataclasses import dataclass
from typing import Final

from tests.bench import contestants as c
from tests.bench.contestants import Contestant
from tests.bench.site import Site


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row of the matrix."""

    name: str
    connections: int
    fault: str
    """A fault of the demo, or ``flips``: changes of master in a row on one pair."""
    contestants: tuple[Contestant, ...]
    later: tuple[Contestant, ...] = ()
    """More of them, only in ``make bench-all``."""
    advert_s: float = 0.2
    limits: bool = False
    """Whether the peer has charon's default limit of 5 half-open handshakes for each source address."""
    peers: int = 1
    """How many peers the connections lead to, in turn."""
    family: int = 4
    """Of the outside: 4 or 6."""
    runs: int = 3
    watch_s: float = 10.0
    """How long is waited for all tunnels; what is not up then is reported as missing."""
    flips: int = 0
    long: bool = False
    """Only in ``make bench-all``."""
    xfrm: bool = False
    """Only in ``make bench-xfrm``: under a kernel that has IPsec, which may be an emulated one."""

    @property
    def site(self) -> Site:
        """What is connected."""
        return Site(connections=self.connections, peers=self.peers, family=self.family)


ONE: Final = (c.SWANHERD, c.NOTIFY, c.BEST, c.RESTART, c.ALWAYS, c.LIMIT)
HUNDRED: Final = (c.SWANHERD, c.NOTIFY, c.BEST, c.ALWAYS, c.LIMIT)
THOUSAND: Final = (c.SWANHERD, c.BEST, c.LIMIT)
SHARE: Final = (c.SWANHERD, c.BEST, c.LIMIT, c.EMPTY)
FAULTS: Final = ("keepalived-stop", "flip", "power-off", "wan-down")
_LIMITS: Final = {True: "limits", False: "nolimits"}

OLD_EMPTY_S: Final = {1: 2.0, 100: 4.0, 1000: 10.0}
"""How long is waited, from the last tunnel on, for the old gateway to hold nothing: by the number of connections."""

SMOKE: Final = Case(
    name="smoke", connections=1, fault="keepalived-stop", contestants=(c.SWANHERD, c.BEST, c.LIMIT), runs=1
)


def _one() -> list[Case]:
    """Each fault, with the fastest adverts that VRRP is used with and with keepalived's default."""
    by_ipv4 = [
        Case(
            name=f"n1-{fault}-advert{advert_s:g}",
            connections=1,
            fault=fault,
            contestants=tuple(each for each in ONE if each not in later),
            later=later,
            advert_s=advert_s,
            long=advert_s == 1.0 and fault in {"flip", "wan-down"},
        )
        for advert_s, later in ((0.1, ()), (1.0, (c.RESTART, c.ALWAYS)))
        for fault in FAULTS
    ]
    by_ipv6 = [
        Case(
            name=f"n1-{fault}-advert0.1-ipv6",
            connections=1,
            fault=fault,
            contestants=ONE,
            advert_s=0.1,
            family=6,
            long=fault != "keepalived-stop",
        )
        for fault in FAULTS
    ]
    return by_ipv4 + by_ipv6


def _hundred() -> list[Case]:
    """To one peer and to many, with and without limits; a short one of each kind by default."""
    default = {("keepalived-stop", 1, True), ("keepalived-stop", 1, False), ("keepalived-stop", 100, True)}
    default |= {("power-off", 100, True)}
    return [
        Case(
            name=f"n100-{fault}-{_LIMITS[limits]}{'-many' if peers > 1 else ''}",
            connections=100,
            fault=fault,
            contestants=HUNDRED,
            later=() if peers > 1 or fault != "keepalived-stop" else (c.EMPTY,),
            limits=limits,
            peers=peers,
            watch_s=30.0,
            long=(fault, peers, limits) not in default,
        )
        for fault in ("keepalived-stop", "power-off")
        for peers in (1, 100)
        for limits in (True, False)
    ]


def _thousand() -> list[Case]:
    """The script has two handshakes in flight, which the limits do not touch: once will do by default."""
    return [
        Case(
            name=f"n1000-keepalived-stop-{_LIMITS[limits]}",
            connections=1000,
            fault="keepalived-stop",
            contestants=tuple(each for each in THOUSAND if each not in later),
            later=later,
            limits=limits,
            watch_s=60.0,
        )
        for limits, later in ((True, (c.BEST,)), (False, ()))
    ]


def _xfrm() -> list[Case]:
    """Few: an emulated machine takes minutes for each run. Adverts as slow as it is."""
    faults = [
        Case(
            name=f"xfrm-n1-keepalived-stop{suffix}",
            connections=1,
            fault="keepalived-stop",
            contestants=ONE,
            advert_s=1.0,
            family=family,
            runs=1,
            xfrm=True,
        )
        for family, suffix in ((4, ""), (6, "-ipv6"))
    ]
    share = Case(
        name="xfrm-n1-share", connections=1, fault="flips", contestants=SHARE, advert_s=1.0, runs=1, flips=10, xfrm=True
    )
    return [share, *faults]


CASES: Final = (
    Case(name="n1-share", connections=1, fault="flips", contestants=SHARE, runs=1, flips=60),
    *_one(),
    *_hundred(),
    *_thousand(),
    *_xfrm(),
)
