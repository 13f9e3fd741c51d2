"""Charon's facts behind the table of what a reload does to live SAs."""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import pytest
from vici import Session
from vici.exception import CommandException

from tests.component.charon.sites import Site
from tests.lab.waiting import wait_until

SECRET = {"id": "psk", "type": "IKE", "data": "between-the-two-of-us"}


def conf(here: Site, there: Site, child: str = "net", **changes: Any) -> dict[str, Any]:
    """A connection; *changes* go to the child if it has such a key, else to the connection."""
    settings = {
        "local_ts": [f"{here.inner}/32"],
        "remote_ts": [f"{there.inner}/32"],
        "esp_proposals": ["aes256gcm16", "aes128gcm16"],
        "rekey_time": "5000",
    }
    settings |= {key: changes.pop(key) for key in list(changes) if key in settings}
    connection = {
        "version": "2",
        "local_addrs": [str(here.ip)],
        "remote_addrs": [str(there.ip)],
        "proposals": ["aes256-sha256-ecp256", "aes128-sha256-ecp256"],
        "mobike": "no",
        "local": {"auth": "psk", "id": str(here.ip)},
        "remote": {"auth": "psk", "id": str(there.ip)},
        "children": {child: settings},
    }
    return {"office": {**connection, **{key.removeprefix("ike_"): value for key, value in changes.items()}}}


Sas = tuple[dict[str, Any], dict[str, Any]]


def current(session: Session) -> Sas | None:
    """The IKE_SA that is up and its CHILD_SA that carries traffic; None while they are not exactly one each."""
    ikes = [sa for item in session.list_sas() for sa in item.values() if sa["state"] == b"ESTABLISHED"]
    children = [sa for one in ikes for sa in one["child-sas"].values() if sa["state"] == b"INSTALLED"]
    return (dict(ikes[0]), dict(children[0])) if len(ikes) == len(children) == 1 else None


def settled(session: Session) -> Sas:
    """Both, as soon as no rekey is under way."""
    wait_until(lambda: current(session) is not None, "one IKE_SA with one child")
    found = current(session)
    assert found is not None
    return found


def end(session: Session) -> None:
    """Take every SA away."""
    with contextlib.suppress(CommandException):  # the other end's delete may have been faster
        list(session.terminate({"ike": "office", "force": "yes", "timeout": "-1"}))
    wait_until(lambda: not list(session.list_sas()), "no SA left")


@pytest.fixture
def up(sites: tuple[Site, Site]) -> Iterator[tuple[Session, Session]]:
    """Sessions of both ends of a tunnel that is up."""
    left, right = sites
    ours, theirs = left.vici(), right.vici()
    for session in (ours, theirs):
        session.load_shared(SECRET)
    theirs.load_conn(conf(right, left))
    ours.load_conn(conf(left, right))
    list(ours.initiate({"ike": "office", "child": "net", "timeout": "5000", "loglevel": "-1"}))
    yield ours, theirs
    for session in (ours, theirs):
        end(session)
        session.unload_conn({"name": "office"})


def rekeyed(ours: Session, by: Session) -> Sas:
    """Rekey the CHILD_SA, then the IKE_SA, at the end that *by* is of; what we then have."""
    for position, what in ((1, {"child": "net"}), (0, {"ike": "office"})):
        before = settled(ours)[position]["uniqueid"]
        settled(by)
        by.rekey(what)
        wait_until(functools.partial(_renewed, ours, position, before), "rekeyed")
    return settled(ours)


def _renewed(ours: Session, position: int, old: bytes) -> bool:
    now = current(ours)
    return now is not None and now[position]["uniqueid"] != old


CHANGES: dict[str, dict[str, Any]] = {
    "IKE proposals": {"proposals": ["aes128-sha256-ecp256"]},
    "IKE lifetime": {"ike_rekey_time": "100"},
    "ESP proposals": {"esp_proposals": ["aes128gcm16"]},
    "child lifetime": {"rekey_time": "100"},
    "child gone": {"child": "other"},
}


@pytest.mark.parametrize("rekeyer", [0, 1], ids=["our rekey", "peer's rekey"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_live_sa_keeps_its_configuration(
    sites: tuple[Site, Site], up: tuple[Session, Session], change: dict[str, Any], rekeyer: int
) -> None:
    """A live SA keeps algorithms, lifetime and even a child that is gone, through rekeys at either end."""
    left, right = sites
    up[0].load_conn(conf(left, right, **change))
    ike_sa, child_sa = rekeyed(up[0], by=up[rekeyer])
    assert (ike_sa["encr-keysize"], child_sa["encr-keysize"]) == (b"256", b"256")
    assert child_sa["name"] == b"net"
    assert int(child_sa["rekey-time"]) > 4000
    assert int(ike_sa["rekey-time"]) > 4000


def test_a_new_sa_takes_the_new_one(sites: tuple[Site, Site], up: tuple[Session, Session]) -> None:
    """The same change holds for an SA that is made anew: what the test above sees is the SA, not the change."""
    left, right = sites
    ours = up[0]
    changed = conf(left, right, proposals=["aes128-sha256-ecp256"], esp_proposals=["aes128gcm16"], rekey_time="100")
    ours.load_conn(changed)
    end(ours)
    list(ours.initiate({"ike": "office", "child": "net", "timeout": "5000", "loglevel": "-1"}))
    ike_sa, child_sa = settled(ours)
    assert (ike_sa["encr-keysize"], child_sa["encr-keysize"]) == (b"128", b"128")
    assert int(child_sa["rekey-time"]) <= 110
