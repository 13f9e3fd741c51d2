"""The port for Prometheus and health checks, with clients that mean well and others."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from swanherd.report import http, status
from swanherd.report.metrics import Measured
from swanherd.report.published import Published
from tests.component.http.conversation import ask, closed, dial
from tests.unit.report import snapshots as given


class Gateway:
    """What the server reads: a snapshot that a test replaces."""

    def __init__(self) -> None:
        self.published: Published | None = None

    def publish(self, published: Published, *, age_s: float = 0.0) -> None:
        """Publish *published* as if *age_s* ago."""
        self.published = replace(published, at=asyncio.get_running_loop().time() - age_s)

    def latest(self) -> Published | None:
        """The latest snapshot."""
        return self.published


@pytest.fixture
async def gateway() -> Gateway:
    """Nothing published yet."""
    return Gateway()


@pytest.fixture
async def server(gateway: Gateway) -> AsyncIterator[http.WatchServer]:
    """On a free port of loopback."""
    server = http.WatchServer(latest=gateway.latest, measured=Measured())
    await server.start("127.0.0.1", 0)
    yield server
    await server.stop()


@pytest.fixture
async def strict(gateway: Gateway) -> AsyncIterator[http.WatchServer]:
    """The same, with a short deadline for connections."""
    server = http.WatchServer(latest=gateway.latest, measured=Measured(), deadline_s=0.3)
    await server.start("127.0.0.1", 0)
    yield server
    await server.stop()


async def test_metrics_are_what_was_published_last(server: http.WatchServer, gateway: Gateway) -> None:
    """The next scrape shows the next snapshot, in the text format that Prometheus parses."""
    for connections in ((given.up(),), (given.up(), given.standby())):
        gateway.publish(given.snapshot(*connections))
        answer = await ask(server.port, "/metrics")
        assert answer.code == 200
        assert "text/plain; version=0.0.4" in answer.headers
        names = {
            sample.labels["connection"]
            for family in text_string_to_metric_families(answer.body)
            for sample in family.samples
            if sample.name == "swanherd_fence_pending"
        }
        assert names == {connection.name for connection in connections}


async def test_metrics_are_served_before_the_first_pass(server: http.WatchServer) -> None:
    """A scrape in the first second is no error; only the mirror is empty."""
    answer = await ask(server.port, "/metrics")
    assert answer.code == 200
    assert "swanherd_bugs_total" in answer.body
    assert "swanherd_role" not in answer.body


async def test_an_agent_that_has_just_started_is_alive_and_not_ready(server: http.WatchServer) -> None:
    """Restarting it for being slow to start would never end."""
    assert (await ask(server.port, "/livez")).code == 200
    assert (await ask(server.port, "/readyz")).code == 503


async def test_a_well_agent_is_alive_and_ready_though_tunnels_are_not_up(
    server: http.WatchServer, gateway: Gateway
) -> None:
    """Ready means that the agent sees and can act; whether the peer answers is the metrics' business."""
    gateway.publish(given.snapshot(given.failing(), given.pending()))
    assert (await ask(server.port, "/livez")).code == 200
    assert (await ask(server.port, "/readyz")).code == 200


async def test_an_agent_that_lost_a_source_is_alive_and_says_which(server: http.WatchServer, gateway: Gateway) -> None:
    """Not ready, with the source's name; killing the agent would not bring the source back."""
    gateway.publish(given.troubled())
    assert (await ask(server.port, "/livez")).code == 200
    answer = await ask(server.port, "/readyz")
    assert (answer.code, answer.body) == (503, "firewall is not in sync\n")


async def test_a_loop_that_makes_no_passes_is_not_alive(server: http.WatchServer, gateway: Gateway) -> None:
    """The HTTP server answers as long as the event loop turns; that proves nothing about the passes."""
    gateway.publish(given.snapshot(given.up()), age_s=status.FRESH_S + 1)
    for resource in ("/livez", "/readyz"):
        assert (await ask(server.port, resource)).code == 503


async def test_nothing_can_be_changed_here(server: http.WatchServer) -> None:
    """The port only tells; other methods and paths are refused."""
    assert (await ask(server.port, "/metrics", method="POST")).code == 405
    assert (await ask(server.port, "/v1/reload", method="POST")).code == 405
    assert (await ask(server.port, "/v1/status")).code == 404
    assert (await ask(server.port, "/")).code == 404


async def test_too_long_a_header_is_refused(server: http.WatchServer) -> None:
    """Memory is not the client's to take."""
    answer = await ask(server.port, "/livez", header=f"X-Long: {'x' * 2 * http.HEADER_BYTES}\r\n")
    assert answer.code == 400


async def test_a_client_that_says_nothing_is_sent_away(strict: http.WatchServer) -> None:
    """By its deadline, and not before."""
    started = asyncio.get_running_loop().time()
    assert await closed(await dial(strict.port))
    assert 0.2 < asyncio.get_running_loop().time() - started < 3


async def test_a_client_that_asks_byte_by_byte_is_sent_away(strict: http.WatchServer) -> None:
    """The deadline is for the whole connection, so that no trickle prolongs it."""
    reader, writer = await dial(strict.port)

    async def trickle() -> None:
        for letter in b"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 1000:
            writer.write(bytes([letter]))
            await asyncio.sleep(0.02)

    trickling = asyncio.create_task(trickle())
    assert await closed((reader, writer))
    trickling.cancel()
    await asyncio.wait([trickling])


async def test_one_connection_too_many_is_closed_at_once(server: http.WatchServer) -> None:
    """Stalled clients take neither threads nor memory without limit; the others stay as they are."""
    stalled = [await dial(server.port) for _ in range(http.CONNECTIONS)]
    assert await closed(await dial(server.port))
    assert not any(reader.at_eof() for reader, _ in stalled)


async def test_slots_of_stalled_clients_come_back(strict: http.WatchServer) -> None:
    """By their deadline at the latest."""
    stalled = [await dial(strict.port) for _ in range(http.CONNECTIONS)]
    assert all(await asyncio.gather(*map(closed, stalled)))
    assert (await ask(strict.port, "/livez")).code == 200


async def test_many_requests_one_after_the_other_are_all_answered(server: http.WatchServer) -> None:
    """A connection that ended frees its slot at once."""
    for _ in range(http.CONNECTIONS + 5):
        assert (await ask(server.port, "/livez")).code == 200


async def test_a_port_in_use_is_said(server: http.WatchServer) -> None:
    """With the address, so that a person can find the other one."""
    other = http.WatchServer(latest=lambda: None, measured=Measured())
    with pytest.raises(http.ListenError, match=f"127.0.0.1 port {server.port}"):
        await other.start("127.0.0.1", server.port)
    await other.stop()


async def test_a_scrape_of_many_connections_does_not_stop_the_loop(server: http.WatchServer, gateway: Gateway) -> None:
    """Rendering is done beside the loop, which must not stand still for 5000 series.

    Broken by: rendering in the handler itself; the loop then has no turn between question and answer but its own.
    """
    gateway.publish(given.snapshot(*(given.up(f"c{number}") for number in range(1000))))
    lags: list[float] = []

    async def watch() -> None:
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(0.001)
            lags.append(loop.time() - before)

    watching = asyncio.create_task(watch())
    answer = await ask(server.port, "/metrics")
    watching.cancel()
    assert answer.body.count("swanherd_role{") == 2000
    # Each turn takes 5 ms beside a thread that computes (Python's switching interval), rendering 10 of them or more.
    assert len(lags) >= 3, "the loop turned while the answer was made"
