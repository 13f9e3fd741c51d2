"""The metrics follow the rules that dashboards and alerts rely on."""

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from prometheus_client.samples import Sample

from swanherd.report import counted
from swanherd.report.metrics import Measured
from swanherd.report.published import Published
from tests.unit.report import page
from tests.unit.report import snapshots as given

RESERVED = {"instance", "job", "unique_id", "ike_id"}


@pytest.fixture
def measured() -> Measured:
    """Everything has happened once."""
    return page.everything()


def samples(measured: Measured, published: Published | None) -> Iterator[Sample]:
    """All series of a scrape."""
    for family in page.families(measured, published):
        yield from family.samples


def value(measured: Measured, published: Published | None, name: str, **labels: str) -> float | None:
    """The value of one series; None: there is none."""
    found = [each.value for each in samples(measured, published) if (each.name, each.labels) == (name, labels)]
    assert len(found) <= 1
    return found[0] if found else None


def test_every_name_follows_the_rules(measured: Measured) -> None:
    """Prefix, help text, a type, one of our units where there is one, counters in _total, timestamps named as such."""
    for family in page.families(measured, given.troubled()):
        assert re.fullmatch(r"swanherd_[a-z_]+", family.name), family.name
        assert family.documentation, family.name
        assert family.type in {"gauge", "counter", "histogram"}, family.name
        assert not re.search(r"_(ms|milliseconds|minutes|kb|second|count)$", family.name), family.name
        if "timestamp" in family.name:
            assert family.name.endswith("_timestamp_seconds")
        if family.type == "histogram":
            assert family.name.endswith("_seconds")


def test_no_series_has_a_reserved_or_churning_label(measured: Measured) -> None:
    """The labels instance and job are the scraper's; ids change on each rekey; created series are noise."""
    for sample in samples(measured, given.troubled()):
        assert not RESERVED & sample.labels.keys(), sample
        assert not sample.name.endswith("_created"), sample


def test_no_series_is_there_twice(measured: Measured) -> None:
    """Prometheus refuses the whole scrape for one duplicate."""
    keys = [(each.name, tuple(sorted(each.labels.items()))) for each in samples(measured, given.troubled())]
    assert len(keys) == len(set(keys))


def test_a_role_is_one_series_per_state(measured: Measured) -> None:
    """No numeric code: split-brain rules on codes have alerted on the wrong node for ever."""
    published = given.snapshot(given.up(), given.standby())
    assert value(measured, published, "swanherd_role", connection="branch", role="active") == 1
    assert value(measured, published, "swanherd_role", connection="branch", role="standby") == 0
    assert value(measured, published, "swanherd_role", connection="warehouse", role="standby") == 1
    assert value(measured, published, "swanherd_reason", connection="branch", reason="up") == 1


def test_what_is_unknown_is_absent_and_its_source_is_down(measured: Measured) -> None:
    """Unknown is neither zero nor down: no table series while the table cannot be read."""
    published = given.troubled()
    names = {sample.name for sample in samples(measured, published)}
    assert (
        not {"swanherd_firewall_table_present", "swanherd_fenced_addresses", "swanherd_dropped_packets_total"} & names
    )
    assert value(measured, published, "swanherd_source_up", source="firewall") == 0
    assert value(measured, published, "swanherd_actual_children", connection="lab") is None
    assert value(measured, published, "swanherd_desired_children", connection="lab") == 0


def test_a_connection_that_leaves_the_settings_leaves_the_metrics(measured: Measured) -> None:
    """The series mirror the snapshot; nothing has to be removed by hand."""
    both, one = given.snapshot(given.up(), given.standby()), given.snapshot(given.up())
    assert value(measured, both, "swanherd_fence_pending", connection="warehouse") == 0
    assert value(measured, one, "swanherd_fence_pending", connection="warehouse") is None


def test_trouble_is_told(measured: Measured) -> None:
    """A stale config and a pending fence are what people alert on."""
    assert value(measured, given.troubled(), "swanherd_config_stale") == 1
    assert value(measured, given.troubled(), "swanherd_fence_pending", connection="lab") == 1
    assert value(measured, given.snapshot(), "swanherd_config_stale") == 0


def test_what_was_measured_is_counted(measured: Measured) -> None:
    """Histograms and counters carry the documented labels, also before anything was published."""
    assert value(measured, None, "swanherd_takeover_seconds_count", outcome="up") == 1
    assert value(measured, None, "swanherd_takeover_seconds_bucket", outcome="up", le="0.2") == 1
    assert value(measured, None, "swanherd_takeover_seconds_bucket", outcome="up", le="0.1") == 0
    assert value(measured, None, "swanherd_fence_seconds_count", step="wire") == 1
    labels = {"from": "standby", "to": "active", "reason": "loading"}
    assert value(measured, None, "swanherd_transitions_total", **labels) == 1
    assert value(measured, None, "swanherd_reconcile_total", outcome="changed") == 1
    assert value(measured, None, "swanherd_reconnects_total", source="charon") == 1
    assert value(measured, None, "swanherd_bugs_total", where="loop") == 1
    assert value(measured, None, "swanherd_build_info", version="0.1.0") is None


def test_what_the_adapters_count_is_told(measured: Measured) -> None:
    """Each count of every adapter is a series.

    Broken by: leaving an entry out of ``counted.COUNTERS``.
    """
    published = given.troubled()
    assert value(measured, published, "swanherd_netlink_overflows_total") == 2
    assert value(measured, published, "swanherd_notify_hints_total") == 8
    assert value(measured, published, "swanherd_adverts_dropped_total") == 3
    assert value(measured, published, "swanherd_adverts_ignored_total", reason="ttl") == 4
    known = set(counted.COUNTERS)
    for source, counts in published.counts.items():
        assert source == "adverts" or {(source, what) for what in counts} <= known
    assert value(measured, given.snapshot(), "swanherd_netlink_overflows_total") is None


def test_evidence_is_told_as_far_as_it_is_known(measured: Measured) -> None:
    """One series per state of VRRP; none of them while keepalived says nothing, and no source that is not declared."""
    published = given.troubled()
    assert value(measured, published, "swanherd_vrrp_state", interface="wan", state="master") == 1
    assert value(measured, published, "swanherd_vrrp_state", interface="wan", state="backup") == 0
    assert value(measured, published, "swanherd_vrrp_state", interface="lan", state="master") is None
    assert value(measured, published, "swanherd_evidence_known", interface="lan", source="dbus") == 0
    assert value(measured, published, "swanherd_evidence_known", interface="lan", source="process") is None


def test_the_reference_page_is_current() -> None:
    """docs/reference/metrics.md has every series (``python -m tests.unit.report.page`` writes it anew)."""
    assert page.PATH.read_text() == page.text()


def test_two_agents_in_one_process_do_not_share_counters() -> None:
    """The registry is the agent's own: labs and tests run several."""
    first, second = Measured(), Measured()
    first.bug("loop")
    assert value(first, None, "swanherd_bugs_total", where="loop") == 1
    assert value(second, None, "swanherd_bugs_total", where="loop") is None


def test_moments_are_wall_clock(measured: Measured) -> None:
    """Prometheus compares timestamps with its own time, so they are seconds since the epoch."""
    started = value(measured, given.snapshot(), "swanherd_start_timestamp_seconds")
    assert started == pytest.approx(given.WALL - 86400 * 3)


def test_when_a_certificate_expires(measured: Measured) -> None:
    """One series for each connection with a certificate, none for one without."""
    published = given.snapshot(replace(given.up(), certificate_expires=1.8e9), given.up("plain"))
    name = "swanherd_certificate_expiry_timestamp_seconds"
    assert value(measured, published, name, connection="branch") == 1.8e9
    assert value(measured, published, name, connection="plain") is None
