"""charon's configuration: what is read of it, and what gets in the way of the settings."""

from pathlib import Path

import pytest

from swanherd.settings.charoncheck import compare_charon
from swanherd.settings.swanctlconf import values

from .conftest import Folder

CONF = """\
charon {
    interfaces_use = wan9, lan   # a comment
    plugins { include more.conf
    }
}
charon-systemd { }
"""


@pytest.fixture
def conf(folder: Folder) -> Path:
    """The file, where the settings look for it."""
    path = folder.write(CONF, name="strongswan.conf")
    folder.write(f'agent.strongswan_conf = "{path}"', name="conf.d/10.toml")
    return path


def warned(folder: Folder) -> dict[str, str]:
    """The warnings, by key."""
    return {problem.key: problem.rule for problem in compare_charon(folder.load())}


def test_what_is_read(conf: Path) -> None:
    """Settings by their path, on one line or several, and those of included files.

    Broken by: ``_values`` without the includes.
    """
    (conf.parent / "more.conf").write_text("kernel-netlink {\n roam_events = no }\n")
    found = values(conf)
    assert found["charon", "interfaces_use"] == "wan9, lan"
    assert found["charon", "plugins", "kernel-netlink", "roam_events"] == "no"


def test_a_device_that_charon_does_not_use(folder: Folder, conf: Path) -> None:
    """``interfaces_use`` without our device, or ``interfaces_ignore`` with it; the section of systemd's unit counts.

    Broken by: ``_devices`` that reads one section only.
    """
    assert "charon uses lan, wan9 only" in warned(folder)["interfaces.wan.device"]
    conf.write_text(CONF.replace("charon-systemd { }", "charon-systemd { interfaces_use = wan1 }"))
    assert warned(folder) == {}
    conf.write_text("charon {\n interfaces_ignore = wan1\n}\n")
    assert "charon ignores wan1" in warned(folder)["interfaces.wan.device"]
    conf.unlink()
    assert warned(folder) == {}


def test_roaming_against_the_default_route(folder: Folder, conf: Path) -> None:
    """MOBIKE beside several ways out, or any: charon and swanherd would both move the tunnel.

    Broken by: ``_connection`` that looks at neither.
    """
    conf.write_text("")
    text = folder.main.read_text().replace('interfaces = ["wan"]', 'interfaces = ["any"]\nmobike = true')
    folder.write(text)
    assert "roaming" in warned(folder)["connections.branch.mobike"]
