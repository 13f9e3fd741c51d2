"""Rekeying by us at the time that is set, under traffic; and by the peer alone where it is turned off."""

import asyncio
import subprocess
import time
from collections.abc import Callable
from typing import Any, Final

import pytest

from tests.component.features.stage import NAME, Stage, child_of, peer_up
from tests.lab.waiting import wait_until

LIFE_S = 5
"""The shortest that the settings take."""
CHILD_S = LIFE_S + 1
"""Not at the same moment: where both are due at once, charon 6.0.1 finds no CHILD_SA to rekey while IKEv1 authenticates
anew, and forgets it until its end."""
PINGS = 750
"""At 100 a second: for longer than a lifetime with everything around it."""


def ping(stage: Stage) -> "subprocess.Popen[str]":
    """Packets from inside to inside, every 10 ms."""
    argv = ("ip", "netns", "exec", stage.left.netns, "ping", "-n", "-q", "-i", "0.01", "-c", str(PINGS), "-W", "1",
            "-I", str(stage.left.inner), str(stage.right.inner))  # fmt: skip
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("version", [1, 2])
async def test_rekey_under_traffic(stage: Stage, version: int) -> None:
    """IKE_SA and CHILD_SA are replaced in their time by our rekey (IKEv1: authenticated anew); no packet is lost.

    Broken by: not sending ``rekey_time`` (charon's own four hours and one hour), ``over_time`` or ``life_time`` (the
    old ones end in the middle of it).
    """
    lines = (f"ike_version = {version}", f"rekey_s = {LIFE_S}")
    settings = stage.settings(*lines, child=f"rekey_s = {CHILD_S}")
    conf = stage.peer(version=str(version), rekey_time="0", child={"rekey_time": "0", "life_time": "1h"})
    async with stage.theirs(conf) as session, stage.ours(settings) as (agent, connection):
        first = await stage.bring_up(agent, connection, session)
        with ping(stage) as pings:
            await asyncio.to_thread(
                wait_until, lambda: renewed(first, session), "both renewed", within_s=30, every_s=0.2
            )
            out = await asyncio.to_thread(pings.communicate)
        assert f"{PINGS} received, 0% packet loss" in out[0]


def renewed(first: Any, session: Any) -> bool:
    """Whether the peer shows another IKE_SA and another child; with IKEv1 the old ones stay for some seconds more."""
    up = [sa for item in session.list_sas() for sa in item.values() if sa["state"] == b"ESTABLISHED"]
    children = {child["spi-in"] for sa in up for child in sa["child-sas"].values() if child["state"] == b"INSTALLED"}
    spis = {sa["initiator-spi"] for sa in up}
    return bool(children - {child_of(first)["spi-in"]} and spis - {first["initiator-spi"]})


async def test_a_responder_of_ikev1_leaves_it_to_the_peer(stage: Stage) -> None:
    """Where only the peer initiates, charon begins no handshake of its own when the IKE_SA's time has come.

    In IKEv1 it has no other way to renew it; its child's, which is due later, is renewed in the IKE_SA that there is.
    Broken by: ``messages.rekey_s`` whatever ``start`` says (charon initiates main mode).
    """
    settings = stage.settings(
        "ike_version = 1", 'start = "responder-only"', f"rekey_s = {LIFE_S}", child=f"rekey_s = {CHILD_S}"
    )
    conf = stage.peer(version="1", rekey_time="0", child={"rekey_time": "0", "life_time": "1h"})
    async with stage.theirs(conf) as session, stage.ours(settings):
        list(session.initiate({"ike": NAME, "child": "net", "timeout": "-1"}))
        first = await peer_up(session)

        def sas() -> list[Any]:
            return [sa for item in session.list_sas() for sa in item.values()]

        def child_renewed() -> bool:
            return any(
                child["spi-in"] != child_of(first)["spi-in"] for sa in sas() for child in sa["child-sas"].values()
            )

        await asyncio.to_thread(wait_until, child_renewed, "our rekey of the child", within_s=30, every_s=0.2)
        assert [(sa["initiator-spi"], sa.get("initiator")) for sa in sas()] == [(first["initiator-spi"], b"yes")]


EVENTS: Final = ("child-updown", "child-rekey", "ike-rekey")


def events(session: Any) -> Any:
    """What charon says of its SAs from now on, as a generator that also yields, with no event, twice a second."""
    said = session.listen(EVENTS, timeout=0.5)
    next(said)  # registers
    return said


def heard(said: Any, until: Callable[[list[str]], bool], *, within_s: float) -> list[str]:
    """The events in *said* in order, each with " up" where it says so, once *until* holds for them or it is late."""
    names: list[str] = []
    ends = time.monotonic() + within_s
    while not until(names) and time.monotonic() < ends:
        event, message = next(said)
        if event is not None:
            names.append(event.decode() + (" up" if message.get("up") else ""))
    return names


async def test_no_rekey(stage: Stage) -> None:
    """With ``rekey = false`` our charon rekeys neither SA: the child ends in time, and charon makes another at once.

    Between the two there is none for a round trip only, which a list of SAs shows or not.
    Broken by: leaving ``life_time`` out (the child lives on for ever); sending ``rekey_s`` all the same (it is rekeyed)
    """
    settings = stage.settings("rekey = false", f"rekey_s = {LIFE_S}", child=f"rekey_s = {LIFE_S}")
    conf = stage.peer(rekey_time="0", child={"rekey_time": "0", "life_time": "1h"})
    async with stage.theirs(conf) as session, stage.ours(settings) as (agent, connection):
        said = events(stage.left.vici())
        first = await stage.bring_up(agent, connection, session)
        ends_and_begins = await asyncio.to_thread(heard, said, lambda names: len(names) >= 3, within_s=30)
        assert ends_and_begins == ["child-updown up", "child-updown", "child-updown up"]
        again = await peer_up(session)
        assert again["initiator-spi"] == first["initiator-spi"]
        assert child_of(again)["spi-in"] != child_of(first)["spi-in"]


async def test_the_peer_rekeys(stage: Stage) -> None:
    """With ``rekey = false`` the peer's rekey of either SA is taken."""
    settings = stage.settings("rekey = false")
    conf = stage.peer(rekey_time="0", child={"rekey_time": "0", "life_time": "1h"})
    async with stage.theirs(conf) as session, stage.ours(settings) as (agent, connection):
        said = events(stage.left.vici())
        first = await stage.bring_up(agent, connection, session)
        for rekey in ({"child": "net"}, {"ike": NAME}):
            list(session.rekey(rekey))
            await peer_up(session)
        await asyncio.to_thread(wait_until, lambda: renewed(first, session), "the peer's rekey", within_s=30)
        both = await asyncio.to_thread(heard, said, lambda names: len(names) >= 3, within_s=30)
        assert both == ["child-updown up", "child-rekey", "ike-rekey"]
