"""Charon's log, listened to and not."""

import asyncio
from pathlib import Path
from typing import Final

from vici.protocol import Packet

from swanherd.world.charon.reader import DECODE_BATCH
from tests.component.charon.agents import Agent, eventually, running, state
from tests.component.charon.fake import Fake, empty_charon, event_packet, fake
from tests.component.charon.sites import Site, connection

_THEIRS: Final = {"office": {"local_addrs": ["10.9.9.8"], "remote_addrs": ["10.9.9.9"]}}


async def _turned(here: Agent, *, wanted: bool) -> None:
    """The log is wanted or not from now on, and charon knows it."""
    loop, before = asyncio.get_running_loop(), here.charon.stats.log_left
    here.charon.hear_log(wanted=wanted)
    if wanted:
        await eventually(lambda: here.charon.heard_since(loop.time()), "heard")
    else:
        await eventually(lambda: here.charon.stats.log_left > before, "not heard")


def _asks(name: str) -> bytes:
    return event_packet(
        "log", {"group": "IKE", "ikesa-name": name, "ikesa-uniqueid": "1", "msg": "sending DPD request"}
    )


async def test_a_tunnel_comes_up_unheard(sites: tuple[Site, Site]) -> None:
    """Events tell. What charon is asked for the log's sake while nobody listens to it: nothing."""
    left, right = sites
    ours, theirs = connection(left, right), connection(right, left)
    async with running(left.socket_path) as here, running(right.socket_path) as there:
        await here.load(ours, left)
        await there.load(theirs, right)
        await _turned(here, wanted=False)
        assert not here.charon.heard_since(asyncio.get_running_loop().time())
        await here.charon.initiate(ours, ours.children[0])
        await here.until(here.up, "up here")
        began = asyncio.get_running_loop().time()
        await _turned(here, wanted=True)
        assert not here.charon.heard_since(began), "what was said until just now was not heard"
        assert here.up()


async def test_a_failure_is_heard_again(sites: tuple[Site, Site]) -> None:
    """Nobody is told why a handshake fails while the log is not listened to; of the next one it is told.

    Broken by: ``Hearing`` subscribing only once.
    """
    left, right = sites
    ours, theirs = connection(left, right), connection(right, left)
    async with running(left.socket_path) as here, running(right.socket_path) as there:
        await here.load(ours, left)
        await there.load(theirs, right, b"another secret")
        await _turned(here, wanted=False)
        await here.charon.initiate(ours, ours.children[0])
        await eventually(lambda: there.here().failure, "refused there")
        assert here.here().failure is None
        assert not (await here.charon.read("office")).sas
        await _turned(here, wanted=True)
        await here.charon.initiate(ours, ours.children[0])
        await here.until(lambda: here.here().failure, "told why")


async def test_what_somebody_loads_unheard_is_known_later(sites: tuple[Site, Site]) -> None:
    """All of charon is read once somebody listens again.

    Broken by: ``_heard_again`` not having everything read (the name is loaded as before: no list of names tells).
    """
    left, right = sites
    ours = connection(left, right)
    async with running(left.socket_path) as before:
        await before.load(ours, left)
    # Another run: what the first one loaded it does not compare.
    async with running(left.socket_path) as here:
        here.charon.watch({"office"})
        await here.until(lambda: here.here().config, "known")
        known = here.here().config
        await _turned(here, wanted=False)
        left.vici().load_conn(_THEIRS)
        await _turned(here, wanted=True)
        await here.until(lambda: here.here().config != known, "somebody else's")


async def test_what_we_loaded_unheard_is_no_longer_ours(sites: tuple[Site, Site]) -> None:
    """Our load was told to nobody: the next that is told is somebody else's, and is not taken away.

    Broken by: ``Listener.hears_again`` doing nothing.
    """
    left, right = sites
    ours = connection(left, right)
    async with running(left.socket_path) as here:
        await _turned(here, wanted=False)
        await here.load(ours, left)
        await _turned(here, wanted=True)
        left.vici().load_conn(_THEIRS)
        await here.until(lambda: here.here().config != here.charon.expected(ours, left.ip), "somebody else's")
        assert here.here().config is not None


async def test_no_question_is_open_where_no_answer_is_heard(tmp_path: Path) -> None:
    """A peer that was asked before, and answers while nobody listens, is not called silent; nor when it is asked next.

    Broken by: ``Listener.deaf`` keeping what the mirror has, what was told, or the lines that it has not read yet.
    """
    async with fake(tmp_path, empty_charon) as (server, path), running(path) as here:
        (listener,) = server.listeners()
        confirm = listener.packet

        def asks_and_confirms(kind: int, body: bytes = b"") -> None:
            """Lines at the last moment, read together with the confirmation: more than are worked through at once."""
            assert kind == Packet.EVENT_CONFIRM
            listener.raw(_asks("c9") * 20 * DECODE_BATCH + _asks("c2"))
            confirm(kind, body)

        listener.raw(_asks("c1"))
        await here.until(lambda: here.here("c1").asked, "asked")
        listener.packet = asks_and_confirms  # type: ignore[method-assign]  # of this one caller
        here.charon.hear_log(wanted=False)
        await here.until(lambda: not here.here("c1").asked, "nothing is open")
        assert not server.listeners()
        listener.packet = confirm  # type: ignore[method-assign]
        here.charon.hear_log(wanted=True)
        await eventually(server.listeners, "listens")
        again = asyncio.get_running_loop().time()
        listener.raw(_asks("c1"))
        await here.until(lambda: here.here("c1").asked, "asked")
        assert all(since >= again for since in here.here("c1").asked.values())
        assert not here.here("c2").asked


async def test_a_charon_that_comes_back_is_heard_as_it_is_wanted(tmp_path: Path) -> None:
    """Another connection begins with the log, and ends it where it is not wanted. Broken by: ``Hearing.begin``."""
    async with fake(tmp_path, empty_charon) as (server, path), running(path) as here:
        clock = asyncio.get_running_loop().time
        here.charon.hear_log(wanted=False)
        await eventually(lambda: not server.listeners(), "not heard")
        await _lost_and_back(here, server)
        await eventually(lambda: not server.listeners(), "not heard again")
        here.charon.hear_log(wanted=True)
        await eventually(server.listeners, "heard")
        here.charon.hear_log(wanted=False)
        here.charon.hear_log(wanted=True)
        await eventually(lambda: here.charon.heard_since(clock()), "still heard")
        assert server.listeners()
        since = clock()
        await _lost_and_back(here, server)
        await eventually(lambda: here.charon.heard_since(clock()), "heard again")
        assert not here.charon.heard_since(since), "who was away has missed something"


async def _lost_and_back(here: Agent, server: Fake) -> None:
    met = here.charon.stats.reconnects
    (listener,) = (each for each in server.callers if "child-updown" in each.events and not each.ended)
    listener.close()
    await here.until(lambda: here.charon.stats.reconnects > met and state(here.charon) == "known", "back")
