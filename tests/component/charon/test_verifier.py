"""What was loaded is compared with what charon lists then: when, how often, and what follows."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from swanherd.core.intent import Connection
from swanherd.world.charon import CharonRefused, canonical
from swanherd.world.charon.verifier import REST_S
from tests.component.charon.agents import eventually, running
from tests.component.charon.fake import Caller, Handler, empty_charon, fake
from tests.unit.core.settings import ALPHA, BETA, GAMMA, VIP_WAN

OTHERWISE = {"local_addrs": ["198.51.100.99"]}
"""No connection of ours is listed like this."""
CALLED = {
    "rekey_s": "rekey_time", "reauth_s": "reauth_time", "dpd_delay_s": "dpd_delay",
    "local_ts": "local-ts", "remote_ts": "remote-ts",
}  # fmt: skip
"""Our words, and what charon's lists call the same."""


def _as_expected(connection: Connection) -> dict[str, Any]:
    """*connection* as charon lists it once it is loaded."""
    listed = _listed(canonical.to_be_visible(connection, VIP_WAN))
    for shown in listed.pop("auth"):
        side, _, rest = shown.partition(" ")
        kind, _, identity = rest.rpartition(" ")
        listed[f"{side}-1"] = {"class": kind, "id": identity}
    return {**listed, "children": {name: _listed(child) for name, child in listed["children"].items()}}


def _listed(shown: Any) -> dict[str, Any]:
    return {CALLED.get(key, key): list(said) if isinstance(said, tuple) else said for key, said in shown.items()}


def _lists(sections: dict[str, dict[str, Any]], compared: list[str]) -> Handler:
    """A charon that lists what is loaded as *sections*, where it is asked for it by name, which is noted."""
    loaded: set[str] = set()

    async def charon(caller: Caller, command: str, message: dict[str, Any]) -> None:
        name = message.get("ike", message.get("name", b"")).decode()
        match command:
            case "get-conns":
                caller.reply({"conns": sorted(loaded)})
                return
            case "load-conn":
                loaded.update(message)
            case "unload-conn":
                loaded.discard(name)
            case "list-conns" if name:
                compared.append(name)
                if name in loaded:
                    caller.event("list-conn", {name: sections[name]})
        await empty_charon(caller, command, message)

    return charon


async def test_what_was_loaded_is_compared_when_nothing_is_under_way(tmp_path: Path) -> None:
    """The comparison after a load, which can wait, does not go between the commands of a takeover, nor all at once.

    Broken by: ``Verifier._rested`` without ``quiet()``.
    """
    last_load, first_proof = asyncio.Event(), asyncio.Event()
    compared: list[str] = []

    async def charon(caller: Caller, command: str, message: dict[str, Any]) -> None:
        if command == "load-conn" and GAMMA.name in message:
            await last_load.wait()
        if command == "list-conns" and (name := message.get("ike", b"").decode()):
            compared.append(name)
            await first_proof.wait()
        await empty_charon(caller, command, message)

    async with fake(tmp_path, charon) as (server, path), running(path) as here:
        slow = asyncio.create_task(here.charon.load(GAMMA, VIP_WAN))
        await eventually(lambda: "load-conn" in dict(server.asked), "the slow one is under way")
        for each in (ALPHA, BETA):
            await here.charon.load(each, VIP_WAN)
            await here.charon.initiate(each, each.children[0])
        await asyncio.sleep(2 * REST_S)  # all rest but the slow one
        assert not compared
        last_load.set()
        await slow
        await eventually(lambda: compared, "the first is compared")
        await here.charon.initiate(GAMMA, GAMMA.children[0])
        assert len(compared) == 1
        first_proof.set()
        await eventually(lambda: set(compared) == {ALPHA.name, BETA.name, GAMMA.name}, "all are compared")


async def test_what_was_loaded_is_compared_when_takeovers_rest(tmp_path: Path) -> None:
    """A pause between two commands is not enough: the comparison waits for some time without any.

    Broken by: ``REST_S`` of 0.
    """
    loop = asyncio.get_running_loop()
    commanded_at, rests = 0.0, list[float]()

    async def charon(caller: Caller, command: str, message: dict[str, Any]) -> None:
        nonlocal commanded_at
        if command == "load-conn":
            commanded_at = loop.time()
        if command == "list-conns" and "ike" in message:
            rests.append(loop.time() - commanded_at)
        await empty_charon(caller, command, message)

    async with fake(tmp_path, charon) as (_, path), running(path) as here:
        for each in (ALPHA, BETA, GAMMA):
            await here.charon.load(each, VIP_WAN)
            await asyncio.sleep(0.07)
        await eventually(lambda: len(rests) == 3, "all are compared")
        assert min(rests) > 0.15


async def test_what_is_loaded_again_meanwhile_is_compared_once(tmp_path: Path) -> None:
    """An address that comes and goes loads the same again and again: what waits to be compared does not pile up.

    Broken by: a comparison for each load.
    """
    compared: list[str] = []

    async def charon(caller: Caller, command: str, message: dict[str, Any]) -> None:
        if command == "list-conns" and (name := message.get("ike", b"").decode()):
            compared.append(name)
        await empty_charon(caller, command, message)

    async with fake(tmp_path, charon) as (_, path), running(path) as here:
        for _ in range(5):
            await here.charon.load(ALPHA, VIP_WAN)
        await here.charon.load(BETA, VIP_WAN)
        await eventually(lambda: BETA.name in compared, "the last is compared, after all before it")
        assert compared == [ALPHA.name, BETA.name]


async def test_what_is_listed_as_expected_is_not_compared_again(tmp_path: Path) -> None:
    """This charon will list it so whenever it is loaded.

    Broken by: ``_prove`` not noting what it has proven.
    """
    compared: list[str] = []
    all_three = {each.name: _as_expected(each) for each in (ALPHA, BETA, GAMMA)}

    async with fake(tmp_path, _lists(all_three, compared)) as (_, path), running(path) as here:
        for each in (ALPHA, BETA):
            await here.charon.load(each, VIP_WAN)
        await eventually(lambda: BETA.name in compared, "the second is being compared, the first has been")
        for each in (ALPHA, GAMMA):
            await here.charon.load(each, VIP_WAN)
        await eventually(lambda: GAMMA.name in compared, "the last is compared")
        assert compared == [ALPHA.name, BETA.name, GAMMA.name]


async def test_what_somebody_loads_right_after_ours_is_not_taken_away(tmp_path: Path) -> None:
    """It is listed otherwise than ours, for it is theirs: it stays, and says nothing of ours.

    Broken by: ``_prove`` without ``loads_heard``.
    """
    async with fake(tmp_path, _lists({ALPHA.name: OTHERWISE}, [])) as (server, path), running(path) as here:
        (listener,) = server.listeners()
        await here.charon.load(ALPHA, VIP_WAN)
        ours = here.here(ALPHA.name).config
        for verb in ("added", "replaced"):
            listener.event("log", {"group": "CFG", "msg": f"{verb} vici connection: {ALPHA.name}"})
        await here.until(lambda: here.here(ALPHA.name).config != ours, "theirs is seen")
        assert here.here(ALPHA.name).config is not None
        assert "unload-conn" not in dict(server.asked)
        await here.charon.load(ALPHA, VIP_WAN)


async def test_another_charon_is_judged_anew(tmp_path: Path) -> None:
    """What one charon lists otherwise is refused until there is another one, or the same one again.

    Broken by: ``Charon._ready`` without ``forget``.
    """
    async with fake(tmp_path, _lists({ALPHA.name: OTHERWISE}, [])) as (server, path), running(path) as here:
        await here.charon.load(ALPHA, VIP_WAN)
        await eventually(lambda: "unload-conn" in dict(server.asked), "taken away")
        with pytest.raises(CharonRefused, match=r"local_addrs is .*198\.51\.100\.99"):
            await here.charon.load(ALPHA, VIP_WAN)
        met = here.charon.stats.reconnects
        for caller in server.callers:
            caller.close()
        await here.until(lambda: here.charon.stats.reconnects > met, "met again")
        await here.until_state("known")
        await here.charon.load(ALPHA, VIP_WAN)
