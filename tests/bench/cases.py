"""What is measured: the matrix of `make bench`, and the longer one of `make bench-all`."""

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
    """A fault of the demo, or ``flips``: thirty changes of master in a row on one pair."""
    contestants: tuple[Contestant, ...]
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

    @property
    def site(self) -> Site:
        """What is connected."""
        return Site(connections=self.connections, peers=self.peers, family=self.family)


ONE: Final = (c.SWANHERD, c.NOTIFY, c.BEST, c.RESTART, c.ALWAYS, c.LIMIT)
HUNDRED: Final = (c.SWANHERD, c.NOTIFY, c.ALWAYS, c.LIMIT)
THOUSAND: Final = (c.SWANHERD, c.BEST, c.LIMIT)
SHARE: Final = (c.SWANHERD, c.BEST, c.LIMIT)

SMOKE: Final = Case(
    name="smoke", connections=1, fault="keepalived-stop", contestants=(c.SWANHERD, c.BEST, c.LIMIT), runs=1
)


def _one() -> list[Case]:
    return [
        Case(
            name=f"n1-{fault}-advert{advert_s:g}",
            connections=1,
            fault=fault,
            contestants=ONE,
            advert_s=advert_s,
            long=(fault, advert_s)
            not in {("keepalived-stop", 0.1), ("flip", 0.1), ("power-off", 0.1), ("wan-down", 0.1)},
        )
        for advert_s in (0.1, 1.0)
        for fault in ("keepalived-stop", "flip", "power-off", "wan-down")
    ]


def _many() -> list[Case]:
    suffix = {False: "nolimits", True: "limits"}
    hundred = [
        Case(
            name=f"n100-{fault}-{suffix[limits]}",
            connections=100,
            fault=fault,
            contestants=HUNDRED,
            limits=limits,
            watch_s=30.0,
            long=fault == "power-off",
        )
        for limits in (True, False)
        for fault in ("keepalived-stop", "power-off")
    ]
    thousand = [
        Case(
            name=f"n1000-keepalived-stop-{suffix[limits]}",
            connections=1000,
            fault="keepalived-stop",
            contestants=THOUSAND,
            limits=limits,
            watch_s=60.0,
        )
        for limits in (True, False)
    ]
    return [*hundred, *thousand]


CASES: Final = (
    Case(name="n1-share", connections=1, fault="flips", contestants=SHARE, runs=1, flips=30),
    *_one(),
    *_many(),
)
