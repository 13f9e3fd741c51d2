"""Prometheus metrics: what was published last, and what was counted since the start.

Rules: one series per state with a label (never a numeric code), no ``instance`` or ``job`` label, no id that changes on
rekey, absent when unknown, and no I/O: one collector that raises loses the whole scrape.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from swanherd.core.words import Fence, Role
from swanherd.report import counted
from swanherd.report.published import ConnectionReport, FirewallReport, FirewallRuleReport, Published, Transition

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""The classic text format: Debian 12's promtool rejects OpenMetrics."""

TAKEOVER_BUCKETS_S: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0, 120.0)
"""A takeover is two round trips to the peer at best and the backoff's length at worst."""

FENCE_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0)
"""The wire is cut in milliseconds; the state step takes as long as charon takes."""

PASS_BUCKETS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0)
"""A pass blocks the loop: above 20 ms it is worth a look."""

LATENCY_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.3, 1.0, 5.0)
"""From 20 ms on something holds the loop, or the machine is too busy; from 0.3 s on it counts as a standstill."""

LONG_TURN_S: Final = 0.02
"""What nothing in the agent may compute in one piece."""

Latest = Callable[[], Published | None]


class Measured:
    """What the agent counts and times while it runs; the runtime calls, the scrape reads. One per agent."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves this one function untyped
        self.registry: Final = CollectorRegistry(auto_describe=False)
        registry = self.registry
        self._takeovers = Histogram(
            "swanherd_takeover_seconds",
            "From the arrival of a connection's address to its first CHILD_SA (outcome up) or its first failure.",
            ["outcome"],
            buckets=TAKEOVER_BUCKETS_S,
            registry=registry,
        )
        self._fences = Histogram(
            "swanherd_fence_seconds",
            "From the loss of the right to the verified step: wire (nothing leaves) or state (charon has nothing).",
            ["step"],
            buckets=FENCE_BUCKETS_S,
            registry=registry,
        )
        self._passes = Histogram(
            "swanherd_reconcile_duration_seconds",
            "How long one pass of the loop took: read the facts, decide, plan.",
            buckets=PASS_BUCKETS_S,
            registry=registry,
        )
        self._latency = Histogram(
            "swanherd_loop_latency_seconds",
            "How late the loop woke, looked at two to ten times a second.",
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self._long_turns = Counter(
            "swanherd_long_turns",
            f"Turns of the loop that computed for more than {LONG_TURN_S * 1000:g} ms, however busy the machine was.",
            registry=registry,
        )
        self._longest_turn = Gauge(
            "swanherd_longest_turn_seconds", "The longest computing time of a turn since the start.", registry=registry
        )
        self._longest_turn_s = 0.0
        self._reconciles = Counter(
            "swanherd_reconcile_total",
            "Passes of the loop, by what came of them.",
            ["outcome"],
            registry=registry,
        )
        self._transitions = Counter(
            "swanherd_transitions_total",
            "Changes of a connection's role or reason.",
            ["from", "to", "reason"],
            registry=registry,
        )
        self._reconnects = Counter(
            "swanherd_reconnects_total",
            "Times that a source was lost and opened anew.",
            ["source"],
            registry=registry,
        )
        self._bugs = Counter(
            "swanherd_bugs_total",
            "Impossible states and unexpected errors. Anything but zero deserves a report.",
            ["where"],
            registry=registry,
        )

    def takeover(self, seconds: float, outcome: str = "up") -> None:
        """A takeover ended after *seconds*; *outcome* is ``up`` or the reason of its first failure."""
        self._takeovers.labels(outcome).observe(seconds)

    def fence(self, seconds: float, step: str) -> None:
        """A fence's *step* (``wire`` or ``state``) was verified *seconds* after the right was lost."""
        self._fences.labels(step).observe(seconds)

    def reconcile(self, seconds: float, outcome: str) -> None:
        """A pass took *seconds*; *outcome* is ``changed``, ``same`` or ``error``."""
        self._passes.observe(seconds)
        self._reconciles.labels(outcome).inc()

    def loop_latency(self, seconds: float) -> None:
        """The loop woke *seconds* late."""
        self._latency.observe(seconds)

    def turn(self, seconds: float) -> None:
        """A turn of the loop took *seconds* of its thread's processor time. Called some hundred times a second."""
        if seconds > LONG_TURN_S:
            self._long_turns.inc()
        if seconds > self._longest_turn_s:
            self._longest_turn_s = seconds
            self._longest_turn.set(seconds)

    def transition(self, change: Transition) -> None:
        """Count *change*; a connection that is new to this agent comes from ``new``."""
        self._transitions.labels(change.was_role or "new", change.role, change.reason).inc()

    def reconnect(self, source: str) -> None:
        """*source* was lost and opened anew."""
        self._reconnects.labels(source).inc()

    def bug(self, where: str) -> None:
        """Something impossible happened in the module or task *where*."""
        self._bugs.labels(where).inc()

    def exposition(self, latest: Latest) -> bytes:
        """Everything in the classic text format. To be called in a thread: takes 75 ms for 1000 connections."""
        snapshot = CollectorRegistry(auto_describe=False)
        snapshot.register(_Snapshot(latest()))
        return generate_latest(self.registry) + generate_latest(snapshot)


class _Snapshot(Collector):
    """The series that mirror one published snapshot; made anew for each scrape, so removal needs no care."""

    def __init__(self, published: Published | None) -> None:
        self._published = published

    def collect(self) -> Iterable[Metric]:
        published = self._published
        if published is None:
            return
        yield from _agent(published)
        yield from _sources(published)
        yield from counted.evidence(published)
        yield from counted.counts(published)
        yield from _connections(published.connections)
        if published.firewall is not None:
            yield from _firewall(published.firewall)
        yield from _firewall_rules(published.firewall_rules)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"swanherd_{name}", text, value=value)


def _agent(published: Published) -> Iterator[Metric]:
    build = GaugeMetricFamily("swanherd_build_info", "Which swanherd this is; always 1.", labels=["version"])
    build.add_metric([published.version], 1)
    yield build
    yield _gauge("ready", "1 once every source was read and a pass completed since the start.", published.ready)
    yield _gauge(
        "config_stale", "1 while the file is broken and the last good settings are in force.", published.config.stale
    )
    yield _gauge("start_timestamp_seconds", "When the agent started.", published.wall_of(published.started_at))
    yield _gauge("last_reconcile_timestamp_seconds", "When the last pass completed.", published.wall)
    yield _gauge("loop_lag_seconds", "How late the loop woke, at worst, since the last pass.", published.loop.lag_s)
    yield _gauge("tasks", "Tasks of the agent; a number that grows for ever is a leak.", published.loop.tasks)
    yield _gauge("longest_reconcile_seconds", "The longest pass since the start.", published.loop.longest_pass_s)


def _sources(published: Published) -> Iterator[Metric]:
    up = GaugeMetricFamily("swanherd_source_up", "Whether the outside system answers.", labels=["source"])
    synced = GaugeMetricFamily(
        "swanherd_source_synced", "Whether it was read in full since it came up.", labels=["source"]
    )
    for source in published.sources:
        up.add_metric([source.name], source.up)
        synced.add_metric([source.name], source.synced)
    yield up
    yield synced


def _connections(connections: tuple[ConnectionReport, ...]) -> Iterator[Metric]:
    roles = GaugeMetricFamily(
        "swanherd_role", "1 for the role that the connection has on this gateway.", labels=["connection", "role"]
    )
    reasons = GaugeMetricFamily(
        "swanherd_reason", "1 for the reason of the connection's present role.", labels=["connection", "reason"]
    )
    pending = GaugeMetricFamily(
        "swanherd_fence_pending",
        "1 while the right is lost and it is not verified that nothing runs here.",
        labels=["connection"],
    )
    wanted = GaugeMetricFamily(
        "swanherd_desired_children", "Children that should be up on this gateway now.", labels=["connection"]
    )
    up = GaugeMetricFamily("swanherd_actual_children", "Children that are up.", labels=["connection"])
    expires = GaugeMetricFamily(
        "swanherd_certificate_expiry_timestamp_seconds",
        "When the connection's own certificate expires; absent where it has none.",
        labels=["connection"],
    )
    for connection in connections:
        name = connection.name
        if connection.certificate_expires is not None:
            expires.add_metric([name], connection.certificate_expires)
        for role in Role:
            roles.add_metric([name, role], connection.role is role)
        reasons.add_metric([name, connection.reason], 1)
        pending.add_metric([name], connection.fence is Fence.PENDING)
        wanted.add_metric([name], connection.children_wanted)
        if connection.children_up is not None:
            up.add_metric([name], connection.children_up)
    yield from (roles, reasons, pending, wanted, up, expires)


def _firewall_rules(rules: Iterable[FirewallRuleReport]) -> Iterator[Metric]:
    missing = sum(bool(rule.trouble) for rule in rules)
    yield _gauge("firewall_rules_missing", "Chains of the user's that should have a rule of ours and do not.", missing)


def _firewall(firewall: FirewallReport) -> Iterator[Metric]:
    if firewall.present is None:
        return  # unknown is not zero: source_up says that it cannot be read
    yield _gauge("firewall_table_present", "Whether our table is in the kernel as it should be.", firewall.present)
    yield _gauge("guarded_addresses", "VIPs under the guard.", len(firewall.guarded))
    yield _gauge("fenced_addresses", "Addresses from which all of our IPsec is dropped.", len(firewall.fenced))
    yield _gauge("fenced_pairs", "Single pairs of source and remote that are fenced.", len(firewall.fenced_pairs))
    yield _gauge("leak_guard_flows", "Flows of children that never leave in clear.", len(firewall.leaks))
    dropped = CounterMetricFamily(
        "swanherd_dropped_packets", "Packets that our rules dropped, since the table was last made.", labels=["rule"]
    )
    for rule, packets in sorted(firewall.dropped.items()):
        dropped.add_metric([rule], packets)
    yield dropped
