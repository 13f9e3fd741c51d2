"""The last test of the ring: the guide's way out leaves nothing of swanherd's behind."""

from tests.system import guide
from tests.system.site import REPOSITORY, Site


def test_nothing_is_left(site: Site) -> None:
    """After the guide's last section: no table, connection, secret, user, unit or directory of ours on the gateway.

    Broken by: leaving ``swanherd teardown`` out of the guide (the tables stay).
    """
    host = site.master()
    said = guide.follow(host, "uninstall", repository=REPOSITORY)

    assert "nothing of swanherd's is left" in said
    assert "swanherd" not in host.run("nft", "list", "tables").stdout
    assert host.run("swanctl", "--list-conns").stdout == ""
    assert host.shell("getent passwd swanherd || getent group swanherd || getent group vici || true") == ""
    assert host.shell("systemctl cat swanherd 2>/dev/null || true") == ""
    assert (
        host.shell(
            "find / -xdev -iname '*swanherd*' -not -path '/proc/*' -not -path '/media/*' -not -path '/run/log/*'"
        )
        == ""
    )
