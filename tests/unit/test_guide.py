"""What the pages for users show is used as it stands: commands are run by a test, settings load."""

import re
import textwrap
from pathlib import Path

import pytest

from swanherd.settings import load
from tests.system import guide

RING = Path(guide.__file__).parent
ROOT = RING.parents[1]


def test_every_section_is_followed_by_a_test() -> None:
    """Each section of the guide's commands is followed somewhere in the system ring.

    Broken by: a new ``section=`` in docs/install.md.
    """
    code = "".join(path.read_text() for path in RING.glob("*.py"))
    sections = {block.section for block in guide.blocks()} - {guide.INSTALL}
    assert {"upgrade", "uninstall"} <= sections
    assert [name for name in sections if f'guide.follow(host, "{name}"' not in code] == []


TOML = re.compile(
    r"^ *```toml\n(.*?)^ *```$|^cat >/etc/swanherd/swanherd.toml <<'END'\n(.*?)^END$", re.DOTALL | re.MULTILINE
)


@pytest.mark.parametrize("page", ["README.md", "docs/install.md", "contrib/keepalived/README.md"])
def test_settings_on_the_page_can_be_used(page: str, tmp_path: Path) -> None:
    """The settings that a page shows load as they stand, once the secret is there.

    Broken by: a misspelt key in one of them.
    """
    (text,) = ("".join(found.groups("")) for found in TOML.finditer((ROOT / page).read_text()))
    main = tmp_path / "swanherd.toml"
    main.write_text(textwrap.dedent(text))
    secret = tmp_path / "secrets" / "branch.psk"
    secret.parent.mkdir()
    secret.write_text("a secret that is long enough")
    secret.chmod(0o600)
    assert load(main).intent.interfaces["wan"].vrrp is not None
