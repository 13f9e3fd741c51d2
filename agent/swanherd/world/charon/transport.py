"""One connection to charon's vici socket.

Frames and order are ours, the message codec is the ``vici`` package's (its ``Session`` blocks, and a timeout there
leaves half a reply in the stream). Charon answers the packets of one connection one after another, so the registration
of a reply's stream is sent together with the command and nothing waits for a round trip in between.
"""

import asyncio
import errno
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from vici.protocol import Packet

from swanherd.core.facts import CharonIdentity
from swanherd.world.charon.errors import CharonGone, CharonRefused
from swanherd.world.charon.identity import identity_of

MAX_PACKET_BYTES: Final = 512 * 1024
"""Charon's own limit for one packet; more is not charon, or not in step."""
MAX_REPLY_BYTES: Final = 256 * 1024 * 1024
"""One streamed reply: 100,000 SAs at 2 kB each. More is a fault, and would only fill the memory."""
BUSY_RETRY_S: Final = 0.005
"""charon's listen queue is short (16 connects at once overflow it) and empties in well under a millisecond."""

_LENGTH: Final = struct.Struct("!I")


class _OutOfStepError(Exception):
    """What came cannot be an answer to what was sent."""


@dataclass(slots=True)
class Reply:
    """What charon answered, undecoded."""

    items: list[bytes] = field(default_factory=list)
    """The events of the command's stream, in order."""
    body: bytes = b""


@dataclass(slots=True)
class _Exchange:
    """A command that was sent: what has come back so far, and what is still to come."""

    answer: asyncio.Future[Reply]
    stream: bytes
    confirms: int
    response: bool
    reply: Reply = field(default_factory=Reply)
    size: int = 0


class ViciConnection(asyncio.Protocol):
    """A connected socket. One command at a time; after an error it is closed and stays so."""

    def __init__(self, identity: CharonIdentity) -> None:
        self.identity = identity
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the connection has ended, for whatever reason."""
        self.on_event: Callable[[bytes, bytes], None] | None = None
        """Called with the name and the undecoded body of each event that belongs to no command."""
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._exchange: _Exchange | None = None
        self._streams: set[str] = set()
        self._resting: asyncio.TimerHandle | None = None

    @classmethod
    async def open(cls, path: str) -> "ViciConnection":
        """Connect; CharonGone if nobody listens. Takes no time unless charon's listen queue is full."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        sock.setblocking(False)
        try:
            await _connect(sock, path)
            identity = identity_of(sock, path)
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_unix_connection(lambda: cls(identity), sock=sock)
        except BaseException:  # whatever ends this, the socket is not left open
            sock.close()
            raise
        return connection

    @property
    def usable(self) -> bool:
        """Whether a command can be sent now."""
        return self._exchange is None and not self.ended.done()

    def send(self, command: str, message: bytes = b"", *, stream: str = "") -> asyncio.Future[Reply]:
        """Send *command* and return at once; the future gives what charon answers, however late.

        It fails with CharonGone if the connection ends first, with CharonRefused if charon does not know the command.
        Leaving the future alone changes nothing for charon.
        """
        packets = [Packet.request(command, message)]
        if stream and stream not in self._streams:
            self._streams.add(stream)
            packets.insert(0, Packet.register_event(stream))
        return self._begin(packets, stream=stream, response=True)

    def subscribe(self, events: Sequence[str]) -> asyncio.Future[Reply]:
        """Register *events* for :attr:`on_event`; done when charon has confirmed them all."""
        return self._begin([Packet.register_event(event) for event in events], stream="", response=False)

    def unsubscribe(self, events: Sequence[str]) -> asyncio.Future[Reply]:
        """Take back what :meth:`subscribe` registered; none of *events* comes once charon has confirmed."""
        return self._begin([Packet.unregister_event(event) for event in events], stream="", response=False)

    def rest(self, seconds: float) -> None:
        """Read nothing for *seconds*: what comes meanwhile waits, the end of the connection too."""
        if self._transport is not None and self.reading:
            self._transport.pause_reading()
            self._resting = asyncio.get_running_loop().call_later(seconds, self.wake)

    @property
    def reading(self) -> bool:
        """Whether what comes is read now."""
        return self._transport is not None and self._transport.is_reading()

    def wake(self) -> None:
        """Read what there is, from now on: the rest is over."""
        if self._resting is None or self._transport is None:
            return
        self._resting.cancel()
        self._resting = None
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        """End the connection; a command that is under way fails with CharonGone here, and goes on in charon."""
        if self._transport is not None:
            self._transport.abort()

    # --- asyncio.Protocol ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The loop has taken the socket over."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended: by charon, by an error, or by us."""
        self._end(f"the connection ended ({exc})" if exc else "the connection ended")

    def data_received(self, data: bytes) -> None:
        """Cut what came into packets. Nothing is decoded here: a burst must not hold the loop."""
        self._buffer += data
        at = 0
        try:
            while len(self._buffer) - at >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(self._buffer, at)
                if not 0 < length <= MAX_PACKET_BYTES:
                    raise _OutOfStepError(f"a packet of {length} bytes")  # noqa: TRY301 - one way out for all of them
                if len(self._buffer) - at < _LENGTH.size + length:
                    break
                at += _LENGTH.size
                self._take(bytes(self._buffer[at : at + length]))
                at += length
        except (_OutOfStepError, IndexError) as error:
            self._end(f"not vici, or out of step: {error}")
            self.close()
        else:
            del self._buffer[:at]

    # --- inside -------------------------------------------------------------------------------------------------

    def _begin(self, packets: list[bytes], *, stream: str, response: bool) -> asyncio.Future[Reply]:
        if not self.usable or self._transport is None:
            raise CharonGone("the connection has ended")
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(_retrieve)
        self._exchange = _Exchange(
            answer, stream=stream.encode(), confirms=len(packets) - int(response), response=response
        )
        self._transport.write(b"".join(_LENGTH.pack(len(packet)) + packet for packet in packets))
        return answer

    def _take(self, packet: bytes) -> None:
        kind = packet[0]
        exchange = self._exchange
        if kind == Packet.EVENT:
            end = 2 + packet[1]
            self._take_event(packet[2:end], packet[end:])
        elif exchange is None:
            raise _OutOfStepError(f"a packet of kind {kind} that nobody asked for")
        elif kind == Packet.EVENT_CONFIRM and exchange.confirms:
            exchange.confirms -= 1
            if not exchange.confirms and not exchange.response:
                self._finish(exchange)
        elif kind == Packet.CMD_RESPONSE and exchange.response:
            exchange.reply.body = packet[1:]
            self._finish(exchange)
        elif kind in {Packet.CMD_UNKNOWN, Packet.EVENT_UNKNOWN}:
            self._exchange = None
            _fail(exchange.answer, CharonRefused("charon does not know this command or event"))
            self.close()  # what else was sent with it would be answered to the next one
        else:
            raise _OutOfStepError(f"a packet of kind {kind} in the midst of a reply")

    def _take_event(self, name: bytes, body: bytes) -> None:
        exchange = self._exchange
        if exchange is not None and name == exchange.stream:
            exchange.size += len(body)
            if exchange.size > MAX_REPLY_BYTES:
                raise _OutOfStepError(f"a reply of more than {MAX_REPLY_BYTES} bytes")
            exchange.reply.items.append(body)
        elif self.on_event is not None:
            self.on_event(name, body)

    def _finish(self, exchange: _Exchange) -> None:
        self._exchange = None
        if not exchange.answer.done():
            exchange.answer.set_result(exchange.reply)

    def _end(self, why: str) -> None:
        exchange, self._exchange = self._exchange, None
        if not self.ended.done():
            self.ended.set_result(None)
        if exchange is not None:
            _fail(exchange.answer, CharonGone(why))


def _retrieve(answer: asyncio.Future[Reply]) -> None:
    """That nobody waits for an answer any more is no fault that the loop should report."""
    if not answer.cancelled():
        answer.exception()


async def _connect(sock: socket.socket, path: str) -> None:
    # A connect to a unix socket ends at once: done, refused, or EAGAIN while the listen queue is full. Nothing tells
    # when it no longer is.
    try:
        while (code := sock.connect_ex(path)) == errno.EAGAIN:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(BUSY_RETRY_S)
    except OSError as error:  # the path is no address at all
        raise CharonGone(f"{path}: {error}") from None
    if code:
        raise CharonGone(f"{path}: {errno.errorcode.get(code, str(code))}")


def _fail(answer: asyncio.Future[Reply], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
