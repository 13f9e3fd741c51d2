"""HTTP spoken by hand, so that a test can also speak it badly."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

DEADLINE_S = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said before it closed."""

    code: int
    headers: str
    body: str


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def dial(where: int | Path) -> Streams:
    """Connect to a port on loopback, or to a Unix socket."""
    if isinstance(where, Path):
        return await asyncio.open_unix_connection(where)
    return await asyncio.open_connection("127.0.0.1", where)


async def ask(where: int | Path, resource: str, *, method: str = "GET", header: str = "") -> Answer:
    """One request on a connection of its own."""
    reader, writer = await dial(where)
    writer.write(f"{method} {resource} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n".encode())
    async with asyncio.timeout(DEADLINE_S):
        raw = (await reader.read()).decode()
    writer.close()
    head, _, body = raw.partition("\r\n\r\n")
    return Answer(int(head.split()[1]), head, body)


async def closed(streams: Streams) -> bool:
    """Whether the server ends the connection without a word, within the deadline."""
    async with asyncio.timeout(DEADLINE_S):
        try:
            return await streams[0].read() == b""
        except ConnectionResetError:
            return True
