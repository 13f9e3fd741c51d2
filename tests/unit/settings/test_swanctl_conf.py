"""A name in somebody's swanctl.conf is not free."""

from pathlib import Path

import pytest

from swanherd.settings.swanctlconf import connection_names

from .conftest import Folder

CONF = """\
# connections { commented { } }
connections {
    first {
        remote_addrs = 192.0.2.1   # no-name {
        children { net { local_ts = 10.0.0.0/8 } }
    }
    second : templates.base { version = 2 }
    "third" { }
    fourth

    {
    }
    local { auth = psk }
    value = not-a-name
}
secrets { ike-1 { secret = "connections { trick { } }" } }
include conf.d/*.conf
connections { include inner.conf
}
"""


LOOP = "include ../swanctl.conf\ninclude ../conf.d/../swanctl.conf\n"
"""Doubles with each level: without an end to the levels it has none that a test could wait for."""


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """A swanctl.conf that uses the whole syntax, with includes and a loop of them."""
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "swanctl.conf").write_text(CONF)
    (tmp_path / "conf.d/a.conf").write_text("connections { included { } }\n" + LOOP)
    (tmp_path / "inner.conf").write_text("inside { version = 1 }\n")
    return tmp_path / "swanctl.conf"


def test_names(conf: Path) -> None:
    """Names are the sections right below ``connections``: in included files too, not in comments, values or deeper."""
    found = connection_names(conf)
    assert found == {"first", "second", "third", "fourth", "included", "inside", "local"}


def test_nothing_there(tmp_path: Path) -> None:
    """No file, no names; nor in a directory or in bytes that are no text."""
    assert not connection_names(tmp_path / "swanctl.conf")
    assert not connection_names(tmp_path)
    (tmp_path / "x").write_bytes(b'\xff\x00}{}{ "')
    assert not connection_names(tmp_path / "x")


def test_taken(folder: Folder, conf: Path) -> None:
    """A connection that somebody else has by the same name is refused at its key; another one is not."""
    folder.write(f'agent.swanctl_conf = "{conf}"', name="conf.d/10.toml")
    folder.load()
    folder.write(folder.main.read_text().replace("branch]", "included]"))
    assert "swanctl --load-all" in folder.problems()["connections.included"]
