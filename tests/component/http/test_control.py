"""The control socket: who may what, and one agent a socket."""

import asyncio
import grp
import json
import multiprocessing
import os
import signal
import socket
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from swanherd.report import control
from swanherd.report.http import ListenError
from swanherd.report.published import Published
from tests.component.http.conversation import Answer, ask, closed, dial
from tests.unit.report import snapshots as given

NOBODY = 65534
GROUP = "staff"


class Agent:
    """What stands behind the socket: a snapshot, and commands that note that they ran."""

    def __init__(self) -> None:
        self.published: Published | None = given.snapshot(given.up(), at=asyncio.get_running_loop().time())
        self.reloads = 0
        self.problems: tuple[str, ...] = ()
        self.hang = False

    def latest(self) -> Published | None:
        """The latest snapshot."""
        return self.published

    async def reload(self) -> Mapping[str, Any]:
        """Refuse, hang or do it."""
        if self.problems:
            raise control.CommandRefusedError(*self.problems)
        if self.hang:
            await asyncio.Event().wait()
        self.reloads += 1
        return {"connections": 1}

    def server(self, path: Path, *, group: str | None = GROUP) -> control.ControlServer:
        """A server on *path*."""
        return control.ControlServer(
            path,
            group=group,
            latest=self.latest,
            commands={"reload": self.reload},
            explain={"site": {"name": "site"}}.get,
            command_deadline_s=0.2,
        )


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory that every user can enter, as /run/swanherd is."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@pytest.fixture
async def agent() -> Agent:
    """A healthy one."""
    return Agent()


@pytest.fixture
async def path(agent: Agent, folder: Path) -> AsyncIterator[Path]:
    """The socket of a running server."""
    path = folder / "control.sock"
    server = agent.server(path)
    await server.start()
    yield path
    await server.stop()


async def ask_as(uid: int, gid: int, path: Path, resource: str, method: str = "GET") -> Answer:
    """Ask in a process of another user: the kernel tells the server who that is."""
    program = (
        "import socket, sys\n"
        "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
        "s.sendall(f'{sys.argv[2]} {sys.argv[3]} HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n'.encode())\n"
        "while data := s.recv(4096): sys.stdout.write(data.decode())\n"
    )
    process = await asyncio.create_subprocess_exec(
        "/usr/bin/python3", "-I", "-c", program, path, method, resource,
        user=uid, group=gid, extra_groups=[], stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, errors = await process.communicate()
    if process.returncode:
        raise PermissionError(errors.decode())
    head, _, body = out.decode().partition("\r\n\r\n")
    return Answer(int(head.split()[1]), head, body)


async def test_a_connection_is_explained_by_its_name(path: Path) -> None:
    """What the agent tells of one connection, to whoever may read the status; 404 for a name that nobody has.

    Broken by: taking it for a command, which is for root and POST.
    """
    gid = grp.getgrnam(GROUP).gr_gid
    answer = await ask_as(NOBODY, gid, path, "/v1/explain/site")
    assert (answer.code, json.loads(answer.body)) == (200, {"name": "site"})
    assert (await ask(path, "/v1/explain/other")).code == 404


async def test_the_socket_is_for_root_and_its_group(path: Path) -> None:
    """Mode 0660, and the group of the settings."""
    status = os.stat(path)  # noqa: PTH116 - a look at a file, not a wait
    assert stat.S_IMODE(status.st_mode) == 0o660
    assert status.st_gid == grp.getgrnam(GROUP).gr_gid


async def test_the_group_reads_the_status_and_changes_nothing(path: Path, agent: Agent) -> None:
    """Told apart by the kernel's word about the peer, not by anything that the peer says."""
    gid = grp.getgrnam(GROUP).gr_gid
    answer = await ask_as(NOBODY, gid, path, "/v1/status")
    assert answer.code == 200
    assert json.loads(answer.body)["connections"][0]["name"] == "branch"
    refused = await ask_as(NOBODY, gid, path, "/v1/reload", "POST")
    assert refused.code == 403
    assert "only root" in json.loads(refused.body)["error"]
    assert agent.reloads == 0


async def test_others_do_not_even_connect(path: Path) -> None:
    """The file's mode keeps them out."""
    with pytest.raises(PermissionError, match="Permission denied"):
        await ask_as(NOBODY, NOBODY, path, "/v1/status")


async def test_root_may_reload(path: Path, agent: Agent) -> None:
    """And is told what came of it."""
    answer = await ask(path, "/v1/reload", method="POST")
    assert (answer.code, json.loads(answer.body)) == (200, {"connections": 1})
    assert agent.reloads == 1


async def test_a_change_is_never_made_by_get(path: Path, agent: Agent) -> None:
    """Reading is GET, changing is POST; the wrong one does nothing."""
    assert (await ask(path, "/v1/reload")).code == 405
    assert (await ask(path, "/v1/status", method="POST")).code == 405
    assert (await ask(path, "/v1/nonsense", method="POST")).code == 404
    assert (await ask(path, "reload", method="POST")).code in {400, 404}
    assert agent.reloads == 0


async def test_a_refusal_names_every_problem(path: Path, agent: Agent) -> None:
    """A broken config is told to whoever asked for the reload, all problems at once."""
    agent.problems = ("a.toml: interfaces.wan: no such device", "a.toml: agent: unknown key")
    answer = await ask(path, "/v1/reload", method="POST")
    assert answer.code == 409
    assert json.loads(answer.body)["problems"] == list(agent.problems)


async def test_a_command_that_hangs_is_given_up(path: Path, agent: Agent) -> None:
    """And the socket goes on to serve."""
    agent.hang = True
    answer = await ask(path, "/v1/reload", method="POST")
    assert answer.code == 504
    assert "unknown" in json.loads(answer.body)["error"]
    assert (await ask(path, "/v1/status")).code == 200


async def test_before_the_first_pass_there_is_no_status(path: Path, agent: Agent) -> None:
    """Said so, rather than an empty one, which would read as 'nothing is configured'."""
    agent.published = None
    assert (await ask(path, "/v1/status")).code == 503


async def test_a_second_agent_is_refused_and_the_first_goes_on(path: Path, agent: Agent) -> None:
    """With the socket's name, and without touching it."""
    with pytest.raises(ListenError, match=f"another swanherd runs on {path}"):
        await agent.server(path).start()
    assert (await ask(path, "/v1/status")).code == 200


def _serve(path: str) -> None:
    async def serve() -> None:
        await Agent().server(Path(path)).start()
        await asyncio.Event().wait()

    asyncio.run(serve())


async def listening(path: Path) -> None:
    """Wait until somebody listens on *path*."""
    async with asyncio.timeout(10):
        while True:
            try:
                (await dial(path))[1].close()
            except OSError:
                await asyncio.sleep(0.01)
            else:
                return


async def test_a_killed_agents_socket_is_in_nobodys_way_and_a_frozen_ones_is(folder: Path, agent: Agent) -> None:
    """A frozen agent wakes up again: it still has the socket. A killed one leaves the file, and no lock."""
    path = folder / "control.sock"
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(str(path),))
    process.start()
    assert process.pid is not None
    await listening(path)
    os.kill(process.pid, signal.SIGSTOP)
    with pytest.raises(ListenError, match="another swanherd"):
        await agent.server(path).start()
    os.kill(process.pid, signal.SIGKILL)
    process.join(10)
    assert path.exists(), "nothing has cleaned up"
    server = agent.server(path)
    await server.start()
    assert (await ask(path, "/v1/status")).code == 200
    await server.stop()
    assert not path.exists()


async def test_somebody_elses_file_is_not_removed(folder: Path, agent: Agent) -> None:
    """A wrong path in the settings must not cost anybody a file."""
    path = folder / "control.sock"
    path.write_text("precious")
    with pytest.raises(ListenError, match="not a socket"):
        await agent.server(path).start()
    assert path.read_text() == "precious"
    path.unlink()
    server = agent.server(path)
    await server.start()  # the failed start has let go of the lock
    await server.stop()


async def test_a_group_that_does_not_exist_keeps_nobody_from_running_tunnels(folder: Path, agent: Agent) -> None:
    """The socket is then root's alone."""
    path = folder / "control.sock"
    server = agent.server(path, group="no-such-group")
    await server.start()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await server.stop()


async def test_a_group_that_the_agent_is_not_in_keeps_nobody_from_running_tunnels(folder: Path, agent: Agent) -> None:
    """Only a member may give a file to a group; the socket is then the agent's and root's alone.

    Broken by: ``_give`` letting PermissionError through (the agent would not start).
    """
    path = folder / "control.sock"
    os.chown(folder, NOBODY, 0)
    server = agent.server(path)
    os.seteuid(NOBODY)
    try:
        await server.start()
    finally:
        os.seteuid(0)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (await ask(path, "/v1/status")).code == 200
    await server.stop()


async def test_a_stop_ends_open_connections(folder: Path, agent: Agent) -> None:
    """A client that says nothing does not hold up the stop."""
    path = folder / "control.sock"
    server = agent.server(path)
    await server.start()
    silent = await dial(path)
    await ask(path, "/v1/status")  # by now the silent one is accepted too
    async with asyncio.timeout(2):
        await server.stop()
    assert await closed(silent)


async def test_a_directory_that_is_missing_is_said(folder: Path, agent: Agent) -> None:
    """With the path."""
    with pytest.raises(ListenError, match=r"missing/control\.sock: No such file"):
        await agent.server(folder / "missing" / "control.sock").start()


async def test_a_datagram_client_is_no_harm(path: Path) -> None:
    """A wrong kind of client is refused by the kernel."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wrong, pytest.raises(OSError, match="wrong type"):
        wrong.connect(str(path))
