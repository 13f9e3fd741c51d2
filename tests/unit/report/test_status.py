"""What status says of a snapshot, and when it calls a gateway well."""

import json
from dataclasses import replace
from datetime import datetime

import pytest

from swanherd.core.words import Fence, Reason, Role
from swanherd.report import status
from tests.unit.report import snapshots as given


def test_a_healthy_gateway_is_well_with_active_and_standby_connections() -> None:
    """Active and up, or standby, fenced and without the address: both are how it should be."""
    published = given.snapshot(given.up(), given.standby())
    assert status.troubles(published, now=given.NOW + 1) == ()
    assert status.document(published, now=given.NOW + 1)["well"] is True


@pytest.mark.parametrize("reason", list(Reason))
def test_an_active_connection_is_well_only_for_named_reasons(reason: Reason) -> None:
    """A reason that nobody has declared good is not: a new one must not hide trouble."""
    good = reason in {"up", "trapped", "waiting-for-peer"}
    assert status.well(replace(given.up(), reason=reason)) is good


@pytest.mark.parametrize("reason", list(Reason))
def test_a_standby_connection_is_well_only_for_named_reasons(reason: Reason) -> None:
    """A link that is down or a device that is missing means that this gateway could not take over."""
    good = reason in {"no-address", "removed"}
    assert status.well(replace(given.standby(), reason=reason)) is good


@pytest.mark.parametrize("role", list(Role))
def test_a_pending_fence_is_never_well(role: Role) -> None:
    """Not verified that nothing runs here is trouble, whatever the role and reason."""
    reason = {Role.ACTIVE: Reason.UP, Role.STANDBY: Reason.NO_ADDRESS}[role]
    assert not status.well(replace(given.pending(), role=role, reason=reason))
    assert status.well(replace(given.pending(), role=role, reason=reason, fence=Fence.FENCED))


def test_every_trouble_is_told_in_one_sentence() -> None:
    """Stale settings, a lost source, a table that cannot be read and ill connections all show."""
    told = "\n".join(status.troubles(given.troubled(), now=given.NOW))
    for word in (
        "swanherd.toml is broken",
        "firewall: no right",
        "unguarded",
        "2 of 4 connections",
        "device ipsec-a: it",
    ):
        assert word in told


def test_a_loop_that_stands_still_is_not_believed() -> None:
    """What was published too long ago says nothing about now, though every line of it is well."""
    published = given.snapshot(given.up())
    assert status.troubles(published, now=given.NOW + status.FRESH_S) == ()
    assert "completed no pass" in status.troubles(published, now=given.NOW + status.FRESH_S + 1)[0]


def test_moments_are_told_as_wall_time_and_age() -> None:
    """People get neither the monotonic clock nor a wall time without its age."""
    document = status.document(given.snapshot(given.failing()), now=given.NOW + 2)
    connection = document["connections"][0]
    assert connection["since"] == "2026-09-21T14:13:08.000+00:00"
    assert connection["since_age_s"] == pytest.approx(14)
    assert connection["next_look_in_s"] == pytest.approx(2.25)
    overdue = status.document(given.snapshot(given.failing()), now=given.NOW + 9)
    assert overdue["connections"][0]["next_look_in_s"] == 0


def test_the_document_is_plain_json() -> None:
    """Addresses, enums and sets all leave as JSON values, and come back the same."""
    document = status.document(given.troubled(), now=given.NOW)
    assert json.loads(json.dumps(document)) == document
    assert json.loads(status.encoded(given.troubled(), now=given.NOW)) == document
    assert json.loads(status.encoded(given.snapshot(), now=given.NOW))["connections"] == []
    assert document["firewall"]["fenced_pairs"] == [["203.0.113.10", "198.51.100.7/32"]]
    assert document["connections"][0]["sas"][0]["children"][1] == {"name": "voice", "state": "INSTALLED"}


def test_unknown_children_are_null_and_not_zero() -> None:
    """While charon cannot be read nobody knows how many are up."""
    assert status.document(given.snapshot(given.pending()), now=given.NOW)["connections"][0]["children_up"] is None


def test_evidence_and_counts_are_in_the_document() -> None:
    """What keepalived says, or why it says nothing, with its age; what was never declared is null."""
    document = status.document(given.troubled(), now=given.NOW)
    wan, lan = document["evidence"]
    assert (wan["dbus"]["says"], wan["dbus"]["known"], wan["dbus"]["since_age_s"]) == ("master", True, 0.1)
    assert (wan["other"], wan["other_advert_age_s"], wan["claimed_age_s"]) == ("203.0.113.3", 70, 69)
    assert (lan["dbus"]["says"], lan["dbus"]["known"], lan["process"]) == ("no-bus", False, None)
    assert document["counts"]["netlink"]["overflows"] == 2
    assert document["devices"][1] == {"name": "gre-a", "up": None, "trouble": ""}


@pytest.mark.parametrize(("left_s", "well"), [(-5, False), (5, True)])
def test_an_expired_certificate_is_trouble_while_the_tunnel_is_up(left_s: float, well: bool) -> None:  # noqa: FBT001
    """It is told when the certificate expires, and that it has, before the handshake that fails for it."""
    published = given.snapshot()
    expires = published.wall_of(given.NOW) + left_s
    published = replace(published, connections=(replace(given.up(), certificate_expires=expires),))
    troubles = status.troubles(published, now=given.NOW)
    assert troubles == (() if well else ("branch: the certificate has expired",))
    (connection,) = status.document(published, now=given.NOW)["connections"]
    assert datetime.fromisoformat(connection["certificate_expires"]).timestamp() == pytest.approx(expires, abs=1)
