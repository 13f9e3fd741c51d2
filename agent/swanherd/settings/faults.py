"""Which faults the declared evidence of a VIP can see: the one table, for ``swanherd check`` and the documentation.

``python -m swanherd.settings.reference evidence`` prints the table of ``docs/how-roles-are-decided.md``. A test holds
every row, for every set of evidence, against what the core judges.
"""

from dataclasses import dataclass
from typing import Final

from swanherd.core.intent import EvidenceSource

DBUS, ADVERTS, PROCESS = EvidenceSource.DBUS, EvidenceSource.ADVERTS, EvidenceSource.PROCESS
EVERY: Final = frozenset(EvidenceSource)

Evidence = frozenset[EvidenceSource]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that happens to keepalived on the gateway that runs the tunnels; any one of *needs* is enough."""

    name: str
    """For scripts; never changes."""
    what: str
    needs: Evidence
    price: str
    """What it costs where the evidence cannot see it."""
    spoils: Evidence = EVERY
    """Without any of *needs*, the fault still costs nothing where none of these is declared either."""
    address_is_enough: bool = False

    def is_handled(self, evidence: Evidence) -> bool:
        """Whether a gateway with this evidence does the right thing."""
        if self.address_is_enough or evidence & self.needs:
            return True
        return self.spoils != EVERY and not evidence & self.spoils


FAULTS: Final = (
    Fault(
        name="address-leaves",
        what="keepalived is stopped, loses its link or its priority, or its VRRP process is killed and restarted",
        needs=frozenset(),
        address_is_enough=True,
        price="",
    ),
    Fault(
        name="killed",
        what="keepalived is killed, its VIP stays behind, and the other gateway takes over",
        needs=frozenset({DBUS, ADVERTS, PROCESS}),
        price="both gateways run the tunnels until the VIP is removed by hand",
    ),
    Fault(
        name="frozen",
        what="keepalived is frozen, its VIP stays, and the other gateway takes over",
        needs=frozenset({DBUS, ADVERTS}),
        price="both gateways run the tunnels until keepalived goes on",
    ),
    Fault(
        name="left-behind",
        what="swanherd starts where a VIP was left behind by a keepalived that is dead",
        needs=frozenset({DBUS, ADVERTS, PROCESS}),
        price="it takes the tunnels over from the gateway that has them",
    ),
    Fault(
        name="not-master",
        what="keepalived is not the master, and the VIP is on this gateway all the same",
        needs=frozenset({DBUS, ADVERTS}),
        price="both gateways run the tunnels until the VIP is removed by hand",
    ),
    Fault(
        name="killed-alone",
        what="keepalived is killed or frozen, and no other gateway is there to take over",
        needs=frozenset({ADVERTS}),
        spoils=frozenset({DBUS, PROCESS}),
        price="the tunnels end after 2.5 advert intervals although nobody else runs them",
    ),
    Fault(
        name="partition",
        what="the gateways do not hear each other for a while, and both are masters",
        needs=frozenset({ADVERTS}),
        price="nothing tells of two masters while one of them is still heard",
    ),
    Fault(
        name="displaced",
        what="after that, the peer has thrown this gateway's SA away and told nobody",
        needs=frozenset({ADVERTS}),
        price="the tunnel is dead until dead peer detection notices, or until the next rekey",
    ),
)
"""In the order of the documentation: the common ones first."""


def unseen(evidence: Evidence) -> tuple[Fault, ...]:
    """The faults that this evidence cannot see."""
    return tuple(fault for fault in FAULTS if not fault.is_handled(evidence))


def table() -> str:
    """The table in Markdown."""
    lines = ["| what happens to keepalived on the master | evidence that is needed | without it |", "|---|---|---|"]
    for fault in FAULTS:
        needed = " or ".join(f"`{source.value}`" for source in EvidenceSource if source in fault.needs)
        needs = "none: the address leaves" if fault.address_is_enough else needed
        if fault.spoils != EVERY:
            spoils = " or ".join(f"`{source.value}`" for source in EvidenceSource if source in fault.spoils)
            needs += f", where {spoils} is declared"
        lines.append(f"| {fault.what} | {needs} | {fault.price or '-'} |")
    return "\n".join(lines) + "\n"
