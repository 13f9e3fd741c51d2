"""Which charon it is. vici's own ``uptime`` has a resolution of a second, jitters, and moves with the clock."""

import socket
import struct
from pathlib import Path
from typing import Final

from swanherd.core.facts import CharonIdentity

_CREDENTIALS: Final = struct.Struct("3i")
"""``struct ucred``: pid, uid, gid."""
_STARTTIME_AFTER_NAME: Final = 19
"""Field 22 of ``/proc/PID/stat``, counted from the one behind the name (which may hold spaces and brackets)."""


def identity_of(sock: socket.socket, path: str) -> CharonIdentity:
    """The process that listens on *path*, to which *sock* is connected.

    The kernel keeps the pid from charon's ``listen``. Where that process is in no pid namespace that we see, the pid is
    0 and the start is the change time of the socket, which each charon makes anew.
    """
    pid, _, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    ticks = start_ticks(pid) if pid else None
    if ticks is not None:
        return CharonIdentity(pid=pid, start_ticks=ticks)
    try:
        return CharonIdentity(pid=0, start_ticks=Path(path).stat().st_ctime_ns)
    except OSError:
        return CharonIdentity(pid=0, start_ticks=0)


def start_ticks(pid: int) -> int | None:
    """When *pid* started, in ticks since boot; None if it is gone or not visible."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[_STARTTIME_AFTER_NAME])
