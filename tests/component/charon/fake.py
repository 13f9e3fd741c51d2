"""A vici server that speaks the real protocol by the library's codec, for what a real charon cannot be made to do."""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from vici.protocol import FiniteStream, Message, Packet

Handler = Callable[["Caller", str, dict[str, Any]], Awaitable[None]]
"""Called with each command; answers by the caller's methods, or does not."""


def event_packet(name: str, message: dict[str, Any]) -> bytes:
    """An event on the wire."""
    body: bytes = bytes((Packet.EVENT, len(name))) + name.encode() + Message.serialize(message)
    return struct.pack("!I", len(body)) + body


class Caller:
    """One connection to the fake."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.events: list[str] = []
        self.ended = False
        self._reader = reader
        self._writer = writer

    def raw(self, data: bytes) -> None:
        """Send *data* as it is."""
        self._writer.write(data)

    def packet(self, kind: int, body: bytes = b"") -> None:
        """Send a whole packet."""
        self.raw(struct.pack("!IB", len(body) + 1, kind) + body)

    def reply(self, message: dict[str, Any] | None = None) -> None:
        """Answer the command."""
        self.packet(Packet.CMD_RESPONSE, Message.serialize(message or {"success": "yes"}))

    def event(self, name: str, message: dict[str, Any]) -> None:
        """Send an event."""
        self.raw(event_packet(name, message))

    def close(self) -> None:
        """End the connection."""
        self._writer.close()

    async def serve(self, handler: Handler) -> None:
        """Read packets until the other end closes."""
        try:
            while True:
                (length,) = struct.unpack("!I", await self._reader.readexactly(4))
                packet = await self._reader.readexactly(length)
                name, body = packet[2 : 2 + packet[1]].decode(), packet[2 + packet[1] :]
                if packet[0] == Packet.EVENT_REGISTER:
                    self.events.append(name)
                    self.packet(Packet.EVENT_CONFIRM)
                elif packet[0] == Packet.EVENT_UNREGISTER:
                    self.events.remove(name)
                    self.packet(Packet.EVENT_CONFIRM)
                else:
                    await handler(self, name, dict(Message.deserialize(FiniteStream(body))))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.ended = True
            self._writer.close()


class Fake:
    """The server: its callers, and what they asked."""

    def __init__(self, handler: Handler) -> None:
        self.callers: list[Caller] = []
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._handler = handler

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Somebody connected."""
        caller = Caller(reader, writer)
        self.callers.append(caller)
        await caller.serve(self._handle)

    async def _handle(self, caller: Caller, command: str, message: dict[str, Any]) -> None:
        self.asked.append((command, message))
        await self._handler(caller, command, message)

    def listeners(self) -> list[Caller]:
        """Callers that registered for the log."""
        return [caller for caller in self.callers if "log" in caller.events]


@asynccontextmanager
async def fake(directory: Path, handler: Handler) -> AsyncIterator[tuple[Fake, str]]:
    """A fake that listens in *directory*, and its socket's path."""
    path = str(directory / "fake.vici")
    server = Fake(handler)
    listening = await asyncio.start_unix_server(server.connected, path)
    try:
        yield server, path
    finally:
        listening.close()
        for caller in server.callers:
            caller.close()
        await asyncio.sleep(0)


async def empty_charon(caller: Caller, command: str, _: dict[str, Any]) -> None:
    """Answers as a charon in which nothing is loaded."""
    lists: dict[str, dict[str, Any]] = {
        "get-conns": {"conns": []},
        "get-shared": {"keys": []},
        "get-algorithms": {},
        "stats": {},
    }
    caller.reply(lists.get(command, {} if command.startswith("list-") else None))
