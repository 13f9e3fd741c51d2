"""A thousand peers that are asked whether they live: what is answered costs nothing, what is not is told in time."""

import asyncio
from pathlib import Path
from typing import Final

import pytest

from swanherd.world.charon.questions import OPEN_S
from swanherd.world.charon.transport import ViciConnection
from tests.component.charon.agents import eventually, running
from tests.component.charon.fake import Caller, empty_charon, event_packet, fake
from tests.unit.core.settings import ALPHA

PEERS: Final = 200


def _line(number: int, text: str, group: str = "NET") -> bytes:
    said = {"group": group, "ikesa-name": f"c{number}", "ikesa-uniqueid": str(number), "msg": text}
    return event_packet("log", said)


def _asks(number: int) -> bytes:
    return _line(number, "sending DPD request", "IKE") + _line(number, "sending packet: from 10.0.0.1[500] to ...")


def _answers(number: int) -> bytes:
    return _line(number, "received packet: from 10.0.0.2[500] to 10.0.0.1[500] (76 bytes)")


async def _one_by_one(listener: Caller) -> None:
    """Questions and answers of all peers, a few milliseconds apart at most."""
    for number in range(PEERS):
        listener.raw(_asks(number) + _answers(number))
        for _ in range(5):
            await asyncio.sleep(0)  # the other end of the socket has its turn, and the agent


async def test_what_is_answered_is_not_told(tmp_path: Path) -> None:
    """Of peers that answer nobody hears; one that does not is told with the time of the question, and when it does.

    Broken by: ``OPEN_S`` of -1 (all are told); ``heard`` not looking at what was told (c7 is open for ever).
    """
    async with fake(tmp_path, empty_charon) as (server, path), running(path) as here:
        await here.until_state("known")
        (listener,) = server.listeners()
        loop = asyncio.get_running_loop()
        here.changes.clear()
        asked_at = loop.time()
        for number in range(PEERS):
            listener.raw(_asks(number) + (b"" if number == 7 else _answers(number)))
        await here.until(lambda: here.here("c7").asked, "the open one is told")
        assert loop.time() >= asked_at + OPEN_S
        assert list(here.here("c7").asked) == [7]
        assert here.here("c7").asked[7] == pytest.approx(asked_at, abs=OPEN_S / 2)
        assert {name for names in here.changes for name in names or ()} == {"c7"}
        listener.raw(_answers(7))
        await here.until(lambda: not here.here("c7").asked, "answered")


async def test_events_that_nobody_awaits_come_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of a quiet gateway are read some times a second; while a handshake of ours is under way, as they come.

    Broken by: ``pump`` without ``rest``; ``_awaits`` that is never true.
    """
    reads = [0]
    read = ViciConnection.data_received

    def counted(connection: ViciConnection, data: bytes) -> None:
        reads[0] += connection.on_event is not None
        read(connection, data)

    async def sent_one_by_one(listener: Caller) -> int:
        before = reads[0]
        await _one_by_one(listener)
        listener.raw(_line(PEERS, "sending DPD request", "IKE"))
        return reads[0] - before

    monkeypatch.setattr(ViciConnection, "data_received", counted)
    async with fake(tmp_path, empty_charon) as (server, path), running(path) as here:
        await here.until_state("known")
        (listener,) = server.listeners()
        quiet = await sent_one_by_one(listener)
        await here.until(lambda: here.here(f"c{PEERS}").asked, "the last one is told")
        await here.charon.initiate(ALPHA, ALPHA.children[0])
        await eventually(lambda: "initiate" in dict(server.asked), "under way")
        awaited = await sent_one_by_one(listener)
        assert quiet < PEERS / 4
        assert awaited > PEERS / 2


async def test_a_try_after_a_failed_one_is_awaited_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed before is over when the next one begins: its end is heard before a listing shows it gone.

    Else it would seem to have had no answer, and be tried again too soon. Broken by: ``_hear_line`` taking any failure
    for the end of what is awaited; ``initiating`` without ``wake``.
    """
    rests: list[ViciConnection] = []
    rest = ViciConnection.rest

    def counted(connection: ViciConnection, seconds: float) -> None:
        rests.append(connection)
        rest(connection, seconds)

    monkeypatch.setattr(ViciConnection, "rest", counted)
    begins = {"group": "IKE", "ikesa-name": ALPHA.name, "ikesa-uniqueid": "1", "msg": "initiating IKE_SA ..."}
    fails = {**begins, "msg": "received AUTHENTICATION_FAILED notify error"}
    async with fake(tmp_path, empty_charon) as (server, path), running(path) as here:
        await here.until_state("known")
        (listener,) = server.listeners()
        await here.charon.initiate(ALPHA, ALPHA.children[0])
        listener.event("log", begins)
        listener.event("log", fails)
        await here.until(lambda: here.here(ALPHA.name).failure, "the first one failed")
        await _one_by_one(listener)
        await eventually(lambda: rests and not rests[-1].reading, "nothing is awaited")
        await here.charon.initiate(ALPHA, ALPHA.children[0])
        assert rests[-1].reading
        before = len(rests)
        server.asked.clear()
        listener.event("log", begins)
        listener.event("ike-rekey", {"up": "yes", "other": {"uniqueid": "1"}})  # something that is looked at
        await eventually(lambda: ("list-sas", {"ike": b"other"}) in server.asked, "both are heard")
        assert len(rests) == before
