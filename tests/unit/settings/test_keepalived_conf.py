"""keepalived's configuration: what is read of it, and what does not match the settings."""

from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import pytest

from swanherd.settings.keepalivedconf import read
from swanherd.settings.vrrpcheck import compare

from .conftest import Folder

Edit = Callable[[str, str], None]

CONF = """\
! the pair's VRRP
global_defs {
    router_id gw-a   # not ours to judge
    enable_dbus
    vrrp_notify_fifo "/run/notify fifo"
}
$PRIO=150
vrrp_instance VI_WAN1
{
    state BACKUP
    interface wan1
    virtual_router_id 51
    priority ${PRIO}
    advert_int 0.2
    use_vmac vrrp.51
    unicast_peer {
        203.0.113.3
    }
    virtual_ipaddress { 203.0.113.10/24 dev wan1 label wan1:vip }
    virtual_ipaddress_excluded {
        2001:db8:1::10/64
        # 203.0.113.99
    }
}
vrrp_instance VI_SIX {
    interface wan2
    virtual_router_id 51
    native_ipv6
    nopreempt
    state MASTER
    virtual_ipaddress {
        198.51.100.7/24
    }
}
"""


@pytest.fixture
def conf(folder: Folder) -> Path:
    """The configuration, where the settings look for it."""
    path = folder.write(CONF, name="keepalived/keepalived.conf")
    folder.write(f'agent.keepalived_conf = "{path}"\nagent.notify_fifo = "/run/notify fifo"', name="conf.d/10.toml")
    return path


def test_what_is_read(conf: Path) -> None:
    """Braces wherever they stand, quotes, both comments, definitions; what we do not need is passed over."""
    found = read(conf)
    wan, six = found.instances["VI_WAN1"], found.instances["VI_SIX"]
    assert (found.dbus, found.fifos, found.conditional) == (True, ("/run/notify fifo",), False)
    assert (wan.device, wan.vrid, wan.advert_interval_s, wan.family, wan.vmac) == ("wan1", 51, 0.2, 4, "vrrp.51")
    assert wan.vips == {ip_address("203.0.113.10")}
    assert wan.excluded == {ip_address("2001:db8:1::10")}
    assert wan.unicast_peers == {ip_address("203.0.113.3")}
    assert (six.family, six.vmac, six.advert_interval_s, six.ignores_nopreempt) == (6, None, 1.0, True)


def test_includes(conf: Path) -> None:
    """Included files count, by pattern, from beside the file, also within a block; a loop of them ends."""
    (conf.parent / "conf.d").mkdir()
    (conf.parent / "conf.d/b.conf").write_text("vrrp_instance VI_B {\n include ../device\n}\ninclude b.conf\n")
    (conf.parent / "device").write_text("interface wan7\nvirtual_router_id $ID\n")
    conf.write_text("$ID=7\ninclude conf.d/*.conf\ninclude nothing*\n")
    assert (read(conf).instances["VI_B"].device, read(conf).instances["VI_B"].vrid) == ("wan7", 7)


@pytest.mark.parametrize(
    "text", ["", "}", "{", "a {", "vrrp_instance", "vrrp_instance {", '"', "$A=$A", "\0", "interface"]
)
def test_nonsense(conf: Path, text: str) -> None:
    """Half a file has half the instances, and is no error: keepalived says what is wrong with it."""
    conf.write_text(text)
    assert read(conf).dbus is False


GOOD = 'instance = "VI_WAN1", vrid = 51, advert_interval_s = 0.2, unicast_peers = ["203.0.113.3"]'


def mismatches(folder: Folder, vrrp: str | None) -> dict[str, str]:
    """What does not match, by key, where the interface declares *vrrp*."""
    if vrrp is not None:
        folder.write(f"interfaces.wan.vrrp = {{ {vrrp} }}", name="conf.d/20.toml")
    return {problem.key.removeprefix("interfaces.wan."): problem.rule for problem in compare(folder.load())}


@pytest.mark.usefixtures("conf")
@pytest.mark.parametrize("evidence", ['["adverts"]', '["dbus", "adverts", "process", "fifo"]'])
def test_a_match(folder: Folder, evidence: str) -> None:
    """Nothing is said where everything matches."""
    assert mismatches(folder, f"{GOOD}, evidence = {evidence}") == {}


@pytest.mark.usefixtures("conf")
def test_a_match_by_vrid(folder: Folder) -> None:
    """Without a name the instance is the one on the device with the vrid."""
    assert mismatches(folder, GOOD.replace('instance = "VI_WAN1", ', "")) == {}


ROWS = {
    "vrid": ("51", "52", "vrrp.vrid", "has virtual_router_id 51"),
    "advert": ("0.2", "1.0", "vrrp.advert_interval_s", "has advert_int 0.2"),
    "name": ("VI_WAN1", "VI_WAN", "vrrp", "no vrrp_instance 'VI_WAN' (it has: VI_WAN1, VI_SIX)"),
    "peers": ('["203.0.113.3"]', "[]", "vrrp.unicast_peers", "203.0.113.3"),
    "family": ("vrid = 51", 'family = 6, evidence = ["adverts"], vrid = 51', "vrrp.family", "speaks IPv4"),
}


@pytest.mark.usefixtures("conf")
@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_mismatch(folder: Folder, row: tuple[str, str, str, str]) -> None:
    """One difference is one warning, at the key that differs."""
    old, new, key, rule = row
    vrrp = GOOD.replace(old, new)
    if key == "vrrp.family":
        vrrp = vrrp.replace("203.0.113.3", "fe80::3")
    found = mismatches(folder, vrrp)
    found.pop("vrrp.unicast_peers", None) if key == "vrrp.family" else None
    assert list(found) == [key]
    assert rule in found[key]


def test_other_side(folder: Folder, conf: Path) -> None:
    """The same for what keepalived says."""
    said = GOOD + ', evidence = ["dbus", "fifo", "adverts"]'

    def edited(old: str, new: str) -> dict[str, str]:
        assert old in CONF
        conf.write_text(CONF.replace(old, new, 1))
        return mismatches(folder, said)

    assert "no enable_dbus" in edited("enable_dbus", "")["vrrp.evidence"]
    assert "another name on the bus" in edited("enable_dbus", "enable_dbus\ndbus_service_name x.y")["vrrp.evidence"]
    assert "it has: none" in edited('vrrp_notify_fifo "/run/notify fifo"', "")["agent.notify_fifo"]
    assert (
        "network namespace 'blue'" in edited("enable_dbus", "enable_dbus\nnet_namespace blue")["agent.keepalived_conf"]
    )
    assert "is on wan9" in edited("interface wan1", "interface wan9")["vrrp.device"]
    assert "puts 203.0.113.10 on wan9" in edited("dev wan1 label wan1:vip", "dev wan9")["device"]
    assert "name the one below it, wan9" in edited("interface wan1\n", "interface wan9\nuse_vmac wan1\n")["device"]
    assert "moves 203.0.113.10" in edited("203.0.113.10/24", "203.0.113.11/24")["vips[0]"]
    moved = edited(
        "203.0.113.10/24", "203.0.113.11/24\n} \n} \nvrrp_instance VI_X {\n virtual_ipaddress {\n 203.0.113.10"
    )
    assert "moved by VI_X, not by VI_WAN1" in moved["vips[0]"]
    assert "ignores" in edited("state BACKUP", "state MASTER\nnopreempt")["vrrp.instance"]
    assert "were not compared" in edited("priority", "@gw-a priority")[""]


ELSEWHERE = CONF.replace("interface wan1", "interface lan").replace("use_vmac vrrp.51", "")


def test_vrrp_speaks_elsewhere(folder: Folder, conf: Path) -> None:
    """An instance on the LAN that moves the WAN's address: a match once its device is declared, and said so before."""
    conf.write_text(ELSEWHERE)
    by_vrid = GOOD.replace('instance = "VI_WAN1", ', "")
    assert mismatches(folder, f'{GOOD}, device = "lan"') == {}
    assert mismatches(folder, f'{by_vrid}, device = "lan"') == {}
    assert list(mismatches(folder, GOOD)) == ["vrrp.device"]
    assert list(mismatches(folder, f'{GOOD}, device = "wan1"')) == ["vrrp.device"]
    assert "with vrid 51 on wan1" in mismatches(folder, by_vrid)["vrrp"]
    conf.write_text(ELSEWHERE.replace("interface lan", "interface lan\nuse_vmac vrrp.51"))
    assert "the one below it, lan" in mismatches(folder, f'{GOOD}, device = "vrrp.51"')["vrrp.device"]


def test_the_address_is_elsewhere(folder: Folder, conf: Path) -> None:
    """An address that keepalived puts on another device than the settings say, by its line or for want of one."""
    conf.write_text(ELSEWHERE.replace("dev wan1 label wan1:vip", ""))
    said = mismatches(folder, f'{GOOD}, device = "lan"')
    assert list(said) == ["device"]
    assert "puts 203.0.113.10 on lan" in said["device"]


def test_what_to_declare_elsewhere(folder: Folder, conf: Path) -> None:
    """The device is part of what is told to be said, where it differs."""
    conf.write_text(ELSEWHERE)
    assert 'advert_interval_s = 0.2, device = "lan" }' in mismatches(folder, None)["vips"]


@pytest.mark.usefixtures("conf")
def test_what_to_declare(folder: Folder) -> None:
    """A VIP that says nothing of VRRP is told what keepalived says of it."""
    assert 'vrrp = { instance = "VI_WAN1", vrid = 51, advert_interval_s = 0.2 }' in mismatches(folder, None)["vips"]


def test_no_configuration(folder: Folder, conf: Path) -> None:
    """Where there is no configuration nothing is compared; one that cannot be read is said so."""
    conf.unlink()
    assert mismatches(folder, GOOD) == {}
    conf.mkdir()
    assert "cannot be compared" in mismatches(folder, GOOD)[""]


def test_ways_out_that_two_masters_can_hold(folder: Folder, conf: Path) -> None:
    """Two interfaces of one connection, their VIPs moved by instances of no common sync group: both could run it.

    Broken by: ``_moved_apart`` that takes any sync group for a common one.
    """
    text = folder.main.read_text().replace('interfaces = ["wan"]', 'interfaces = ["wan", "two"]')
    folder.write(text + '\n[interfaces.two]\ndevice = "wan2"\nvips = ["198.51.100.7"]\n')
    key = "connections.branch.interfaces"
    for groups, apart in (
        ("", True),
        ("vrrp_sync_group A {\n group {\n VI_WAN1\n }\n}\nvrrp_sync_group B { group { VI_SIX } }\n", True),
        ("vrrp_sync_group A { group { VI_WAN1 VI_SIX } }\n", False),
        ("vrrp_sync_group A {\n group {\n VI_WAN1\n VI_SIX\n }\n}\n", False),
    ):
        conf.write_text(CONF + groups)
        said = {problem.key: problem.rule for problem in compare(folder.load())}
        assert (key in said) is apart, groups
