"""Who holds which address: each host's kernel says so by rtnetlink, and nobody else is asked.

Subscribe first, then dump: an address that changes in between is heard at least once. Times are CLOCK_MONOTONIC at the
reading of the message, since netlink has no kernel timestamps: some 0.1 ms late on an idle judge, a few ms on a busy
one. A host that is dead holds nothing, though its namespace may outlive it.
"""

import math
import os
import select
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from itertools import pairwise

from tests.lab.waiting import PATIENCE

_RTM_NEWADDR, _RTM_DELADDR, _RTM_GETADDR = 20, 21, 22
_NLMSG_ERROR = 2
_NLM_F_REQUEST, _NLM_F_DUMP = 0x001, 0x300
_GROUPS = 0x10 | 0x100  # RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_HEADER = struct.Struct("=IHHII")
_IFADDRMSG = struct.Struct("=BBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_READ_BYTES = 65536
_DUMP_DEADLINE_S = 20.0 * PATIENCE
"""The kernel answers at once; the judge may have to wait for its turn."""
_SO_RCVBUFFORCE = 33
_RECEIVE_BUFFER_BYTES = 128 << 20
"""A flood of address events is a fault of the lab's own: 20 000 of them take 30 MB, and the judge may miss none."""

BEFORE = -math.inf
"""Start of a hold that was there when the observation began."""


@dataclass(frozen=True, slots=True)
class Hold:
    """One stretch of time in which a host's kernel held an address; `until` is infinite while it still does."""

    host: str
    address: str
    since: float
    until: float = math.inf

    def covers(self, at: float, *, slack_s: float = 0.0) -> bool:
        """Whether the address was held at a time, give or take."""
        return self.since - slack_s <= at <= self.until + slack_s


@dataclass(frozen=True, slots=True)
class AddressEvent:
    """One message of the kernel."""

    address: str
    present: bool


def read_events(data: bytes) -> Iterator[AddressEvent]:
    """Address events in one read of a netlink socket; whatever else is in there is passed over."""
    while len(data) >= _HEADER.size:
        length, kind, _, _, _ = _HEADER.unpack_from(data)
        body, data = data[_HEADER.size : length], data[max(_HEADER.size, (length + 3) & ~3) :]
        if kind == _NLMSG_ERROR and int.from_bytes(body[:4], "little", signed=True):
            raise OSError(-int.from_bytes(body[:4], "little", signed=True), "netlink refused the dump")
        if kind in {_RTM_NEWADDR, _RTM_DELADDR}:
            attributes = dict(_attributes(body[_IFADDRMSG.size :]))
            # IFA_LOCAL is ours and IFA_ADDRESS the far end on a point-to-point link; IPv6 has IFA_ADDRESS alone.
            raw = attributes.get(_IFA_LOCAL) or attributes.get(_IFA_ADDRESS)
            if raw:
                yield AddressEvent(str(ip_address(raw)), kind == _RTM_NEWADDR)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            return
        yield kind, data[_ATTRIBUTE.size : length]
        data = data[(length + 3) & ~3 :]


@dataclass
class HostAddresses:
    """The addresses of one host over time; `sock` is a NETLINK_ROUTE socket of its namespace.

    `pid` is the host's first process: when it ends, the host is dead and all its holds end.
    """

    host: str
    sock: socket.socket
    pid: int
    _ended: list[Hold] = field(default_factory=list)
    _present: dict[str, Hold] = field(default_factory=dict)
    died_at: float | None = None
    _death: int = -1

    @property
    def holds(self) -> list[Hold]:
        """All so far, the ended ones first."""
        return [*self._ended, *self._present.copy().values()]

    def open(self, *, since: float) -> None:
        """Subscribe, dump, and read the dump; what it says is held `since` then: `BEFORE`, or when the host booted."""
        self._death = os.pidfd_open(self.pid)
        self.sock.settimeout(_DUMP_DEADLINE_S)
        self.sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER_BYTES)
        self.sock.bind((0, _GROUPS))
        request = _HEADER.pack(_HEADER.size + 1, _RTM_GETADDR, _NLM_F_REQUEST | _NLM_F_DUMP, 1, 0)
        self.sock.send(request + bytes([socket.AF_UNSPEC]))
        done = False
        while not done:
            data = self.sock.recv(_READ_BYTES)
            done = _HEADER.unpack_from(data)[1] in {_NLMSG_ERROR, 3}  # 3 is NLMSG_DONE
            for event in read_events(data):
                self._apply(event, since)
        self.sock.setblocking(False)

    def filenos(self) -> tuple[int, int]:
        """What to wait for: the netlink socket, and the death of the host."""
        return self.sock.fileno(), self._death

    def read(self) -> None:
        """Take what the kernel has said since."""
        if self.died_at is None and select.select([self._death], [], [], 0)[0]:
            self.died_at = time.monotonic()
            for address in list(self._present):
                self._end(address, self.died_at)
        while True:
            try:
                data = self.sock.recv(_READ_BYTES)
            except BlockingIOError:
                return
            at = time.monotonic()
            for event in read_events(data):
                self._apply(event, at)

    def _apply(self, event: AddressEvent, at: float) -> None:
        if self.died_at is not None:
            return
        if not event.present:
            self._end(event.address, at)
        elif event.address not in self._present:  # a repeated NEWADDR only changes flags or lifetimes
            self._present[event.address] = Hold(self.host, event.address, at)

    def _end(self, address: str, at: float) -> None:
        hold = self._present.pop(address, None)
        if hold is not None:
            self._ended.append(Hold(hold.host, hold.address, hold.since, at))

    def close(self) -> None:
        """Let go; the holds stay readable."""
        self.sock.close()
        os.close(self._death)


def overlap_s(holds: list[Hold], *, address: str, since: float, until: float) -> float:
    """For how long, within a window, two hosts or more held the address."""
    edges = sorted(
        {since, until, *(edge for hold in holds if hold.address == address for edge in (hold.since, hold.until))}
    )
    total = 0.0
    for start, end in pairwise(edges):
        if start < since or end > until:
            continue
        hosts = {h.host for h in holds if h.address == address and h.since <= start and h.until >= end}
        total += end - start if len(hosts) > 1 else 0.0
    return total
