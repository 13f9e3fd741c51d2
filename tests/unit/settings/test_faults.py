"""The table of faults and evidence says what the core judges, for every fault and every set of evidence."""

from collections.abc import Mapping
from ipaddress import ip_address
from itertools import chain, combinations
from pathlib import Path
from typing import Final

import pytest

from swanherd.core.evidence import Heard, Situation, VrrpFacts, VrrpState, displaced_before, judge
from swanherd.core.facts import Absent, HeldAddress, Known, Unknown
from swanherd.core.intent import EvidenceSource as Source
from swanherd.core.intent import VrrpDeclaration
from swanherd.settings.faults import FAULTS, Fault, table, unseen
from swanherd.settings.reference import PAGES

NOW: Final = 200.0
THEN: Final = 150.0
"""When the fault happened: long ago, so that every grace has passed."""
VIP: Final = ip_address("203.0.113.10")

SETS: Final = [
    frozenset(chosen) for chosen in chain.from_iterable(combinations(Source, size) for size in range(len(Source) + 1))
]

Word = Known[VrrpState] | Unknown[VrrpState]

MASTER: Final[Word] = Known(VrrpState.MASTER, since=NOW - 0.1)
GONE: Final[Word] = Unknown(since=THEN, why="gone")
SILENT: Final[Word] = Unknown(since=THEN, why="silent")
BACKUP: Final[Word] = Known(VrrpState.BACKUP, since=NOW - 0.1)
OURS: Final = NOW - 0.2
THEIRS: Final = NOW - 0.2

WORLD: Final[Mapping[str, tuple[Word, bool, float | None, float | None]]] = {
    # what D-Bus says, whether the processes live, our own latest advert, the other gateway's
    "killed": (GONE, False, THEN, THEIRS),
    "frozen": (SILENT, True, THEN, THEIRS),
    "left-behind": (GONE, False, None, None),
    "not-master": (BACKUP, True, THEN, THEIRS),
    "killed-alone": (GONE, False, THEN, None),
    "partition": (MASTER, True, OURS, THEIRS),
    "displaced": (MASTER, True, OURS, THEN),
}
"""What there is to be seen in each fault, by whoever can see it."""


def seen(fault: Fault, evidence: frozenset[Source]) -> VrrpFacts:
    """The facts about *fault* that this evidence gives."""
    state, alive, ours, theirs = WORLD[fault.name]
    heard = Heard(own_at=ours, other_at=theirs, other="203.0.113.3")
    return VrrpFacts(
        state=state if Source.DBUS in evidence else Absent(),
        process=Known(alive, since=THEN) if Source.PROCESS in evidence else Absent(),
        listener=Known(heard, since=100.0) if Source.ADVERTS in evidence else Absent(),
    )


def does_right(fault: Fault, evidence: frozenset[Source]) -> bool:
    """Whether the core, with this evidence, does what has to be done about *fault*."""
    declared = VrrpDeclaration(instance="V", vrid=51, evidence=evidence)
    address = HeldAddress(
        ip=VIP, prefix=24, device="wan1", usable=True, since=100.0, watched=fault.name != "left-behind"
    )
    facts = seen(fault, evidence)
    judgement = judge(declared, address, facts, Situation(now=NOW))
    match fault.name:
        case "killed-alone":
            return judgement.right
        case "partition":
            return judgement.two_masters
        case "displaced":
            return displaced_before(declared, facts, address, NOW) is not None
    return not judgement.right


@pytest.mark.parametrize("evidence", SETS, ids=lambda evidence: "+".join(sorted(evidence)) or "address")
@pytest.mark.parametrize(
    "fault", [fault for fault in FAULTS if not fault.address_is_enough], ids=lambda fault: fault.name
)
def test_the_table_is_what_the_core_judges(fault: Fault, evidence: frozenset[Source]) -> None:
    """What the table promises is judged so, and what it warns of is not better than it says."""
    assert does_right(fault, evidence) is fault.is_handled(evidence)


def test_the_address_alone_sees_the_everyday_faults() -> None:
    """A VIP that leaves needs no evidence; without any, what leaves it behind is not seen, and nothing else is lost."""
    assert [fault.name for fault in unseen(frozenset())] == [
        *("killed", "frozen", "left-behind", "not-master", "partition", "displaced")
    ]


def test_the_default_sees_everything() -> None:
    """Who declares a vrid, and nothing else, need not read the table."""
    assert unseen(frozenset({Source.ADVERTS, Source.PROCESS})) == ()


def test_the_page_has_the_table() -> None:
    """docs/how-roles-are-decided.md shows this very table."""
    page = Path(__file__).parents[3] / "docs/how-roles-are-decided.md"
    assert table() in page.read_text()
    assert PAGES["evidence"]() == table()
