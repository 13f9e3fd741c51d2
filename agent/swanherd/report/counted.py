"""Metrics of what the adapters have counted, and of the VRRP evidence: mirrors of one published snapshot."""

from collections.abc import Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from swanherd.core.evidence import VrrpState
from swanherd.report.published import Published

COUNTERS: Final = {
    ("netlink", "overflows"): (
        "netlink_overflows",
        "Times that the kernel dropped netlink events, after which everything is read anew.",
    ),
    ("netlink", "resyncs"): ("netlink_resyncs", "Full readings that made the kernel's network known again."),
    ("netlink", "interrupted"): (
        "netlink_interrupted_readings",
        "Readings of the kernel's tables that were begun again, since something changed meanwhile.",
    ),
    ("netlink", "missed"): (
        "netlink_missed_changes",
        "Changes that no event had told and the slow check found. Each is a defect.",
    ),
    ("keepalived", "reads"): ("keepalived_reads", "Instances read by D-Bus."),
    ("keepalived", "silences"): (
        "keepalived_silences",
        "Calls that keepalived did not answer in time while the bus did.",
    ),
    ("keepalived", "bus_losses"): ("dbus_losses", "Connections to the message bus that ended."),
    ("keepalived", "deaths"): ("keepalived_deaths", "Processes of keepalived's that were seen to die."),
    ("keepalived", "fifo_lines"): ("notify_fifo_lines", "Lines from the notify FIFO; each only meant: look."),
    ("keepalived", "fifo_reopens"): ("notify_fifo_reopens", "Times that the FIFO was another one than we had open."),
    ("keepalived", "hints"): ("notify_hints", "Hints from swanherd notify."),
    ("adverts", "heard"): (
        "adverts_heard",
        "VRRP adverts of other routers with nothing wrong. On a master that nobody contests there are none.",
    ),
    ("adverts", "dropped"): ("adverts_dropped", "VRRP packets that found the listener's queue full."),
}
"""Source and count, to the name of a series and its help. What is counted of adverts besides is by reason."""


def counts(published: Published) -> Iterator[Metric]:
    """One counter for each thing that is counted; nothing for a source that is not watched."""
    for (source, what), (name, text) in COUNTERS.items():
        if what in published.counts.get(source, {}):
            yield CounterMetricFamily(f"swanherd_{name}", text, value=published.counts[source][what])
    ignored = CounterMetricFamily(
        "swanherd_adverts_ignored", "VRRP adverts that changed nothing, by what was wrong with them.", labels=["reason"]
    )
    for reason, number in sorted(published.counts.get("adverts", {}).items()):
        if ("adverts", reason) not in COUNTERS:
            ignored.add_metric([reason], number)
    yield ignored


def evidence(published: Published) -> Iterator[Metric]:
    """What is declared for each interface: whether it can be had, and keepalived's own word while it is known."""
    known = GaugeMetricFamily(
        "swanherd_evidence_known",
        "Whether the evidence that is declared for the interface can be had from this source.",
        labels=["interface", "source"],
    )
    states = GaugeMetricFamily(
        "swanherd_vrrp_state",
        "1 for what keepalived says by D-Bus of the interface's instance; absent while it says nothing.",
        labels=["interface", "state"],
    )
    for each in published.evidence:
        for source, word in (("dbus", each.dbus), ("process", each.process), ("adverts", each.adverts)):
            if word is not None:
                known.add_metric([each.interface, source], word.known)
        if each.dbus is not None and each.dbus.known:
            for state in VrrpState:
                states.add_metric([each.interface, state], each.dbus.says == state)
    yield from (known, states)
