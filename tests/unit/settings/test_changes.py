"""What a reload does to live SAs: every field has a row, every row is what ``diff`` says."""

# ruff: noqa: E501 - a table of cases reads best with one case a line

from collections.abc import Callable
from dataclasses import fields

import pytest

from swanherd.core.intent import CHILD_AGREED, IKE_AGREED, Child, Connection, Interface
from swanherd.settings import Change, diff, needs_restart
from swanherd.settings.changes import CHILD, CONNECTION, INTERFACE

from .conftest import Folder

Edit = Callable[[str, str], None]
LOCAL = 'local = ["10.10.0.0/24"]'
REMOTE = 'remote = ["203.0.113.20"]'
RESPOND = 'start = "responder-only"'
CHILD_END = '"10.20.0.0/24"] }'


def test_every_field_has_a_row() -> None:
    """A field without a row would change silently: each field of the core's types has one, and no row is of nothing."""
    assert CONNECTION.keys() == {f.name for f in fields(Connection) if f.init} - {"name", "children"} | {"secret"}
    assert CHILD.keys() == {f.name for f in fields(Child) if f.init} - {"name"}
    assert INTERFACE.keys() == {f.name for f in fields(Interface) if f.init} - {"name"}


def test_core_does_what_the_table_says() -> None:
    """What the core replaces an SA for is what the table says re-establishes it; where an SA leads is looked up."""
    looked_up = {"interfaces", "remote"}
    assert {name for name, row in CONNECTION.items() if row.effect == "re-establish"} - looked_up == set(IKE_AGREED)
    assert {name for name, row in CHILD.items() if row.effect == "this child only"} == set(CHILD_AGREED)


def effects(folder: Folder, edit: Callable[[], object]) -> tuple[str, str]:
    """The effect of an edit on the connection's IKE_SA and on its child."""
    before = folder.load()
    edit()
    by_child = {change.child: str(change.effect) for change in diff(before, folder.load())}
    return by_child[None], by_child["net"]


ROWS = {
    "nothing at all": (REMOTE, REMOTE, "nothing", "nothing"),
    "another endpoint": (REMOTE, 'remote = ["203.0.113.21"]', "re-establish", "re-establish"),
    "local_id": ("moon", "luna", "re-establish", "re-establish"),
    "remote_id": ("peer.example", "sun.example", "re-establish", "re-establish"),
    "proposals": (REMOTE, REMOTE + '\nproposals = ["aes256-sha256-ecp256"]', "re-establish", "re-establish"),
    "encapsulation": (REMOTE, REMOTE + '\nnat_traversal = "force"', "re-establish", "re-establish"),
    "the vip": ("203.0.113.10", "203.0.113.11", "re-establish", "re-establish"),
    "a second vip": ('"203.0.113.10"', '"203.0.113.10", "203.0.113.11"', "nothing", "nothing"),
    "the device below a vip": ("wan1", "wan2", "nothing", "nothing"),
    "vrrp": ('device = "wan1"', 'device = "wan1"\nvrrp = { vrid = 7 }', "nothing", "nothing"),
    "ike lifetime": (REMOTE, REMOTE + "\nrekey_s = 99", "next SA", "nothing"),
    "dpd": (REMOTE, REMOTE + "\ndpd_delay_s = 99", "next SA", "nothing"),
    "start": (REMOTE, f"{REMOTE}\n{RESPOND}", "nothing", "nothing"),
    "priority": (REMOTE, REMOTE + "\npriority = 5", "nothing", "nothing"),
    "selectors": ("10.20.0.0/24", "10.21.0.0/24", "nothing", "this child only"),
    "child proposals": (CHILD_END, '"10.20.0.0/24"], proposals = ["aes256gcm16"] }', "nothing", "this child only"),
    "child lifetime": (CHILD_END, '"10.20.0.0/24"], rekey_s = 99 }', "nothing", "next SA"),
    "child start": (CHILD_END, '"10.20.0.0/24"], start = "responder-only" }', "nothing", "nothing"),
    "the heaviest counts": (REMOTE, 'rekey_s = 99\npriority = 3\nremote = ["203.0.113.21"]', "re-establish", "re-establish"),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_row(folder: Folder, changed: Edit, row: tuple[str, str, str, str]) -> None:
    """One edit of the smallest settings does to the IKE_SA and to the child what the table says."""
    old, new, whole, child = row
    assert effects(folder, lambda: changed(old, new)) == (whole, child)


def test_device_of_an_own_address(folder: Folder, changed: Edit) -> None:
    """Without VIPs the device's own address is the source: another device is another source."""
    changed('vips = ["203.0.113.10"]\n', "")
    assert effects(folder, lambda: changed("wan1", "wan2")) == ("re-establish", "re-establish")


def test_endpoint_added_behind(folder: Folder, changed: Edit) -> None:
    """An endpoint that is added takes nothing from a responder's SA, and one that goes neither: it came by identity."""
    changed(REMOTE, f"{RESPOND}\n{REMOTE}")
    one, other = '"203.0.113.20"', '"203.0.113.21"'
    assert effects(folder, lambda: changed(f"[{one}]", f"[{one}, {other}]"))[0] == "nothing"
    assert effects(folder, lambda: changed(f"[{one}, {other}]", f"[{other}]"))[0] == "nothing"


def test_interface_added_behind(folder: Folder, changed: Edit) -> None:
    """A way out added at the end changes nothing by itself; one taken away does."""
    folder.write('interfaces.lan.device = "lan1"', name="conf.d/10.toml")
    assert effects(folder, lambda: changed('["wan"]', '["wan", "lan"]'))[0] == "nothing"
    assert effects(folder, lambda: changed('["wan", "lan"]', '["lan"]'))[0] == "re-establish"


def test_interface_renamed(folder: Folder) -> None:
    """The name of an interface is nothing to an SA: another name for the same source changes nothing."""
    assert effects(folder, lambda: folder.write(folder.main.read_text().replace("wan", "uplink")))[0] == "nothing"


def test_secret(folder: Folder) -> None:
    """A rotated secret holds for the next SA; the live one was let in already. The change tells no secret."""
    before = folder.load()
    folder.secret("branch.psk", "rotated secret of today")
    change = diff(before, folder.load())[0]
    assert (change.effect, change.fields) == ("next SA", ("psk_file, psk, key_file, key_passphrase_file",))
    assert "rotated" not in f"{change}{change!r}"


def test_added_and_removed(folder: Folder, changed: Edit) -> None:
    """Connections and children come and go by name; another name is another one, and the rest is untouched."""
    before = folder.load()
    more = 'children.more = { local = ["10.1.0.0/24"], remote = ["10.2.0.0/24"] }\n'
    changed("children.net", f"{more}children.net")
    with_child = folder.load()
    assert [(c.child, c.effect) for c in diff(before, with_child)] == [
        (None, "nothing"),
        ("net", "nothing"),
        ("more", "added"),
    ]
    assert [(c.child, c.effect) for c in diff(with_child, before)] == [
        (None, "nothing"),
        ("more", "removed"),
        ("net", "nothing"),
    ]
    changed("[connections.branch]", "[connections.office]")
    assert [(c.connection, c.effect) for c in diff(with_child, folder.load())] == [
        ("branch", "removed"),
        ("office", "added"),
    ]


def test_said_in_the_settings_words(folder: Folder, changed: Edit) -> None:
    """A change names the field as the settings call it, and why it does what it does."""
    before = folder.load()
    changed(LOCAL, 'local = ["10.9.0.0/24"]')
    change = diff(before, folder.load())[1]
    assert change == Change("branch", "net", change.effect, ("local",), CHILD["local_ts"].why)
    assert str(change).startswith("branch/net: this child only (local: ")


def test_restart(folder: Folder) -> None:
    """Options that are bound to open sockets come into force by a restart only, and are named."""
    before = folder.load()
    folder.write('[agent]\nmetrics_listen = "off"\non_stop = "release"\n', name="conf.d/10.toml")
    assert needs_restart(before, folder.load()) == ("metrics_listen",)
