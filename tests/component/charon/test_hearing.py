"""Charon's log, listened to and not."""

import asyncio
from pathlib import Path

from tests.component.charon.agents import Agent, eventually, running
from tests.component.charon.fake import empty_charon, event_packet, fake
from tests.component.charon.sites import Site, connection


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
    async with running(left.socket_path) as here:
        await here.load(ours, left)
        assert here.here().config == here.charon.expected(ours, left.ip)
        await _turned(here, wanted=False)
        left.vici().load_conn({"office": {"local_addrs": [str(left.ip)], "remote_addrs": ["10.9.9.9"]}})
        await _turned(here, wanted=True)
        await here.until(lambda: here.here().config != here.charon.expected(ours, left.ip), "somebody else's")


async def test_no_question_is_open_where_no_answer_is_heard(tmp_path: Path) -> None:
    """A peer that was asked before, and answers while nobody listens, is not called silent.

    Broken by: ``Listener.deaf`` doing nothing; ``Told.deaf`` not forgetting (the question is told once more).
    """
    async with fake(tmp_path, empty_charon) as (server, path), running(path) as here:
        (listener,) = server.listeners()
        listener.raw(_asks("c1"))
        await here.until(lambda: here.here("c1").asked, "asked")
        listener.raw(_asks("c2"))
        here.charon.hear_log(wanted=False)
        await here.until(lambda: not here.here("c1").asked, "nothing is open")
        assert not server.listeners()
        here.charon.hear_log(wanted=True)
        await eventually(server.listeners, "listens")
        listener.raw(_asks("c3"))
        await here.until(lambda: here.here("c3").asked, "asked")
        assert not here.here("c1").asked
        assert not here.here("c2").asked


async def test_a_charon_that_comes_back_is_heard_as_it_is_wanted(tmp_path: Path) -> None:
    """Another connection begins with the log, and ends it where it is not wanted. Broken by: ``Hearing.begin``."""
    async with fake(tmp_path, empty_charon) as (server, path), running(path) as here:
        here.charon.hear_log(wanted=False)
        await eventually(lambda: not server.listeners(), "not heard")
        (listener,) = (each for each in server.callers if "child-updown" in each.events)
        listener.close()
        await eventually(
            lambda: any("child-updown" in each.events and not each.ended for each in server.callers), "back"
        )
        await eventually(lambda: not server.listeners(), "not heard again")
        here.charon.hear_log(wanted=True)
        await eventually(server.listeners, "heard")
        here.charon.hear_log(wanted=False)
        here.charon.hear_log(wanted=True)
        await eventually(lambda: here.charon.heard_since(asyncio.get_running_loop().time()), "still heard")
        assert server.listeners()
