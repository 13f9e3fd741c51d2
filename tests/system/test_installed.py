"""What the guide has made: who runs, what belongs to whom, and that the examples are used as they are shipped."""

import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.lab.booted import BootedHost
from tests.lab.waiting import wait_until
from tests.system.site import SETTLED_S, Site, status

CLONE: Final = Path(__file__).parents[2]
EXAMPLES: Final = sorted(str(path.relative_to(CLONE)) for path in (CLONE / "contrib/keepalived").rglob("*.conf"))
EXPOSURE: Final = 21
"""The best value, in tenths, by systemd 252 and 257 alike; docs/reference/hardening.md says what the rest is for."""
SANDBOX: Final = frozenset(
    {
        *("User", "Group", "AmbientCapabilities", "CapabilityBoundingSet", "RestrictAddressFamilies", "ProtectSystem"),
        *("ProtectHome", "PrivateTmp", "PrivateDevices", "ProtectKernelTunables", "ProcSubset", "NoNewPrivileges"),
        *("RestrictNamespaces", "LockPersonality", "MemoryDenyWriteExecute", "SystemCallArchitectures"),
        *("SystemCallFilter", "SystemCallErrorNumber"),
    }
)
"""The unit's settings that can keep a program from doing something."""
CAPABILITIES: Final = (1 << 12) | (1 << 13)
"""CAP_NET_ADMIN and CAP_NET_RAW, capability(7)."""
_AS_MEMBER: Final = "setpriv --reuid=nobody --regid=nogroup --groups=swanherd --"


def test_one_gateway_is_active_and_one_stands_by(site: Site) -> None:
    """After the guide, the gateway with the address runs the tunnel, the other one stands by, and both are well."""
    told = {host.name: status(host) for host in site.gateways}
    roles = {name: document["connections"][0]["role"] for name, document in told.items()}

    assert sorted(roles.values()) == ["active", "standby"]
    assert roles[site.master().name] == "active"
    assert all(document["well"] for document in told.values()), told


def test_agent_has_two_capabilities_and_a_user_of_its_own(site: Site) -> None:
    """The agent runs as its own user, with two capabilities that cannot become more, under a system call filter.

    Broken by: removing ``CapabilityBoundingSet=`` from the unit (``NoNewPrivileges=`` follows from the filter too).
    """
    host = site.master()
    state = host.run("cat", f"/proc/{host.unit('swanherd', 'MainPID')}/status").stdout
    field = dict(re.findall(r"^(\w+):\t(.*)$", state, re.MULTILINE))

    assert field["Uid"].split()[0] == host.run("id", "-u", "swanherd").stdout.strip()
    assert {int(field[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {CAPABILITIES}
    assert (field["NoNewPrivs"], field["Seccomp"]) == ("1", "2")


def test_nothing_is_refused_by_the_sandbox(site: Site) -> None:
    """Under the unit as shipped every source is up and synced, metrics are served, and nothing is told as an error.

    Broken by: ``RestrictAddressFamilies=`` without AF_NETLINK (no start) or without AF_INET ("adverts: no-permission"),
    and no ``vici`` group (charon is never synced); the guide's own look at the status says so first.
    """
    fetch = "from urllib.request import urlopen; print(urlopen('http://127.0.0.1:9817/metrics').read().decode())"
    for host in site.gateways:
        sources = {source["name"]: source["synced"] for source in status(host)["sources"]}
        assert all(sources.values()), sources
        assert "swanherd_build_info" in host.run("python3", "-c", fetch).stdout
        told = host.journal("-u", "swanherd", "-b", "-o", "cat")
        assert '"level": "error"' not in told, told


def test_everything_can_be_imported_in_the_sandbox(site: Site) -> None:
    """Every module of ours, with the libraries that are imported late, loads under what the unit forbids.

    Broken by: a module that maps memory for writing and execution when it is imported.
    """
    service = (CLONE / "systemd/swanherd.service").read_text().partition("[Service]")[2].partition("[Install]")[0]
    sandbox = [line for line in service.splitlines() if line.partition("=")[0] in SANDBOX]
    assert len(sandbox) > len(SANDBOX)
    walk = (
        "import importlib, pkgutil, swanherd; "
        "names = [m.name for m in pkgutil.walk_packages(swanherd.__path__, 'swanherd.') if m.name[-8:] != '__main__']; "
        "[importlib.import_module(name) for name in names]; print(len(names), 'modules')"
    )
    python = '"$(dirname "$(readlink -f /usr/local/sbin/swanherd)")/python"'
    properties = " ".join(f"--property='{line}'" for line in sandbox)
    run = f"systemd-run --quiet --pipe --wait --collect {properties} {python} -c"

    said = site.master().shell(f'{run} "{walk}"')
    assert int(said.split()[0]) > 100
    assert said.endswith("modules\n")


def test_vici_and_secrets_are_for_the_agent_only(site: Site) -> None:
    """Charon answers the service user; who may read the status can neither reach charon nor read a secret.

    Broken by: ``SystemCallFilter=@chown`` taken out of the unit (the group cannot be given the control socket).
    """
    host = site.master()

    assert "uptime" in host.shell("setpriv --reuid=swanherd --regid=swanherd --init-groups swanctl --stats")
    assert '"role"' in host.shell(f"{_AS_MEMBER} swanherd status --json")
    assert host.shell(f"{_AS_MEMBER} swanctl --stats && echo reached || echo refused").endswith("refused\n")
    assert host.shell(f"{_AS_MEMBER} cat /etc/swanherd/secrets/branch.psk && echo read || echo kept") == "kept\n"
    assert host.shell(f"{_AS_MEMBER} swanherd reload && echo done || echo refused") == "refused\n"
    assert host.shell("setpriv --reuid=nobody --clear-groups swanherd status && echo read || echo kept") == "kept\n"


def test_it_goes_before_those_who_have_more_to_do(site: Site) -> None:
    """In a takeover charon takes all processors. Broken by: ``Nice=`` taken out of the unit."""
    status = site.master().shell('cat "/proc/$(systemctl show --property MainPID --value swanherd)/stat"')
    assert int(status.rpartition(")")[2].split()[16]) < 0


def test_exposure_is_the_best_that_works() -> None:
    """``systemd-analyze security`` gives the unit no more than the value that docs/reference/hardening.md explains.

    Broken by: removing any line of the unit's two lower sections, but for those that this tool does not know
    (``PrivateIPC=``, ``LimitCORE=``; ``PrivateMounts=`` on Debian 13) and for ``DevicePolicy=``, which follows from
    ``PrivateDevices=``.
    """
    judge = ("systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE}")
    done = subprocess.run([*judge, "systemd/swanherd.service"], cwd=CLONE, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout[-200:]
    page = (CLONE / "docs/reference/hardening.md").read_text()
    costs = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("✗")]
    assert costs
    assert [name for name in costs if f"`{name}`" not in page] == [], (
        "docs/reference/hardening.md does not explain these"
    )


def test_check_has_nothing_to_warn_of(site: Site) -> None:
    """What the guide has the operator write matches the keepalived.conf that it installs.

    Broken by: another ``advert_int`` in contrib/keepalived/pair/gateway-a.conf.
    """
    for host in site.gateways:
        assert "warning" not in host.shell("runuser -u swanherd -- swanherd check 2>&1")


def test_fifo_outlives_keepalived(site: Site) -> None:
    """Keepalived uses the FIFO that tmpfiles.d has made: it is there, the agent's, and the same after a restart."""
    host = site.other(site.master())
    look = ("stat", "--format=%F %U %i", "/run/swanherd/notify.fifo")
    before = host.run(*look).stdout
    host.shell("systemctl reload keepalived; systemctl restart keepalived")

    assert before.startswith("fifo swanherd ")
    assert host.run(*look).stdout == before


@pytest.mark.parametrize("name", EXAMPLES)
def test_keepalived_takes_the_example(site: Site, name: str) -> None:
    """``keepalived --config-test`` has nothing to say about an example, and would have about a misspelt word."""
    host = site.master()
    test = "keepalived --config-test --use-file"
    hook = "/etc/keepalived/swanherd-notify.sh"
    host.shell(f"install -m 0755 /opt/swanherd/src/contrib/keepalived/notify.sh {hook}")

    assert host.shell(f"{test} /opt/swanherd/src/{name} 2>&1") == ""
    broken = f"sed s/virtual_router_id/virtual_ruoter_id/ /opt/swanherd/src/{name} >/tmp/broken.conf"
    assert host.shell(f"{broken}; {test} /tmp/broken.conf >/dev/null 2>&1 && echo taken || echo refused") == "refused\n"
    host.run("rm", hook)


def test_minimal_example_is_enough(site: Site) -> None:
    """With the minimal keepalived.conf, without D-Bus and FIFO, one gateway runs the tunnel and one stands by."""
    settings = "/etc/swanherd/swanherd.toml"
    whole = site.gateways[0].run("cat", settings).stdout
    least = whole.replace("advert_interval_s = 0.2\n", "").partition("evidence = ")
    assert least[1]

    def use(host: BootedHost, name: str, text: str) -> None:
        host.write(settings, text)
        host.shell(f"cp /opt/swanherd/src/contrib/keepalived/{name}.conf /etc/keepalived/keepalived.conf")
        host.shell("systemctl restart keepalived; systemctl reload swanherd")
        assert "warning" not in host.shell("swanherd check 2>&1")

    def roles() -> list[tuple[str, str]]:
        told = [status(host)["connections"][0] for host in site.gateways]
        return sorted((connection["role"], connection["reason"]) for connection in told)

    site.on_both(lambda host: use(host, "minimal", least[0] + least[2].partition("\n")[2]))
    wait_until(lambda: roles()[0] == ("active", "up") and roles()[1][0] == "standby", "one runs it", within_s=SETTLED_S)
    for host, name in zip(site.gateways, ("gateway-a", "gateway-b"), strict=True):
        use(host, f"pair/{name}", whole)
    site.wait_for_traffic()
