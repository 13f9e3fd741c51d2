"""HTTP for those who watch: ``/metrics``, ``/livez`` and ``/readyz`` on a TCP port, by default on loopback.

Served by the loop itself, so that it needs no thread per client, and limited in headers, time and connections, so that
no client can hold the agent up. The port tells no secret and changes nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from swanherd.report import metrics, status
from swanherd.report.published import Published

CONNECTIONS: Final = 32
"""At once. One more is closed at once; a stalled one goes after DEADLINE_S."""

DEADLINE_S: Final = 15.0
"""The whole life of a connection, from accept to the last byte: a scrape takes far less than a second."""

HEADER_BYTES: Final = 4096
"""The longest request line and the longest header."""

Latest = Callable[[], Published | None]
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class ListenError(Exception):
    """The address or socket cannot be listened on; the text says which and why."""


class LimitedServer(web.Server):
    """An HTTP server with a limit on connections and on the life of each; the port and the control socket share it."""

    def __init__(self, handler: Handler, *, deadline_s: float = DEADLINE_S) -> None:
        super().__init__(
            handler,
            access_log=None,
            max_line_size=HEADER_BYTES,
            max_field_size=HEADER_BYTES,
            max_headers=32,
            keepalive_timeout=DEADLINE_S,
            lingering_time=0,
        )
        self._deadline_s = deadline_s
        self._deadlines: dict[web.RequestHandler, asyncio.TimerHandle] = {}

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Refuse one too many; give the others their deadline."""
        super().connection_made(handler, transport)
        if len(self._deadlines) >= CONNECTIONS:
            transport.abort()
            return
        self._deadlines[handler] = asyncio.get_running_loop().call_later(self._deadline_s, transport.abort)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """Forget the deadline."""
        deadline = self._deadlines.pop(handler, None)
        if deadline is not None:
            deadline.cancel()
        super().connection_lost(handler, exc)


class WatchServer:
    """The port for Prometheus and health checks."""

    def __init__(self, *, latest: Latest, measured: metrics.Measured, deadline_s: float = DEADLINE_S) -> None:
        self._latest = latest
        self._measured = measured
        self._deadline_s = deadline_s
        self._server: asyncio.Server | None = None
        self._http: LimitedServer | None = None

    @property
    def port(self) -> int:
        """The port that is listened on, useful where 0 was asked for."""
        if self._server is None:
            raise RuntimeError("the server is not started")
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def start(self, host: str, port: int) -> None:
        """Listen on *host* and *port*; raises ListenError."""
        self._http = LimitedServer(self._answer, deadline_s=self._deadline_s)
        try:
            self._server = await asyncio.get_running_loop().create_server(self._http, host, port)
        except (OSError, OverflowError) as error:
            raise ListenError(f"cannot listen on {host} port {port} for metrics: {error}") from error

    async def stop(self) -> None:
        """Close the port and every connection, within a second."""
        if self._server is not None and self._http is not None:
            self._server.close()
            await self._http.shutdown(1.0)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method not in {"GET", "HEAD"}:
            return web.Response(status=405, headers={"Allow": "GET, HEAD"})
        match request.path:
            case "/metrics":
                # In a thread: 5000 series take 45 ms, and the loop must not stand still for that.
                body = await asyncio.to_thread(self._measured.exposition, self._latest)
                return web.Response(body=body, headers={"Content-Type": metrics.CONTENT_TYPE})
            case "/livez":
                return _verdict(self._dead())
            case "/readyz":
                return _verdict(self._dead() or self._unready())
        return web.Response(status=404, text="try /metrics, /livez or /readyz\n")

    def _dead(self) -> list[str]:
        """Why the loop is not alive; a snapshot that does not come at all is the start's business, not death."""
        published = self._latest()
        if published is None:
            return []
        age_s = asyncio.get_running_loop().time() - published.at
        return [f"no pass for {age_s:.0f} s"] if age_s > status.FRESH_S else []

    def _unready(self) -> list[str]:
        """Why this gateway could not run its connections now, whatever the tunnels' state is."""
        published = self._latest()
        if published is None or not published.ready:
            return ["not every source was read since the start"]
        reasons = [f"{source.name} is not in sync" for source in published.sources if not (source.up and source.synced)]
        return [*reasons, "stopping"] if published.stopping else reasons


def _verdict(reasons: list[str]) -> web.Response:
    return web.Response(status=503, text="\n".join(reasons) + "\n") if reasons else web.Response(text="ok\n")
