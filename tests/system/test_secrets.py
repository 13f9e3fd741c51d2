"""Secrets change under a tunnel that is up: as files on reload, as systemd credentials on restart."""

from tests.lab.booted import BootedHost
from tests.system import guide
from tests.system.site import REPOSITORY, Site


def _move(site: Site) -> None:
    """Make both ends prove their secret: the other gateway takes over, with a handshake of its own."""
    master = site.master()
    site.moved(lambda: master.shell("systemctl restart keepalived"), to=site.other(master))


def test_file_on_reload(site: Site) -> None:
    """A secret's file is read again on reload: the tunnel stays, and the next handshake uses the new secret."""
    with site.undisturbed():
        for host in site.gateways:
            host.shell("cat >/etc/swanherd/secrets/branch.psk", typed="the second secret\n")
            guide.follow(host, "reload", repository=REPOSITORY)
    site.load_peer("the second secret")
    _move(site)


def test_credential_on_restart(site: Site) -> None:
    """A secret as a credential: moving to it and rotating it by restarts loses no packet, and what is new is used."""
    with site.undisturbed():
        for host in site.gateways:
            guide.follow(host, "credential", repository=REPOSITORY)
            assert not host.path("/etc/swanherd/secrets/branch.psk").exists()
    _move(site)
    _check_sees_the_credential(site.master())
    with site.undisturbed():
        for host in site.gateways:
            host.shell(
                "cat >/etc/swanherd/credentials/branch.psk; systemctl restart swanherd", typed="the third secret\n"
            )
    site.load_peer("the third secret")
    _move(site)
    site.on_both(_as_file)


def _check_sees_the_credential(host: BootedHost) -> None:
    """A shell's check reads what the running service was given, and says where it looked when nothing runs.

    Broken by: ``credentials_of_service`` answering None outside of a unit.
    """
    for who in ("", "runuser -u swanherd -- "):
        assert "can be used" in host.shell(f"{who}swanherd check --diff")
    host.shell("systemctl stop swanherd")
    said = host.shell("swanherd check 2>&1 || echo refused with $?")
    host.shell("systemctl start swanherd")
    assert "/etc/swanherd/secrets/branch.psk cannot be read" in said
    assert "nor is there the credential /run/credentials/swanherd.service/branch.psk: No such file" in said
    assert said.endswith("refused with 2\n")


def _as_file(host: BootedHost) -> None:
    host.shell("install -m 0400 -o swanherd /etc/swanherd/credentials/branch.psk /etc/swanherd/secrets/branch.psk")
    host.shell("rm -r /etc/systemd/system/swanherd.service.d; systemctl daemon-reload; systemctl restart swanherd")
