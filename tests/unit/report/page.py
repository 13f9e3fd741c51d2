"""``python -m tests.unit.report.page`` writes docs/reference/metrics.md: every series that a scrape can have."""

from pathlib import Path
from typing import Final

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from swanherd.core.words import Fence, Reason, Role
from swanherd.report.metrics import Measured
from swanherd.report.published import Published, Transition
from tests.unit.report import snapshots as given

PATH: Final = Path(__file__).parents[3] / "docs/reference/metrics.md"

HEAD: Final = """\
# Metrics

Served on `/metrics` where `metrics_listen` says, in the classic text format. This page is generated.

One series for each state, with a label, never a numeric code. What is unknown is absent, not zero. Labels carry names
of the settings and words of `swanherd status`, never ids that change on a rekey. Counters start anew with the agent;
`swanherd_dropped_packets_total` starts anew when the firewall table is rebuilt. What an adapter counted is as old as
the latest pass, at most ten seconds. The same numbers are in `swanherd status --json`, under `counts`.

| series | type | labels | what it is |
|---|---|---|---|
"""
_OF_A_HISTOGRAM: Final = frozenset({"le"})


def everything() -> Measured:
    """An agent in which everything that is counted has happened once."""
    measured = Measured()
    measured.takeover(0.12)
    measured.fence(0.004, "wire")
    measured.reconcile(0.001, "changed")
    measured.transition(Transition("branch", Role.ACTIVE, Reason.LOADING, Fence.NOT_NEEDED, was_role=Role.STANDBY))
    measured.reconnect("charon")
    measured.bug("loop")
    return measured


def families(measured: Measured, published: Published | None) -> list[Metric]:
    """What a scrape says, as Prometheus's own parser reads it."""
    return list(text_string_to_metric_families(measured.exposition(lambda: published).decode()))


def text() -> str:
    """The page."""
    measured = everything()
    # A table that can be read and one that cannot have different series.
    found = {family.name: family for published in (given.snapshot(given.up()), given.troubled())
             for family in families(measured, published) if family.samples}  # fmt: skip
    return HEAD + "".join(_row(family) for _, family in sorted(found.items()))


def _row(family: Metric) -> str:
    labels = sorted({label for sample in family.samples for label in sample.labels} - _OF_A_HISTOGRAM)
    name = family.name + ("_total" if family.type == "counter" else "")
    return f"| `{name}` | {family.type} | {', '.join(labels) or '-'} | {family.documentation} |\n"


if __name__ == "__main__":
    PATH.write_text(text())
