"""Warnings: what loads, and is probably not meant or costs more than one would guess."""

# ruff: noqa: E501 - a table of cases reads best with one case a line

from collections.abc import Callable

import pytest

from swanherd.settings.lint import check

from .conftest import Folder

Edit = Callable[[str, str], None]
REMOTE = 'remote = ["203.0.113.20"]'
VIPS = "interfaces.wan.vips"
BRANCH = "connections.branch"
CHILD = 'children.net = { local = ["10.10.0.0/24"], remote = ["10.20.0.0/24"] }'


def warnings(folder: Folder) -> dict[str, str]:
    """The warnings by key."""
    return {problem.key: problem.rule for problem in check(folder.load())}


def test_only_the_blind_spot(folder: Folder) -> None:
    """The smallest settings have one warning: what a VIP without evidence cannot see."""
    assert set(warnings(folder)) == {VIPS}
    assert "kill" in warnings(folder)[VIPS]


@pytest.mark.parametrize("evidence", ["[]", '["fifo"]'])
def test_evidence_that_cannot_contradict(folder: Folder, changed: Edit, evidence: str) -> None:
    """No evidence is a choice with a price, and hints alone are none."""
    changed("vips =", f'vrrp = {{ instance = "V", evidence = {evidence} }}\nvips =')
    folder.write('agent.notify_fifo = "/run/notify"', name="conf.d/10.toml")
    assert set(warnings(folder)) == {VIPS}


def test_evidence_by_default(folder: Folder, changed: Edit) -> None:
    """A vrid alone is enough to see the other gateway, and so nothing is warned of."""
    changed("vips =", "vrrp = { vrid = 51 }\nvips =")
    assert warnings(folder) == {}


def test_no_vip_no_blind_spot(folder: Folder, changed: Edit) -> None:
    """An own address has no VRRP, and so nothing to be blind to."""
    changed('vips = ["203.0.113.10"]\n', "")
    assert warnings(folder) == {}


HOSTS = 'children.net = { local = ["dynamic[gre]"], remote = ["dynamic[gre]"] }'

ROWS = {
    "any identity": ('"peer.example"', '"any"', f"{BRANCH}.remote_id", "INITIAL_CONTACT"),
    "any address": (REMOTE, 'remote = ["0.0.0.0"]\nstart = "responder-only"', f"{BRANCH}.remote", "fence"),
    "no dpd": (REMOTE, REMOTE + "\ndpd_delay_s = 0", f"{BRANCH}.dpd_delay_s", "not noticed"),
    "weak ike": (REMOTE, REMOTE + '\nproposals = ["aes256-sha1-modp1024"]', f"{BRANCH}.proposals[0]", "sha1, modp1024"),
    "weak esp": (CHILD, CHILD.replace(" }", ', proposals = ["3des-sha256"] }'), f"{BRANCH}.children.net.proposals[0]", "3des"),
    "unused interface": (CHILD, CHILD + '\n[interfaces.lan]\ndevice = "lan1"', "interfaces.lan", "no connection uses it"),
    "metrics for all": (CHILD, CHILD + '\n[agent]\nmetrics_listen = "0.0.0.0:9817"', "agent.metrics_listen", "can read"),
    "a VIP beside an own address": ('interfaces = ["wan"]', 'interfaces = ["wan", "lan"]', f"{BRANCH}.interfaces", "both run it"),
    "leaks past an interface": (
        CHILD,
        CHILD.replace("10.20.0.0/24", "0.0.0.0/0") + '\nxfrm_interface = { name = "ipsec-b", if_id = 7 }',
        f"{BRANCH}.children.net.remote",
        "your own routes",
    ),
    "leaks to anybody": (
        CHILD,
        CHILD.replace("10.10.0.0/24", "0.0.0.0/0").replace("10.20.0.0/24", "0.0.0.0/0"),
        f"{BRANCH}.children.net",
        "nothing but IKE",
    ),
    "gre to its own end": (
        CHILD,
        f'mode = "transport"\n{HOSTS}\ngre_interface = {{ name = "g", routes = ["10.60.0.0/16", "203.0.0.0/8"] }}',
        f"{BRANCH}.gre_interface.routes[1]",
        "comes back into it",
    ),
    "same networks": (
        CHILD,
        f'{CHILD}\n[connections.b]\ninterfaces = ["wan"]\nremote = ["203.0.113.9"]\npsk_file = "branch.psk"\n{CHILD}',
        "connections.b.children.net",
        "the same networks",
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_warning(folder: Folder, changed: Edit, row: tuple[str, str, str, str]) -> None:
    """One edit of the smallest settings adds one warning at one key."""
    old, new, key, text = row
    changed(old, new)
    if '"lan"]' in new:
        folder.write('interfaces.lan.device = "lan1"', name="conf.d/10.toml")
    found = warnings(folder)
    assert set(found) == {VIPS, key}
    assert text in found[key]


def test_routes_of_the_settings(folder: Folder, changed: Edit) -> None:
    """Routes that are named have some that refuse behind them, so that there is nothing to warn of."""
    device = 'xfrm_interface = { name = "ipsec-b", if_id = 7, routes = ["10.20.0.0/24"] }'
    changed(CHILD, CHILD.replace("10.20.0.0/24", "0.0.0.0/0") + f"\n{device}")
    assert set(warnings(folder)) == {VIPS}


def test_mobike_without_vip(folder: Folder, changed: Edit) -> None:
    """MOBIKE where it is allowed lets charon leave the address that was chosen."""
    changed('vips = ["203.0.113.10"]\n\n[connections.branch]', "[connections.branch]\nmobike = true")
    assert "any other address" in warnings(folder)[f"{BRANCH}.mobike"]


def test_mobike_on_a_vip(folder: Folder, changed: Edit) -> None:
    """MOBIKE on a VIP cuts what is not swanherd's, and people are told what that is."""
    changed("psk_file =", "mobike = true\npsk_file =")
    assert "whatever else this gateway runs" in warnings(folder)[f"{BRANCH}.mobike"]


def test_identity_of_several_ways(folder: Folder, changed: Edit) -> None:
    """An identity that follows the source changes with the way out."""
    changed('local_id = "moon.example"\n', "")
    changed('["wan"]', '["wan", "lan"]')
    folder.write('interfaces.lan.device = "lan1"', name="conf.d/10.toml")
    assert "changes with the way out" in warnings(folder)[f"{BRANCH}.interfaces"]


def test_short_secret(folder: Folder) -> None:
    """A short key is pointed out without telling it, or how long it is."""
    folder.secret("branch.psk", "hunter2")
    found = warnings(folder)[f"{BRANCH}.psk_file"]
    assert found == "the pre-shared key is shorter than 20 bytes"


def test_inline_secret_for_everybody(folder: Folder, changed: Edit) -> None:
    """A file that everybody may read is no place for a secret; for its owner only it is."""
    changed('psk_file = "branch.psk"', 'psk = "a secret that is long enough"')
    folder.write("agent.allow_inline_secrets = true", name="conf.d/10.toml")
    folder.main.chmod(0o600)
    assert set(warnings(folder)) == {VIPS}
    folder.main.chmod(0o604)
    assert "readable by everybody" in warnings(folder)[f"{BRANCH}.psk"]


def test_file_of_the_key(folder: Folder) -> None:
    """A warning names the file that set the key."""
    file = folder.write("connections.branch.dpd_delay_s = 0", name="conf.d/10.toml")
    assert {p.key: p.file for p in check(folder.load())}[f"{BRANCH}.dpd_delay_s"] == str(file)
