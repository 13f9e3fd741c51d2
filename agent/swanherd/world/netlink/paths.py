"""Which way the kernel would send packets for an address: asked of it, since no table that we could read says so.

Rules, tables, metrics, nexthops and the life of links make the answer, and no event tells that it is another one. So it
is asked for anew: whenever something that can change it is told (links, addresses, default routes by `look`; routes
and rules of any table by a socket of our own), a moment after that, and every few seconds whatever is told.

The kernel answers a question while it is sent, in some 30 us, under no lock of its configuration. So the answer that a
decision reads is asked for there and then if it may be out of date; nobody decides by yesterday's.
"""

import asyncio
import errno
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from swanherd.core.facts import Known, Path, Unknown
from swanherd.core.intent import IPAddress
from swanherd.world.netlink.messages import NLMSG_ERROR, error_of, parts, path_of, path_request
from swanherd.world.netlink.sockets import DATAGRAM_BYTES, open_hints, open_questions

ASK_AGAIN_S: Final = 5.0
"""How often every answer is asked for anew though nothing was told: sysctls change it without a word."""

SETTLE_S: Final = 0.1
"""After something was told, everything is asked at once, and once more this much later: the kernel tells of an address
before it takes away the routes that need it. Until then nothing else that is told is listened to."""

REST: Final = 10
"""The rest is at least this many times what the asking took: a flood of routes takes a tenth of the loop at most."""

FORGET_S: Final = 180.0
"""Who has not been asked about for so long is nobody's endpoint any more; each is asked about once a minute."""

SLICE: Final = 50
"""Questions asked in one piece: 1.5 ms."""

RETRY_S: Final = 0.2
"""Before a socket that could not be had is tried again."""

_NOWHERE: Final = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL, errno.ENETDOWN})
"""The kernel's words for: no route, unreachable, prohibited, black hole. EINVAL it says of nothing else here."""


@dataclass(slots=True)
class _Answer:
    state: Known[Path] | Unknown[Path]
    wanted_at: float
    """When somebody wanted to know last."""
    fresh: bool = True


class PathSource:
    """The kernel's routes to addresses, in the network namespace in which it is first asked.

    Made inside a running loop. *on_change* is called on the loop with the addresses to which another way leads now.
    """

    def __init__(self, *, on_change: Callable[[frozenset[IPAddress]], None], ask_again_s: float = ASK_AGAIN_S) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_change = on_change
        self._ask_again_s = ask_again_s
        self._answers: dict[IPAddress, _Answer] = {}
        self._questions: socket.socket | None = None
        self._sequence = 0
        self.questions = 0
        """Asked so far."""
        self._wanted = asyncio.Event()
        self._woken = asyncio.Event()

    def path(self, to: IPAddress) -> Known[Path] | Unknown[Path]:
        """The way to *to* now; from now on it is watched. Unknown only while the kernel cannot be asked."""
        now = self._loop.time()
        answer = self._answers.get(to)
        if answer is None:
            self._answers[to] = answer = _Answer(self._ask(to, None), now)
            self._wanted.set()
        else:
            answer.wanted_at = now
            if self._asked_anew(to, answer):
                # Others may have the same endpoint.
                self._on_change(frozenset({to}))
        return answer.state

    def look(self) -> None:
        """Something has changed that may change an answer."""
        for answer in self._answers.values():
            answer.fresh = False
        self._woken.set()

    async def run(self) -> None:
        """Keep the answers of those who are asked about current until cancelled. No error leaves it."""
        try:
            while True:
                await self._wanted.wait()
                try:
                    with open_hints() as hints:
                        await self._follow(hints)
                except OSError:  # it overflowed, or there is none to be had
                    self.look()
                    await asyncio.sleep(RETRY_S)
        finally:
            self._close()

    async def _follow(self, hints: socket.socket) -> None:
        """Ask on every hint, until nobody wants to know any more."""
        self.look()
        try:
            while self._answers:
                self._loop.add_reader(hints, self._hear, hints)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._ask_again_s):
                        await self._woken.wait()
                self.look()
                took_s = await self._ask_all()
                self._loop.remove_reader(hints)
                await asyncio.sleep(max(SETTLE_S, took_s * REST))
                _drain(hints)
                self.look()
                self._woken.clear()
                await self._ask_all()
        finally:
            self._loop.remove_reader(hints)
        self._wanted.clear()

    def _hear(self, hints: socket.socket) -> None:
        self._loop.remove_reader(hints)  # what else comes is part of the same news
        self.look()

    async def _ask_all(self) -> float:
        """Ask for every answer that may be out of date, and tell which are others now; the seconds that it took."""
        took_s, begun = 0.0, self._loop.time()
        changed: set[IPAddress] = set()
        for number, (to, answer) in enumerate(tuple(self._answers.items()), start=1):
            if answer.wanted_at < begun - FORGET_S:
                del self._answers[to]
            elif self._asked_anew(to, answer):
                changed.add(to)
            if number % SLICE == 0:
                took_s += self._loop.time() - begun
                await asyncio.sleep(0)
                begun = self._loop.time()
        if changed:
            self._on_change(frozenset(changed))
        return took_s + self._loop.time() - begun

    def _asked_anew(self, to: IPAddress, answer: _Answer) -> bool:
        """Whether another way leads to *to* than the last time that the kernel told."""
        if answer.fresh:
            return False
        answer.fresh = True
        before, answer.state = answer.state, self._ask(to, answer.state)
        return before is not answer.state

    def _ask(self, to: IPAddress, before: Known[Path] | Unknown[Path] | None) -> Known[Path] | Unknown[Path]:
        """What the kernel says; *before* itself if that says the same."""
        try:
            path = self._told(to)
        except (OSError, ValueError) as error:
            self._close()
            if isinstance(before, Unknown):
                return before
            last = before.value if before is not None else None
            return Unknown(self._loop.time(), str(error), last)
        if isinstance(before, Known) and before.value == path:
            return before
        return Known(path, self._loop.time())

    def _told(self, to: IPAddress) -> Path:
        if self._questions is None:
            self._questions = open_questions()
        self.questions += 1
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        self._questions.send(path_request(to.packed, self._sequence))
        datagram = self._questions.recv(DATAGRAM_BYTES)
        part = next((part for part in parts(datagram) if part.sequence == self._sequence), None)
        if part is None:
            raise OSError(errno.EBADMSG, "the kernel answered another question")
        if part.type == NLMSG_ERROR:
            number = error_of(part, datagram)
            if number not in _NOWHERE:
                raise OSError(number, "the kernel tells no route")
            return Path(to, None)
        told = path_of(part, datagram)
        device = None if told.ifindex is None else socket.if_indextoname(told.ifindex)
        return Path(to, device, told.table)

    def _close(self) -> None:
        """The next question is asked on another socket: an answer that comes late is not taken for its own."""
        if self._questions is not None:
            self._questions.close()
            self._questions = None


def _drain(hints: socket.socket) -> None:
    """Read what has come meanwhile. OSError when it was too much: another socket is opened, which has room."""
    with suppress(BlockingIOError):
        while True:
            hints.recv(DATAGRAM_BYTES)
