"""The gateways of a lab do not hear each other's VRRP adverts: where that happens, and how it is undone."""

from enum import StrEnum, unique
from typing import Final

from tests.lab.hosts import Host
from tests.lab.lab import Lab

_DEAF: Final = """\
table inet partition {
    chain input { type filter hook input priority -300; policy accept; meta l4proto 112 drop; }
    chain output { type filter hook output priority -300; policy accept; meta l4proto 112 drop; }
}
"""
_ON_THE_WIRE: Final = """\
table bridge partition {
    chain forward { type filter hook forward priority 0; policy accept;
        iifname { %s } ip protocol 112 drop
    }
}
"""


@unique
class Partition(StrEnum):
    """Where adverts are lost."""

    IN_THE_GATEWAYS = "gateways"
    """By rules in both: their adverts do not reach the wire, and none comes in to their daemons."""
    ON_THE_WIRE = "wire"
    """Between them, both ways: each is heard on its own port only."""
    ONE_WAY = "one way"
    """Between them: what gw-a sends does not arrive at gw-b."""

    @property
    def ruleset(self) -> str:
        """The rules that make it."""
        if self is Partition.IN_THE_GATEWAYS:
            return _DEAF
        from_b = "" if self is Partition.ONE_WAY else ', "b-wan1", "b-lan"'
        return _ON_THE_WIRE % f'"a-wan1", "a-lan"{from_b}'

    def hosts(self, lab: Lab) -> tuple[Host, ...]:
        """Where the rules are."""
        return lab.gateways if self is Partition.IN_THE_GATEWAYS else (lab.switch,)

    def make(self, lab: Lab) -> None:
        """Begin to lose adverts."""
        for host in self.hosts(lab):
            host.run("nft", "-f", "-", text_in=self.ruleset)

    def heal(self, lab: Lab) -> None:
        """Lose no more."""
        family = "inet" if self is Partition.IN_THE_GATEWAYS else "bridge"
        for host in self.hosts(lab):
            host.run("nft", "delete", "table", family, "partition")
