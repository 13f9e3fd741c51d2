"""The unit as shipped: whatever is done to the service, a tunnel that is up loses no packet."""

import pytest

from tests.lab.booted import BootedHost
from tests.lab.waiting import wait_until
from tests.system import guide
from tests.system.release import publish_next
from tests.system.site import REPOSITORY, SETTLED_S, Site, status

WATCHDOG_S = 10.0
"""WatchdogSec= of the unit; the manager then needs a moment, and the new agent a second."""


def test_restart(site: Site) -> None:
    """``systemctl restart`` on both gateways."""
    with site.undisturbed():
        for host in site.gateways:
            host.shell("systemctl restart swanherd")
    assert status(site.master())["connections"][0]["reason"] == "up"


def _wait_for_another(host: BootedHost, pid: str, *, within_s: float = SETTLED_S) -> None:
    """Wait until another process than *pid* is the agent, and ready."""

    def replaced() -> bool:
        # In this order: while the old state is still told, the old process is too.
        return host.unit("swanherd", "MainPID") not in {pid, "0"} and host.unit("swanherd", "ActiveState") == "active"

    wait_until(replaced, "another agent is ready", within_s=within_s)


def test_killed(site: Site) -> None:
    """An agent that is killed with -9 is there again by itself."""
    host = site.master()
    pid = host.unit("swanherd", "MainPID")
    with site.undisturbed():
        host.run("kill", "-KILL", pid)
        _wait_for_another(host, pid)


def test_watchdog(site: Site) -> None:
    """An agent that is frozen is killed by the manager and started anew.

    Broken by: ``WatchdogSec=`` taken out of the unit; ``Restart=no``.
    """
    host = site.master()
    pid = host.unit("swanherd", "MainPID")
    with site.undisturbed():
        host.run("kill", "-STOP", pid)
        _wait_for_another(host, pid, within_s=WATCHDOG_S + SETTLED_S)
    assert "Watchdog timeout" in host.journal("-u", "swanherd")


def test_reload(site: Site) -> None:
    """``systemctl reload`` takes new settings into force; broken ones make it fail, and then start from the last good.

    Broken by: ``ExecReload=/bin/kill -HUP $MAINPID`` (the broken file is not told).
    """
    host = site.master()
    extra = "/etc/swanherd/conf.d/50-test.toml"
    reload = "systemctl reload swanherd && echo done || echo refused"
    with site.undisturbed():
        host.write(extra, "[agent]\nretry_max_s = 30.0\n")
        assert host.shell(reload) == "done\n"
        host.write(extra, "[agent]\nretry_max_s = 'never'\n")
        assert host.shell(reload) == "refused\n"
        assert "retry_max_s" in status(host)["config"]["why"]
        assert "retry_max_s" in host.journal("-u", "swanherd", "-n", "20")
        host.shell("systemctl restart swanherd")
        assert status(host)["config"]["stale"]
        host.run("rm", extra)
        assert host.shell(reload) == "done\n"
        assert not status(host)["config"]["stale"]


@pytest.mark.timeout(400)  # four installations, each of which takes a minute on a busy machine
def test_upgrade_in_place(site: Site) -> None:
    """The guide's upgrade and its way back, standby first, then the active gateway: no packet is lost either way."""
    before = status(site.master())["version"]
    version = publish_next(site.lab.media / "swanherd")
    master = site.master()
    with site.undisturbed():
        for host in (site.other(master), master):
            guide.follow(host, "upgrade", repository=REPOSITORY)
    assert {status(host)["version"] for host in site.gateways} == {version}
    assert site.master() is master
    print(f"upgrade on the active gateway:\n{master.journal('-u', 'swanherd', '-n', '20')}")

    with site.undisturbed():
        for host in (site.other(master), master):
            guide.follow(host, "back", repository=REPOSITORY)
    assert {status(host)["version"] for host in site.gateways} == {before}
