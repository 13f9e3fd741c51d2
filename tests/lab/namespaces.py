"""Doing one thing in somebody else's namespaces, without leaving one's own for longer than that.

The kernel keeps namespaces per thread: what is done here never moves the calling thread's network namespace.
"""

import ctypes
import os
import socket
import threading
from collections.abc import Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

CLONE_NEWNET: Final = 0x40000000
"""From ``sched.h``; Python has ``os.setns`` only from 3.12 on."""
CLONE_NEWPID: Final = 0x20000000

_libc = ctypes.CDLL(None, use_errno=True)


def set_namespace(path: str, kind: int) -> None:
    """Move the calling thread into the namespace at *path*; OSError as ``setns(2)`` says."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(fd, kind) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), path)
    finally:
        os.close(fd)


class _Call(threading.Thread, Generic[T]):
    """Runs a function in a namespace; the thread ends with it, so nothing has to be put back."""

    def __init__(self, namespace: str, kind: int, function: Callable[[], T]) -> None:
        super().__init__(name=f"in {namespace}", daemon=True)
        self._namespace = namespace
        self._kind = kind
        self._function = function
        self.answer: list[T] = []
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            set_namespace(self._namespace, self._kind)
            self.answer.append(self._function())
        except Exception as error:  # noqa: BLE001 - a thread boundary: the caller gets it raised again
            self.error = error


def _call(namespace: str, kind: int, function: Callable[[], T]) -> T:
    call = _Call(namespace, kind, function)
    call.start()
    call.join()
    if call.error is not None:
        raise call.error
    return call.answer[0]


def call_in(netns: str, function: Callable[[], T]) -> T:
    """What *function* answers when it runs in the network namespace at *netns* (a ``/proc/PID/ns/net``)."""
    return _call(netns, CLONE_NEWNET, function)


def fork_in(pid_namespace: str, function: Callable[[], T]) -> T:
    """What *function* answers; the processes that it starts are our children *and* members of *pid_namespace*.

    So they can be waited for and signalled like any child, and still die with their host. In a thread of its own, a
    Ctrl-C (which Python raises in the main thread) cannot part a process that has been started from who must wait for
    it; *function* can start no threads.
    """
    return _call(pid_namespace, CLONE_NEWPID, function)


def socket_in(netns: str, family: int, kind: int, protocol: int = 0) -> socket.socket:
    """A socket that belongs to the network namespace at *netns* and stays in it, whoever uses it."""
    return call_in(netns, lambda: socket.socket(family, kind, protocol))
