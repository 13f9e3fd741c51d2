"""What a charon says that it runs, asked over vici without ever waiting long: a frozen charon is an answer too.

The package's `Session` takes any socket but lifts a Python timeout after the first octet, so the deadline is set on
the socket itself (SO_RCVTIMEO), where nothing lifts it.
"""

import socket
import struct
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import vici

from tests.lab.waiting import PATIENCE

ANSWER_DEADLINE_S = 3.0 * PATIENCE
"""charon lists 1000 SAs in about 0.1 s, on a busy machine in a second; one that is silent for so long is frozen."""
_TIMEVAL = struct.Struct("@qq")


@dataclass(frozen=True, slots=True)
class ChildSa:
    """One CHILD_SA; the SPIs are hexadecimal, as `Esp.spi` shows them on the wire."""

    name: str
    state: str
    spi_in: str
    spi_out: str


@dataclass(frozen=True, slots=True)
class IkeSa:
    """One IKE_SA."""

    name: str
    unique_id: str
    state: str
    local: str
    remote: str
    initiator_spi: str
    responder_spi: str
    children: tuple[ChildSa, ...]

    @property
    def up(self) -> bool:
        """Established, with at least one CHILD_SA that is installed: an IKE_SA alone carries nothing."""
        return self.state == "ESTABLISHED" and any(child.state == "INSTALLED" for child in self.children)


@dataclass(frozen=True, slots=True)
class SaReading:
    """What one charon answered; `sas` is None where it did not, and `why` says so. Unknown is not empty."""

    host: str
    sas: tuple[IkeSa, ...] | None
    why: str = ""

    @property
    def up(self) -> tuple[IkeSa, ...]:
        """The IKE_SAs that carry something; AssertionError where that is unknown."""
        if self.sas is None:
            raise AssertionError(f"the SAs of {self.host} are unknown: {self.why}")
        return tuple(sa for sa in self.sas if sa.up)


def read_sas(host: str, path: Path) -> SaReading:
    """List the SAs of the charon behind the vici socket at `path`; returns within about `ANSWER_DEADLINE_S`."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    deadline = _TIMEVAL.pack(int(ANSWER_DEADLINE_S), int(ANSWER_DEADLINE_S % 1 * 1e6))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, deadline)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, deadline)  # for connect, when the backlog is full
    try:
        with sock:
            sock.connect(str(path))
            return SaReading(host, tuple(_ike_sas(vici.Session(sock).list_sas())))
    except BlockingIOError:
        return SaReading(host, None, f"no answer within {ANSWER_DEADLINE_S:g} s")
    except OSError as error:
        return SaReading(host, None, error.strerror or str(error))


def _ike_sas(listing: Any) -> list[IkeSa]:  # the vici package has no types: nested dicts of bytes
    return [
        IkeSa(
            name=name,
            unique_id=_text(sa, "uniqueid"),
            state=_text(sa, "state"),
            local=_text(sa, "local-host"),
            remote=_text(sa, "remote-host"),
            initiator_spi=_text(sa, "initiator-spi"),
            responder_spi=_text(sa, "responder-spi"),
            children=tuple(
                ChildSa(
                    name=_text(child, "name"),
                    state=_text(child, "state"),
                    spi_in=_text(child, "spi-in"),
                    spi_out=_text(child, "spi-out"),
                )
                for child in sa.get("child-sas", {}).values()
            ),
        )
        for entry in listing
        for name, sa in entry.items()
    ]


def _text(fields: Any, key: str) -> str:  # the same
    value = fields.get(key, b"")
    return value.decode() if isinstance(value, bytes) else str(value)


@dataclass(frozen=True, slots=True)
class KernelSa:
    """One state of the kernel's own IPsec (XFRM)."""

    source: str
    destination: str
    protocol: str
    spi: str
    if_id: int = 0


def read_kernel_sas(listing: str) -> tuple[KernelSa, ...]:
    """Read what `ip xfrm state` prints: a line `src A dst B` begins a state, indented lines belong to it."""
    found: list[KernelSa] = []
    for line in listing.splitlines():
        words = line.split()
        fields = dict(pairwise(words))  # keyword and value; a pair that is none is never asked for
        if line.startswith("src "):
            found.append(KernelSa(fields["src"], fields["dst"], "", ""))
        elif found and words[:1] == ["proto"]:
            found[-1] = replace(found[-1], protocol=fields["proto"], spi=f"{int(fields['spi'], 16):08x}")
        elif found and words[:1] == ["if_id"]:
            found[-1] = replace(found[-1], if_id=int(fields["if_id"], 16))
    return tuple(found)
