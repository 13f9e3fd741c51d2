"""The commands with a real agent between them: started, asked, reloaded, stopped, removed. Nothing of IPsec runs."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from swanherd.cli.exits import Exit
from tests.lab.waiting import wait_until

SETTINGS = """
[agent]
state_dir = "{folder}"
runtime_dir = "{folder}"
vici_socket = "{folder}/charon.vici"
metrics_listen = "off"
[interfaces.wan]
device = "no-such-device"
vips = ["192.0.2.33"]
[connections.branch]
interfaces = ["wan"]
remote = ["192.0.2.44"]
local_id = "moon.example"
remote_id = "peer.example"
psk_file = "{folder}/branch.psk"
[connections.branch.children.net]
local = ["10.10.0.0/24"]
remote = ["10.20.0.0/24"]
"""


class Host:
    """Settings, a control socket and an agent of a test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "swanherd.toml"
        (folder / "branch.psk").write_text("a secret that is long enough\n")
        (folder / "branch.psk").chmod(0o600)
        self.config.write_text(SETTINGS.format(folder=folder))
        self.agent: subprocess.Popen[bytes] | None = None

    def swanherd(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a command on this host's socket and directories."""
        more = ["--socket", str(self.folder / "control.sock")]
        if argv[0] == "teardown":
            more += ["--runtime-dir", str(self.folder), "--state-dir", str(self.folder)]
            more += ["--vici-socket", str(self.folder / "charon.vici")]
        return subprocess.run(
            [sys.executable, "-m", "swanherd", *argv, *more], capture_output=True, text=True, check=False, timeout=30
        )

    def start(self) -> None:
        """Start the agent, and wait until the first pass is told."""
        self.agent = subprocess.Popen([sys.executable, "-m", "swanherd", "run", "--config", str(self.config)])
        wait_until(
            lambda: self.swanherd("status").returncode in {Exit.WELL, Exit.DEGRADED},
            "a status",
            every_s=0.1,
            within_s=30.0,
        )

    def status(self) -> dict[str, Any]:
        """The status as JSON."""
        document: dict[str, Any] = json.loads(self.swanherd("status", "--json").stdout)
        return document

    def stop(self) -> int:
        """Ask the agent to stop; its exit code."""
        assert self.agent is not None
        self.agent.terminate()
        return self.agent.wait(20)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """One with nothing on it before and after."""
    host = Host(tmp_path)
    yield host
    if host.agent is not None and host.agent.poll() is None:
        host.agent.kill()
        host.agent.wait()
    host.swanherd("teardown")


def test_from_start_to_teardown(host: Host) -> None:
    """Status with a reason, the rules that outlive the agent, and nothing left after teardown."""
    host.start()
    (connection,) = host.status()["connections"]
    assert (connection["role"], connection["reason"]) == ("standby", "no-device")
    dropped = wait_until(lambda: host.status()["firewall"]["dropped"], "the counters are told", every_s=0.1)
    assert dropped.keys() == {"guard", "fence", "fence_pairs", "mobike", "stale_vip", "leak"}
    assert host.swanherd("teardown").returncode == Exit.USAGE
    assert host.stop() == 0
    after = host.swanherd("status")
    assert after.returncode == Exit.NOT_RUNNING
    assert "192.0.2.33" in after.stdout
    done = host.swanherd("teardown")
    assert (done.returncode, done.stderr) == (Exit.WELL, "")
    assert "No firewall rules" in host.swanherd("status").stdout


def test_a_second_agent_is_refused_and_says_why(host: Host) -> None:
    """And the first one goes on."""
    host.start()
    second = subprocess.run(
        [sys.executable, "-m", "swanherd", "run", "--config", str(host.config)],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert second.returncode == 1
    assert "another swanherd runs on" in second.stderr
    assert host.swanherd("status").returncode == Exit.DEGRADED


def test_a_broken_file_is_refused_by_reload_and_the_status_says_so(host: Host) -> None:
    """Whole or not at all; and the mended file ends it."""
    host.start()
    whole = host.config.read_text()
    host.config.write_text(whole.replace("device =", "devise ="))
    refused = host.swanherd("reload")
    assert refused.returncode == Exit.USAGE
    assert "interfaces.wan.devise" in refused.stderr

    def stale() -> bool:
        return bool(host.status()["config"]["stale"])

    wait_until(stale, "config_stale")
    assert "interfaces.wan.devise" in host.swanherd("status").stdout
    host.config.write_text(whole)
    assert host.swanherd("reload").returncode == Exit.WELL
    wait_until(lambda: not stale(), "the end of config_stale")
