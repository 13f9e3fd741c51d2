"""The control socket: status for its group, changes for root only, told apart by the peer's credentials.

HTTP over a Unix socket. One agent per socket: a lock beside it, held for life, refuses the second one; a socket file
that a killed agent left behind is in nobody's way.
"""

import asyncio
import fcntl
import grp
import os
import socket
import stat
import struct
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from swanherd.report import logs, status
from swanherd.report.http import Latest, LimitedServer, ListenError

COMMAND_DEADLINE_S: Final = 10.0
"""For a command that changes something; below the server's limit on a connection's life."""

BACKLOG: Final = 16

Explain = Callable[[str], Mapping[str, Any] | None]
"""What ``GET /v1/explain/NAME`` answers, by a connection's name; None: there is no such connection."""

Command = Callable[[], Awaitable[Mapping[str, Any]]]
"""What a ``POST /v1/NAME`` does; what it returns is told to the caller as JSON."""


class CommandRefusedError(Exception):
    """A command did nothing, for the *problems* that it names: whoever asked can do something about them."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems: Final = problems


class ControlServer:
    """The local control socket."""

    def __init__(
        self,
        path: Path,
        *,
        group: str | None,
        latest: Latest,
        commands: Mapping[str, Command],
        explain: Explain = lambda _: None,
        command_deadline_s: float = COMMAND_DEADLINE_S,
    ) -> None:
        self._explain = explain
        self._path = path
        self._command_deadline_s = command_deadline_s
        self._group = group
        self._latest = latest
        self._commands = commands
        self._server: asyncio.Server | None = None
        self._http: LimitedServer | None = None
        self._lock: int | None = None

    async def start(self) -> None:
        """Listen; raises ListenError, also when another agent has the socket."""
        self._http = LimitedServer(self._answer)
        try:
            self._lock = _lock(self._path)
            listener = _listener(self._path, self._group)
        except OSError as error:
            self._unlock()
            raise ListenError(f"cannot make the control socket {self._path}: {error.strerror or error}") from error
        self._server = await asyncio.get_running_loop().create_unix_server(self._http, sock=listener, backlog=BACKLOG)

    async def stop(self) -> None:
        """Close the socket and every connection, and remove the file, within a second."""
        if self._server is None or self._http is None:
            return
        self._server.close()
        self._path.unlink(missing_ok=True)
        await self._http.shutdown(1.0)
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        name = request.path.removeprefix("/v1/")
        if request.path == "/v1/status":
            return await self._status() if request.method == "GET" else _json(405, error="status is read with GET")
        if name.startswith("explain/") and request.method == "GET":
            told = self._explain(name.removeprefix("explain/"))
            return _json(404, error="there is no such connection") if told is None else web.json_response(dict(told))
        command = self._commands.get(name)
        if command is None or name == request.path:
            return _json(404, error=f"there is no {request.path}")
        if request.method != "POST":
            return _json(405, error=f"{name} changes something: use POST")
        uid = _peer_uid(request)
        if uid not in {0, os.geteuid()}:
            logs.get("control").warning("refused", command=name, uid=uid)
            return _json(403, error=f"only root may {name}; the group of this socket may read the status")
        return await self._run(name, command, uid)

    async def _status(self) -> web.Response:
        published = self._latest()
        if published is None:
            return _json(503, error="the agent has just started and has completed no pass yet")
        # In a thread: the loop must not stand still for 1000 connections.
        text = await asyncio.to_thread(status.encoded, published, now=asyncio.get_running_loop().time())
        return web.Response(text=text, content_type="application/json")

    async def _run(self, name: str, command: Command, uid: int) -> web.Response:
        logs.get("control").info("asked", command=name, uid=uid)
        try:
            async with asyncio.timeout(self._command_deadline_s):
                return web.json_response(dict(await command()))
        except CommandRefusedError as refused:
            return _json(409, error=f"{name} was refused", problems=list(refused.problems))
        except TimeoutError:
            return _json(
                504, error=f"{name} was not done within {self._command_deadline_s:g} s; what came of it is unknown"
            )


def _json(code: int, **fields: object) -> web.Response:
    return web.json_response(fields, status=code)


def _peer_uid(request: web.BaseRequest) -> int:
    """The caller's uid when it connected, from the kernel (``SO_PEERCRED``: pid, uid, gid); -1 if it is gone."""
    peer = None if request.transport is None else request.transport.get_extra_info("socket")
    if peer is None:
        return -1
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", credentials)[1]
    return uid


def _lock(path: Path) -> int:
    """Hold the lock beside the socket, or raise ListenError; the kernel drops it when this process ends, however."""
    descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise ListenError(
            f"another swanherd runs on {path}: stop it first, or give this one a socket of its own"
        ) from error
    return descriptor


def _listener(path: Path, group: str | None) -> socket.socket:
    """A bound socket that nobody but its group can ever have connected to."""
    if os.path.lexists(path) and not stat.S_ISSOCK(path.lstat().st_mode):
        raise FileExistsError(17, "there is a file of that name, and it is not a socket")
    path.unlink(missing_ok=True)  # we hold the lock: nobody listens on it
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.bind(str(path))
        # Between bind and listen nobody can connect, so the file's first mode does not matter.
        path.chmod(0o600)
        if _give(path, group):
            path.chmod(0o660)
    except BaseException:  # whatever ends this, the socket is not left open
        listener.close()
        raise
    return listener


def _give(path: Path, group: str | None) -> bool:
    """Whether *path* is of *group* now (None: the agent's own).

    Where it cannot be, only root and the agent's user read the status: told, and never a reason not to run tunnels.
    """
    try:
        os.chown(path, -1, os.getegid() if group is None else grp.getgrnam(group).gr_gid)
    except KeyError:
        why = "there is no such group"
    except PermissionError:
        why = "the agent's user is not in it"
    else:
        return True
    logs.get("control").warning("only root can read the status", group=group, reason=why)
    return False
