"""Asks the running agent over its control socket."""

import fcntl
import http.client
import json
import os
import socket
from pathlib import Path
from typing import Any, Final

from swanherd.cli.exits import Exit

TIMEOUT_S: Final = 3.0
"""For a status: the agent answers in milliseconds, or it is frozen."""


class AgentError(Exception):
    """The agent cannot be asked; the text says why, for people."""

    exit_code: Exit


class NotRunningError(AgentError):
    """Nobody listens on the socket."""

    exit_code = Exit.NOT_RUNNING


class NotPermittedError(AgentError):
    """This user may not ask that."""

    exit_code = Exit.NOT_PERMITTED


class NoAnswerError(AgentError):
    """Somebody listens and does not answer in time."""

    exit_code = Exit.NO_ANSWER


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("swanherd", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def ask(path: Path, method: str, resource: str, *, timeout_s: float = TIMEOUT_S) -> tuple[int, dict[str, Any]]:
    """The HTTP status and the JSON object that the agent answers; raises AgentError."""
    connection = _UnixConnection(path, timeout_s)
    try:
        connection.request(method, resource, headers={"Connection": "close"})
        response = connection.getresponse()
        answer = json.loads(response.read())
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NotRunningError(f"swanherd is not running: nobody listens on {path}") from error
    except PermissionError as error:
        raise NotPermittedError(f"you may not use {path}: be root, or a member of its group") from error
    except (TimeoutError, BlockingIOError) as error:  # the second: its queue is full, it does not even accept
        raise NoAnswerError(f"swanherd runs, but has not answered on {path} for {timeout_s:.0f} s") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NoAnswerError(f"swanherd gave no usable answer on {path}: {error}") from error
    finally:
        connection.close()
    if response.status == http.HTTPStatus.FORBIDDEN:
        raise NotPermittedError(str(answer.get("error", "not permitted")))
    return response.status, answer


def running(path: Path) -> bool:
    """Whether an agent, be it frozen, holds the lock beside the socket *path*; raises PermissionError."""
    try:
        descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
