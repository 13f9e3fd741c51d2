"""What the observer saw of each fault, for the table in docs/faults.md: ``make faults`` runs the tests and writes it.

A test notes its verdict beside what it asserts. Without ``SWANHERD_NOTED``, the file to add to, nothing is written.
"""

import json
import os
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from tests.lab.observe import Observer
from tests.pair.handover import advert_of_b, sent

FILE: Final = "SWANHERD_NOTED"
HEAD: Final = """\
# What keepalived does, and what was seen

Written by `make faults` from the tests in `tests/pair`, which break if a promise does: a pair in network namespaces
with real keepalived and charon, adverts every 0.2 s (a backup takes over 0.6 to 0.8 s after the last advert), 100
numbered packets a second through the tunnel, on two busy processors. The observer reads packets at the switch's ports;
nothing here is the agent's own word. Where a row says how long the old master was heard, a stand-in there sends IPsec
from the VIP all the time; with MOBIKE it is charon itself that tries. Of several runs it is the worst of each figure.

- **old silent**: the old master's last IPsec packet, counted from the other gateway's first advert on the old master's
  own port. A negative time: it was silent before.
- **outage**: the longest silence of the numbered traffic at its receiver; keepalived's own detection is part of it.
- **both ran**: from the new master's first IKE_AUTH to the other gateway's last packet.
- **survived with**: the declared evidence that this needs, any one of those named; without it, see the
  [table of what each is for](how-roles-are-decided.md#what-each-source-of-evidence-is-for).

| fault on the master | old silent | outage | lost | both ran | survived with |
|---|--:|--:|--:|--:|---|
"""


@dataclass(frozen=True, slots=True)
class Noted:
    """A row."""

    fault: str
    silent_ms: float | None
    """The old master's last packet since the other's first advert; None where the other sent none, or nothing moved."""
    outage_ms: float
    lost: int
    both_ran_ms: float
    evidence: str

    def worse(self, other: "Noted") -> "Noted":
        """The worst of each figure of two runs."""
        silent = [ms for ms in (self.silent_ms, other.silent_ms) if ms is not None]
        return replace(
            self,
            silent_ms=max(silent, default=None),
            outage_ms=max(self.outage_ms, other.outage_ms),
            lost=max(self.lost, other.lost),
            both_ran_ms=max(self.both_ran_ms, other.both_ran_ms),
        )

    def row(self) -> str:
        """As a line of the table."""
        silent = "-" if self.silent_ms is None else f"{round(self.silent_ms)} ms"
        return (
            f"| {self.fault} | {silent} | {self.outage_ms:.0f} ms | {self.lost} | {self.both_ran_ms:.0f} ms "
            f"| {self.evidence} |"
        )


def note(
    seen: Observer,
    fault: str,
    *,
    evidence: str,
    since: str = "fault",
    until: float | None = None,
    net: str = "wan1",
    vrid: int = 51,
) -> None:
    """Note the verdict from a mark on, until now or a time; the other's advert is looked for on *net*, with *vrid*."""
    if FILE not in os.environ:
        return
    verdict = seen.timeline(since=since, until=until)
    heard = advert_of_b(seen, since, net=net, vrid=vrid) if verdict.new == "gw-b" else None
    last = max((packet.at for packet in sent(seen, "gw-a", since)), default=None)
    noted = Noted(
        fault=fault,
        silent_ms=None if heard is None or last is None else 1000 * (last - heard),
        outage_ms=verdict.outage_ms,
        lost=verdict.lost,
        both_ran_ms=verdict.double_running_ms,
        evidence=evidence,
    )
    with Path(os.environ[FILE]).open("a") as file:
        file.write(json.dumps(asdict(noted)) + "\n")


def page(lines: list[str]) -> str:
    """The page made of what was noted; of a fault that was noted more than once the worst of each figure."""
    found: dict[str, Noted] = {}
    for line in lines:
        noted = Noted(**json.loads(line))
        found[noted.fault] = noted.worse(found.get(noted.fault, noted))
    return HEAD + "".join(f"{noted.row()}\n" for noted in found.values())


if __name__ == "__main__":
    sys.stdout.write(page(Path(sys.argv[1]).read_text().splitlines()))
