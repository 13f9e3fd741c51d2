"""Asks an endpoint whether IKE lives there, without beginning anything.

A probe is an IKE_SA_INIT that proposes algorithms which nobody has (private-use numbers): a responder answers
NO_PROPOSAL_CHOSEN, INVALID_KE_PAYLOAD or a cookie request and keeps no state (RFC 7296, 2.6, 2.7). Any IKE packet that
carries our SPI back is a sign of life. It leaves from the connection's own source, by a port of its own, to port 500.
"""

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from swanherd.core.intent import IPAddress

PROBE_S: Final = 3.0
"""Between two probes of one address."""

ANSWERS_IN_A_ROW: Final = 2
"""So many probes in a row must have been answered: an address that flaps is no place to return to."""

IKE_PORT: Final = 500

_HEADER: Final = struct.Struct("!8s8sBBBBII")
_SA, _KE, _NONCE, _NONE = 33, 34, 40, 0
_IKE_SA_INIT = 34
_VERSION_2, _INITIATOR = 0x20, 0x08
_PRIVATE_USE = 65000
"""Transform ids from 1024 on are private (RFC 7296, 3.3.2)."""
_ENCRYPTION, _PRF, _INTEGRITY, _GROUP = 1, 2, 3, 4
_KEY_EXCHANGE_BYTES, _NONCE_BYTES = 32, 32


def probe(spi: bytes) -> bytes:
    """The packet, with *spi* (8 octets) as the initiator's."""
    kinds = (_ENCRYPTION, _PRF, _INTEGRITY, _GROUP)
    transforms = b"".join(
        struct.pack("!BxHBxH", 0 if kind == kinds[-1] else 3, 8, kind, _PRIVATE_USE) for kind in kinds
    )
    proposal = struct.pack("!BxHBBBB", 0, 8 + len(transforms), 1, 1, 0, len(kinds)) + transforms
    body = _payload(_KE, proposal)
    body += _payload(_NONCE, struct.pack("!Hxx", _PRIVATE_USE) + bytes(_KEY_EXCHANGE_BYTES))
    body += _payload(_NONE, os.urandom(_NONCE_BYTES))
    length = _HEADER.size + len(body)
    return _HEADER.pack(spi, bytes(8), _SA, _VERSION_2, _IKE_SA_INIT, _INITIATOR, 0, length) + body


def answers(packet: bytes, spi: bytes) -> bool:
    """Whether *packet* is an IKE packet that answers the probe with *spi*."""
    return len(packet) >= _HEADER.size and packet[:8] == spi


def _payload(following: int, body: bytes) -> bytes:
    return struct.pack("!BxH", following, 4 + len(body)) + body


class _Ear(asyncio.DatagramProtocol):
    def __init__(self, spi: bytes) -> None:
        self.spi = spi
        self.heard = False

    def datagram_received(self, data: bytes, addr: object) -> None:
        """Somebody says something; who it is says the SPI."""
        del addr
        self.heard = self.heard or answers(data, self.spi)

    def error_received(self, exc: Exception) -> None:
        """Nobody there (ICMP): as good as silence."""


@dataclass(slots=True)
class _Watched:
    source: IPAddress
    target: IPAddress
    in_a_row: int = 0
    task: asyncio.Task[None] | None = field(default=None)


class Prober:
    """Probes for connections. *on_change* is called with a connection's name when who answers has changed."""

    def __init__(self, *, on_change: Callable[[str], None], every_s: float = PROBE_S) -> None:
        self._on_change = on_change
        self._every_s = every_s
        self._watched: dict[str, dict[IPAddress, _Watched]] = {}

    def answering(self, name: str) -> frozenset[IPAddress]:
        """Of the addresses that are probed for *name*, those that live."""
        watched = self._watched.get(name)
        if not watched:
            return frozenset()
        return frozenset(each.target for each in watched.values() if each.in_a_row >= ANSWERS_IN_A_ROW)

    def follow(self, name: str, source: IPAddress | None, targets: tuple[IPAddress, ...]) -> None:
        """Probe *targets* from *source* for *name*, and nothing else any more; must be quick where nothing changes."""
        before = self._watched.get(name)
        if not targets and before is None:
            return
        wanted = set(targets) if source is not None else set()
        kept = {} if before is None else before
        for target in [target for target, each in kept.items() if target not in wanted or each.source != source]:
            task = kept.pop(target).task
            if task is not None:
                task.cancel()
        for target in wanted - kept.keys():
            if source is not None:
                kept[target] = each = _Watched(source, target)
                each.task = asyncio.create_task(self._probe(name, each), name=f"probe {name} {target}")
        if kept:
            self._watched[name] = kept
        else:
            self._watched.pop(name, None)

    def close(self) -> None:
        """Probe nothing any more."""
        for name in tuple(self._watched):
            self.follow(name, None, ())

    async def _probe(self, name: str, watched: _Watched) -> None:
        while True:
            heard = await self._once(watched)
            before = watched.in_a_row >= ANSWERS_IN_A_ROW
            watched.in_a_row = watched.in_a_row + 1 if heard else 0
            if before != (watched.in_a_row >= ANSWERS_IN_A_ROW):
                self._on_change(name)

    async def _once(self, watched: _Watched) -> bool:
        """Send one probe, and wait until the next one is due; whether it was answered."""
        ear = _Ear(os.urandom(8))
        family = socket.AF_INET if watched.target.version == 4 else socket.AF_INET6
        try:
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: ear, local_addr=(str(watched.source), 0), family=family
            )
        except OSError:  # the address has just left
            await asyncio.sleep(self._every_s)
            return False
        try:
            transport.sendto(probe(ear.spi), (str(watched.target), IKE_PORT))
            await asyncio.sleep(self._every_s)
        finally:
            transport.close()
        return ear.heard
