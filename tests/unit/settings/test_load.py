"""Files in, settings out: what is read, in which order, and what is said about what is wrong."""

from collections.abc import Callable
from ipaddress import IPv4Address

import pytest

from swanherd.core.intent import Child, Connection, Identity, Interface
from swanherd.core.words import Start
from swanherd.settings import SettingsError, load

from .conftest import SECRET, Folder

Change = Callable[[str, str], None]


def test_smallest(folder: Folder) -> None:
    """The smallest settings are the intent that a reader expects, every default filled in."""
    settings = folder.load()
    assert settings.intent.interfaces["wan"] == Interface("wan", "wan1", (IPv4Address("203.0.113.10"),))
    assert settings.intent.connections["branch"] == Connection(
        name="branch",
        interfaces=("wan",),
        remote=("203.0.113.20",),
        children=(Child("net", ("10.10.0.0/24",), ("10.20.0.0/24",)),),
        local_id=Identity("moon.example"),
        remote_id="peer.example",
    )
    assert settings.secrets["branch"].value == SECRET.encode()
    assert settings.options.control_path.as_posix() == "/run/swanherd/control.sock"
    assert settings.options.metrics == ("127.0.0.1", 9817)


def test_conf_d_adds_and_overrides(folder: Folder) -> None:
    """Files of conf.d come after the main file in the order of their names: tables merge, values and lists replace."""
    folder.write('interfaces.wan.device = "a"\nagent.ike_ports = [1500]\n', name="conf.d/20-host.toml")
    folder.write('[interfaces.wan]\ndevice = "b"\n[interfaces.lan]\ndevice = "c"\n', name="conf.d/10-site.toml")
    settings = folder.load()
    assert settings.intent.interfaces["wan"].device == "a"
    assert settings.intent.interfaces["wan"].vips == (IPv4Address("203.0.113.10"),)
    assert settings.intent.interfaces["lan"].device == "c"
    assert settings.intent.ike_ports == (1500,)


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_conf_d_by_name_not_by_age(folder: Folder, order: tuple[int, int]) -> None:
    """The order of conf.d is that of the names, whichever file was written first."""
    for number in order:
        folder.write(f'interfaces.wan.device = "wan{number}"', name=f"conf.d/{number}0.toml")
    assert folder.load().intent.interfaces["wan"].device == "wan2"


def test_conf_d_reads_toml_only(folder: Folder) -> None:
    """Backups of editors, hidden files and other suffixes in conf.d are not read."""
    for name in ("10-host.toml~", ".10-host.toml", "README", "x.toml.dpkg-old"):
        folder.write("this is no TOML", name=f"conf.d/{name}")
    folder.load()


def test_every_problem_at_once(folder: Folder) -> None:
    """Broken TOML, wrong types, unknown keys, wrong addresses: all in one answer, each with its own file and key."""
    folder.write("[agent]\non_stop = 'explode'\n[interfaces.wan\n", name="conf.d/10-broken.toml")
    host = folder.write('interfaces.wan.devcie = "x"\nconnections.branch.rekey_s = true\n', name="conf.d/20-host.toml")
    other = folder.write(
        "[connections.other]\ninterfaces = ['lan']\nremote = ['203.0.113.300']\nmode = 'transport'\npsk = 5\n"
        "children.net = { local = ['10.1.0.1/24'], remote = ['10.2.0.0/24'] }\n",
        name="conf.d/30-other.toml",
    )
    with pytest.raises(SettingsError) as caught:
        folder.load()
    found = {(problem.file.rpartition("/")[2], problem.key) for problem in caught.value.problems}
    assert found == {
        ("10-broken.toml", "line 3, column 16"),
        (host.name, "interfaces.wan.devcie"),
        (host.name, "connections.branch.rekey_s"),
        (other.name, "connections.other.remote[0]"),
        (other.name, "connections.other.psk"),
        (other.name, "connections.other.children.net.local[0]"),
    }
    assert len(str(caught.value).splitlines()) == len(found)


def test_wrong_field_hides_no_other_rule(folder: Folder, changed: Change) -> None:
    """A connection with one wrong field is still checked against the rules between fields."""
    changed('interfaces = ["wan"]', 'interfaces = ["wan", "lan"]\ndpd_delay_s = 0\ndpd_timeout_s = 9\nrekey_s = "soon"')
    assert folder.problems() == {
        "connections.branch.rekey_s": "must be a whole number",
        "connections.branch.dpd_timeout_s": "means nothing where dpd_delay_s is 0: nobody is asked",
        "connections.branch.interfaces[1]": "there is no interface 'lan' (known: wan)",
    }


def test_one_mistake_one_line(folder: Folder, changed: Change) -> None:
    """What depends on a wrong field is not complained about too: no missing secret, no unknown interface."""
    changed('psk_file = "branch.psk"', "psk_file = 7")
    changed('device = "wan1"', 'device = "far too long for a device"')
    assert set(folder.problems()) == {"connections.branch.psk_file", "interfaces.wan.device"}


def test_missing_key_names_the_file_of_its_table(folder: Folder) -> None:
    """A key that is missing is missing in the file that opened its table."""
    file = folder.write("[connections.other]\nremote = ['203.0.113.9']\n", name="conf.d/10-other.toml")
    with pytest.raises(SettingsError) as caught:
        folder.load()
    assert {(p.file, p.key, p.rule) for p in caught.value.problems} == {
        (str(file), "connections.other.interfaces", "is required"),
        (str(file), "connections.other.children", "is required"),
    }


def test_missing_key_of_a_shared_table(folder: Folder, changed: Change) -> None:
    """A table that several files write to was opened by the first of them."""
    changed('device = "wan1"\n', "")
    folder.write("interfaces.wan.vrrp.vrid = 51", name="conf.d/10-site.toml")
    with pytest.raises(SettingsError) as caught:
        folder.load()
    assert [(p.file, p.key) for p in caught.value.problems] == [(str(folder.main), "interfaces.wan.device")]


def test_unknown_key_suggests(folder: Folder, changed: Change) -> None:
    """A mistyped key is refused, with the one that was probably meant."""
    changed("local_id", "locl_id")
    assert folder.problems() == {"connections.branch.locl_id": "unknown key; did you mean 'local_id'?"}


def test_table_against_value(folder: Folder) -> None:
    """A key that is a table in one file and a value in another is a contradiction, not an override."""
    folder.write('interfaces.wan = "wan1"\n', name="conf.d/10.toml")
    assert "is a value here and a table in" in folder.problems()["interfaces.wan"]


def test_names_are_plain(folder: Folder) -> None:
    """A name with a blank or a dot is refused: it is a name in charon and a label in metrics."""
    folder.write('[interfaces."w n"]\ndevice = "x"\n[connections."a.b"]\n', name="conf.d/10.toml")
    assert set(folder.problems()) == {"interfaces.w n", "connections.a.b"}


def test_no_main_file(folder: Folder) -> None:
    """Without its main file nothing is loaded, whatever is in conf.d."""
    folder.main.unlink()
    assert folder.problems()[""] == "cannot be read: No such file or directory"


def test_nothing_at_all_is_valid(folder: Folder) -> None:
    """An empty main file is valid: an agent that cares for nothing yet."""
    folder.write("")
    assert not load(folder.main).intent.connections


def test_responder_only(folder: Folder, changed: Change) -> None:
    """A peer that can be anywhere is served by a responder that knows its identity."""
    changed('remote = ["203.0.113.20"]', 'remote = ["0.0.0.0"]\nstart = "responder-only"')
    assert folder.load().intent.connections["branch"].start is Start.RESPOND
