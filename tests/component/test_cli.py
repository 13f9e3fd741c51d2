"""The commands as people and scripts run them, against a real control socket and real settings."""

import asyncio
import grp
import json
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from swanherd import settings
from swanherd.cli.exits import Exit
from swanherd.report.control import CommandRefusedError, ControlServer
from swanherd.report.published import Published
from tests.unit.report import snapshots as given

NOBODY = 65534
GROUP = "staff"


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str


async def swanherd(*argv: str | Path, uid: int = 0, gid: int = 0) -> Done:
    """Run the command as it is installed, as the user *uid* of the group *gid*."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "swanherd", *map(str, argv), user=uid, group=gid, extra_groups=[],
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=os.environ | {"COLUMNS": "120"},
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())


class Agent:
    """A control socket with a snapshot behind it; a test says what it holds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.published: Published | None = None
        self.problems: tuple[str, ...] = ()
        self.server = ControlServer(path, group=GROUP, latest=self.latest, commands={"reload": self.reload})

    def latest(self) -> Published | None:
        """The snapshot, as of now: a healthy loop publishes often."""
        if self.published is None:
            return None
        return replace(self.published, at=asyncio.get_running_loop().time())

    async def reload(self) -> Mapping[str, Any]:
        """Refuse for ``problems``, or say what the agent says."""
        if self.problems:
            raise CommandRefusedError(*self.problems)
        return {"connections": 1, "needs_restart": ["vici_socket"]}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory that every user can enter."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@pytest.fixture
async def agent(folder: Path) -> AsyncIterator[Agent]:
    """One whose socket is up and that is well."""
    agent = Agent(folder / "control.sock")
    await agent.server.start()
    agent.published = given.snapshot(given.up(), given.standby())
    yield agent
    await agent.server.stop()


@pytest.fixture
def config(folder: Path) -> Path:
    """The smallest settings that work."""
    (folder / "branch.psk").write_text("a secret that is long enough\n")
    (folder / "branch.psk").chmod(0o600)
    path = folder / "swanherd.toml"
    path.write_text(f"""
[agent]
state_dir = "{folder}"
runtime_dir = "{folder}"
[interfaces.wan]
device = "wan1"
vips = ["203.0.113.10"]
[connections.branch]
interfaces = ["wan"]
remote = ["203.0.113.20"]
local_id = "moon.example"
remote_id = "peer.example"
psk_file = "{folder}/branch.psk"
[connections.branch.children.net]
local = ["10.10.0.0/24"]
remote = ["10.20.0.0/24"]
""")
    return path


def rewrite(file: Path, *changes: tuple[str, str]) -> None:
    """Replace the first by the second of each of *changes* in *file*."""
    text = file.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)


async def test_a_well_gateway_is_zero(agent: Agent) -> None:
    """The table on stdout, nothing on stderr."""
    done = await swanherd("status", "--socket", agent.path)
    assert (done.code, done.err) == (Exit.WELL, "")
    assert "all is well" in done.out
    assert "\x1b" not in done.out


async def test_a_gateway_in_trouble_is_one(agent: Agent) -> None:
    """One connection that is not up is enough."""
    agent.published = given.snapshot(given.up(), given.failing())
    done = await swanherd("status", "--socket", agent.path)
    assert done.code == Exit.DEGRADED
    assert "auth-failed" in done.out


async def test_the_code_is_of_the_connections_that_were_asked_for(agent: Agent) -> None:
    """A check of one tunnel is not disturbed by another one; an unknown name is an error, not a well one."""
    agent.published = given.snapshot(given.up(), given.failing("partner"))
    assert (await swanherd("status", "branch", "--socket", agent.path)).code == Exit.WELL
    assert (await swanherd("status", "partner", "--socket", agent.path)).code == Exit.DEGRADED
    unknown = await swanherd("status", "branch", "nonsense", "--socket", agent.path)
    assert unknown.code == Exit.USAGE
    assert "nonsense" in unknown.err


async def test_json_is_what_the_socket_says(agent: Agent) -> None:
    """With the same exit code as the table."""
    done = await swanherd("status", "--json", "--socket", agent.path)
    assert done.code == Exit.WELL
    assert [each["name"] for each in json.loads(done.out)["connections"]] == ["branch", "warehouse"]
    one = await swanherd("status", "--json", "warehouse", "--socket", agent.path)
    assert [each["name"] for each in json.loads(one.out)["connections"]] == ["warehouse"]


async def test_without_an_agent_it_is_three_and_the_rules_are_told(folder: Path) -> None:
    """Also as JSON; our rules stay when the agent goes, and here there are none."""
    done = await swanherd("status", "--socket", folder / "control.sock")
    assert done.code == Exit.NOT_RUNNING
    assert "not running" in done.err
    assert "No firewall rules" in done.out
    document = json.loads((await swanherd("status", "--json", "--socket", folder / "control.sock")).out)
    assert (document["running"], document["well"]) == (False, False)
    assert document["firewall"]["present"] is False


async def test_the_group_may_look_and_others_may_not(agent: Agent) -> None:
    """Four is not three: not permitted does not mean not running."""
    gid = grp.getgrnam(GROUP).gr_gid
    assert (await swanherd("status", "--socket", agent.path, uid=NOBODY, gid=gid)).code == Exit.WELL
    refused = await swanherd("status", "--socket", agent.path, uid=NOBODY, gid=NOBODY)
    assert refused.code == Exit.NOT_PERMITTED
    assert "be root" in refused.err


async def test_an_agent_that_does_not_answer_is_five(folder: Path) -> None:
    """A frozen one still has its socket, and the kernel takes connections for it."""
    path = folder / "control.sock"
    with socket.socket(socket.AF_UNIX) as frozen:
        frozen.bind(str(path))
        frozen.listen(1)
        done = await swanherd("status", "--socket", path)
    assert done.code == Exit.NO_ANSWER
    assert "has not answered" in done.err
    assert "firewall rules" in done.out


async def test_an_agent_before_its_first_pass_is_five(agent: Agent) -> None:
    """Neither well nor degraded: not known yet."""
    agent.published = None
    assert (await swanherd("status", "--socket", agent.path)).code == Exit.NO_ANSWER


async def test_a_reload_tells_the_verdict(agent: Agent) -> None:
    """Done, refused with every problem, or not permitted."""
    done = await swanherd("reload", "--socket", agent.path)
    assert done.code == Exit.WELL
    assert "vici_socket" in done.out
    agent.problems = ("a.toml: interfaces.wan: wrong", "a.toml: agent.nonsense: unknown")
    refused = await swanherd("reload", "--socket", agent.path)
    assert refused.code == Exit.USAGE
    assert all(problem in refused.err for problem in agent.problems)
    gid = grp.getgrnam(GROUP).gr_gid
    assert (await swanherd("reload", "--socket", agent.path, uid=NOBODY, gid=gid)).code == Exit.NOT_PERMITTED


async def test_teardown_refuses_while_an_agent_runs_and_for_others(agent: Agent) -> None:
    """The agent would put everything back; and only root may."""
    refused = await swanherd("teardown", "--socket", agent.path)
    assert refused.code == Exit.USAGE
    assert "stop it first" in refused.err
    other = await swanherd("teardown", "--socket", agent.path, uid=NOBODY, gid=NOBODY)
    assert other.code == Exit.NOT_PERMITTED


async def test_check_says_everything_at_once(config: Path) -> None:
    """Usable settings are zero; broken ones two, every error with its key, also as JSON."""
    assert (await swanherd("check", config)).code == Exit.WELL
    rewrite(config, ('device = "wan1"', "devise = 1"), ("remote_id", "remotid"))
    done = await swanherd("check", config)
    assert done.code == Exit.USAGE
    assert "interfaces.wan.devise" in done.err
    assert "connections.branch.remotid" in done.err
    told = json.loads((await swanherd("check", config, "--json")).out)
    assert {"interfaces.wan.devise", "connections.branch.remotid"} <= {each["key"] for each in told["errors"]}


async def test_check_says_what_is_not_seen(config: Path) -> None:
    """For each VIP: the faults of keepalived's that its evidence cannot see; a vrid is all that it takes."""
    told = json.loads((await swanherd("check", config, "--json")).out)
    (blind,) = told["unseen"]
    assert (blind["evidence"], len(blind["vips"])) == ([], 1)
    assert "killed" in {fault["name"] for fault in blind["faults"]}
    assert "not seen is that" in (await swanherd("check", config)).out
    conf_d = config.parent / "conf.d"
    conf_d.mkdir(exist_ok=True)
    (conf_d / "90-vrrp.toml").write_text(f"interfaces.{blind['interface']}.vrrp.vrid = 51\n")
    assert "every fault known here is seen" in (await swanherd("check", config)).out


async def test_check_looks_at_the_others_configurations(config: Path) -> None:
    """Keepalived's and charon's: what does not go with the settings is warned of, and refuses nothing.

    Broken by: ``advice.warnings`` without either of them.
    """
    keepalived, charon = config.parent / "keepalived.conf", config.parent / "strongswan.conf"
    keepalived.write_text("vrrp_instance other { virtual_router_id 9 }\n")
    charon.write_text("charon { interfaces_use = wan9 }\n")
    conf_d = config.parent / "conf.d"
    conf_d.mkdir(exist_ok=True)
    (conf_d / "90-others.toml").write_text(
        f'agent.strongswan_conf = "{charon}"\nagent.keepalived_conf = "{keepalived}"\ninterfaces.wan.vrrp.vrid = 51\n'
    )
    done = await swanherd("check", config, "--json")
    assert done.code == Exit.WELL
    rules = "\n".join(each["rule"] for each in json.loads(done.out)["warnings"])
    assert "charon uses wan9 only" in rules
    assert "51" in rules


async def test_check_never_tells_a_secret(config: Path) -> None:
    """Not in the errors, not in the warnings, not in the changes."""
    settings.save_last_good(settings.load(config), config.parent)
    secret = (config.parent / "branch.psk").read_text().strip()
    (config.parent / "branch.psk").write_text("another")
    for argv in (["--diff"], ["--diff", "--json"]):
        done = await swanherd("check", config, *argv)
        assert secret not in done.out + done.err
        assert "another" not in done.out + done.err


async def test_diff_says_what_a_reload_would_do(config: Path) -> None:
    """Compared with the settings in force; three if there are none."""
    assert (await swanherd("check", config, "--diff")).code == Exit.NOT_RUNNING
    settings.save_last_good(settings.load(config), config.parent)
    same = await swanherd("check", config, "--diff")
    assert same.code == Exit.WELL
    assert "would change no live SA" in same.out
    rewrite(config, ("10.20.0.0/24", "10.30.0.0/24"), ("moon.", "sun."))
    done = await swanherd("check", config, "--diff")
    assert done.code == Exit.WELL
    assert "branch: re-establish (local_id:" in done.out
    changes = json.loads((await swanherd("check", config, "--diff", "--json")).out)["changes"]
    assert changes[0]["change"] == "re-establish"


async def test_run_with_nothing_usable_is_two_and_says_why(config: Path) -> None:
    """Every problem on stderr, no traceback."""
    rewrite(config, ('device = "wan1"', "devise = 1"))
    done = await swanherd("run", "--config", config)
    assert done.code == Exit.USAGE
    assert "interfaces.wan.devise" in done.err
    assert "Traceback" not in done.err
