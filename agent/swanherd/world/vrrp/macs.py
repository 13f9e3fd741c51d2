"""The MAC addresses of this host's own devices."""

import fcntl
import socket
import struct
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

READ_AGAIN_S: Final = 1.0
"""A device's MAC may be changed with no event that we follow, so an unfamiliar one is looked up again, this seldom."""

_SIOCGIFHWADDR: Final = 0x8927
_REQUEST: Final = struct.Struct("16sH6s16x")


class OwnMacs:
    """Knows whether a MAC is one of *devices*' in the network namespace of the calling thread."""

    def __init__(self) -> None:
        self._devices: Iterable[str] = ()
        self._known: frozenset[bytes] = frozenset()
        self._read_at: float | None = None

    def follow(self, devices: Iterable[str]) -> None:
        """These are the devices now; read when they are asked for."""
        self._devices = devices
        self._read_at = None

    def has(self, mac: bytes, now: float) -> bool:
        """Whether *mac* is ours."""
        if mac in self._known and self._read_at is not None:
            return True
        if self._read_at is None or now - self._read_at >= READ_AGAIN_S:
            self._known = frozenset(_read(self._devices))
            self._read_at = now
        return mac in self._known


def _read(devices: Iterable[str]) -> Iterable[bytes]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for device in devices:
            with suppress(OSError):  # it is gone by now
                answer = fcntl.ioctl(asking, _SIOCGIFHWADDR, _REQUEST.pack(device.encode(), 0, b""))
                yield _REQUEST.unpack(answer)[2]
