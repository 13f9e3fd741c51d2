"""The transport on the wire: recorded bytes, and a peer that breaks off, stalls or talks nonsense."""

import asyncio
import struct
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from swanherd.core.intent import Child, Connection
from swanherd.world.charon import Charon, CharonGone, CharonRefused, CharonSilent
from swanherd.world.charon.codec import Outgoing, TooLongError, UnreadableError, decode, encode
from swanherd.world.charon.lanes import CharonStats, Lane, Ledger
from swanherd.world.charon.reader import CROWD
from swanherd.world.charon.transport import MAX_PACKET_BYTES, ViciConnection
from tests.component.charon.agents import eventually, running
from tests.component.charon.fake import Caller, empty_charon, fake

RECORDED = bytes.fromhex(
    "0106706565722d61"  # section peer-a
    "030776657273696f6e000132"  # version = 2
    "03066d6f62696b6500026e6f"  # mobike = no
    "040c72656d6f74655f6164647273"  # list remote_addrs
    "05000831302e392e302e3205000c706565722e6578616d706c65"  # two items
    "060202"  # ends; the last byte is one too many and is cut below
)[:-1]


def _lane(path: str, *, deadline_s: float = 0.2, late: list[str] | None = None) -> Lane:
    return Lane(
        path,
        limit=2,
        deadline_s=deadline_s,
        ledger=Ledger(),
        stats=CharonStats(),
        on_late=(late if late is not None else []).append,
    )


def test_recorded_bytes() -> None:
    """What the codec makes of a message is what charon was recorded to understand; a change of the library is seen."""
    message: Outgoing = {"peer-a": {"version": 2, "mobike": False, "remote_addrs": ["10.9.0.2", "peer.example"]}}
    assert encode(message) == RECORDED
    assert decode(RECORDED) == {
        "peer-a": {"version": "2", "mobike": "no", "remote_addrs": ["10.9.0.2", "peer.example"]}
    }


def test_what_does_not_fit_is_refused_unsent() -> None:
    """A name of more than 255 bytes, a value of more than 65535: refused by its key; the value is not in the text."""
    with pytest.raises(TooLongError):
        encode({"k" * 256: "v"})
    with pytest.raises(TooLongError) as error:
        encode({"data": b"hunter2" * 10_000})
    assert "hunter2" not in str(error.value)
    assert encode({"k" * 255: "v" * 65535})


@pytest.mark.parametrize(
    "body", [b"\x03", b"\x03\x09ab", b"\x01\x01a", b"\x02", b"\x03\x01\xff\x00\x00", b"\x04\x01a\x07"]
)
def test_nonsense_is_unreadable(body: bytes) -> None:
    """Bytes that are no message raise UnreadableError, nothing else."""
    with pytest.raises(UnreadableError):
        decode(body)


async def test_stall_after_the_header(tmp_path: Path) -> None:
    """A peer that stalls inside a packet costs the caller its deadline; the next call is not confused by the rest."""

    async def stall(caller: Caller, command: str, _: dict[str, Any]) -> None:
        if command == "version":
            caller.raw(struct.pack("!I", 20))
        else:
            caller.reply({"conns": ["a"]})

    async with fake(tmp_path, stall) as (_, path):
        lane = _lane(path)
        with pytest.raises(CharonSilent, match="no answer"):
            await lane.call("version")
        assert decode((await lane.call("get-conns")).body) == {"conns": ["a"]}
        lane.close()


@pytest.mark.parametrize("length", [0, MAX_PACKET_BYTES + 1, 0xFFFFFFFF])
async def test_absurd_length(tmp_path: Path, length: int) -> None:
    """A length that cannot be is the end of the connection at once: nothing is waited for, nothing is stored."""

    async def absurd(caller: Caller, _: str, __: dict[str, Any]) -> None:
        caller.raw(struct.pack("!I", length))

    async with fake(tmp_path, absurd) as (_, path):
        lane = _lane(path)
        with pytest.raises(CharonGone, match="not vici"):
            await lane.call("version")


async def test_end_in_the_midst_of_a_stream(tmp_path: Path) -> None:
    """If the connection ends in the midst of a list, the list is not taken for a short one."""

    async def broken(caller: Caller, _: str, __: dict[str, Any]) -> None:
        caller.event("list-sa", {"a": {"uniqueid": "1"}})
        caller.close()

    async with fake(tmp_path, broken) as (_, path):
        with pytest.raises(CharonGone):
            await _lane(path).call("list-sas", stream="list-sa")


async def test_foreign_events_are_no_data(tmp_path: Path) -> None:
    """An event that comes in the midst of a list does not become an item of it."""

    async def mixed(caller: Caller, _: str, __: dict[str, Any]) -> None:
        caller.event("list-sa", {"a": {}})
        caller.event("ike-updown", {"b": {}})
        caller.event("list-sa", {"c": {}})
        caller.reply({})

    async with fake(tmp_path, mixed) as (_, path):
        connection = await ViciConnection.open(path)
        events: list[bytes] = []
        connection.on_event = lambda name, _: events.append(name)
        reply = await connection.send("list-sas", stream="list-sa")
        assert [decode(item) for item in reply.items] == [{"a": {}}, {"c": {}}]
        assert events == [b"ike-updown"]
        connection.close()


async def test_unknown_command(tmp_path: Path) -> None:
    """A charon that does not know a command refuses it, and the lane goes on."""

    async def unknown(caller: Caller, command: str, _: dict[str, Any]) -> None:
        if command == "new":
            caller.packet(2)
        else:
            caller.reply()

    async with fake(tmp_path, unknown) as (_, path):
        lane = _lane(path)
        with pytest.raises(CharonRefused):
            await lane.ask("new")
        await lane.ask("old")
        lane.close()


async def test_late_answer_is_told(tmp_path: Path) -> None:
    """An answer that comes after its caller left settles the command, is told by name, and frees the slot."""
    answers: list[Caller] = []

    async def slow(caller: Caller, _: str, __: dict[str, Any]) -> None:
        answers.append(caller)

    async with fake(tmp_path, slow) as (_, path):
        late: list[str] = []
        lane = _lane(path, deadline_s=0.05, late=late)
        for _ in range(2):
            with pytest.raises(CharonSilent, match="no answer"):
                await lane.call("load-conn", name="office")
        with pytest.raises(CharonSilent, match="not sent"):
            await lane.call("load-conn", name="office")
        assert len(answers) == 2
        for caller in answers:
            caller.reply()
        await eventually(lambda: late == ["office", "office"], "told")
        with pytest.raises(CharonSilent, match="no answer"):
            await lane.call("load-conn", name="office")
        assert len(answers) == 3
        assert answers[2] not in answers[:2], "a connection is not used again after a deadline"
        lane.close()


async def test_who_waits_for_a_connection_gets_it_as_long_as_others_are_answered(tmp_path: Path) -> None:
    """Many calls at once take many times the deadline of one, and none of them gives up unsent.

    Broken by: the deadline counting from the call on.
    """

    async def slow(caller: Caller, _: str, __: dict[str, Any]) -> None:
        await asyncio.sleep(0.03)
        caller.reply()

    async with fake(tmp_path, slow) as (_, path):
        lane = _lane(path, deadline_s=0.2)
        await asyncio.gather(*(lane.call("unload-conn", name=f"c{number}") for number in range(30)))
        lane.close()


async def test_whoever_leaves_the_queue_leaves_his_turn(tmp_path: Path) -> None:
    """A call that is cancelled while it waits for a connection takes none away, at whatever moment that is.

    Broken by: ``Turns.take`` not giving back a slot that came with the cancellation.
    """
    held: list[Caller] = []

    async def hold(caller: Caller, command: str, _: dict[str, Any]) -> None:
        if command == "hold":
            held.append(caller)
        else:
            caller.reply()

    async with fake(tmp_path, hold) as (_, path):
        lane = _lane(path, deadline_s=1.0)
        for turns in range(8):
            held.clear()
            holding = [asyncio.create_task(lane.call("hold")) for _ in range(2)]
            await eventually(lambda: len(held) == 2, "both connections are in use")
            waiting = [asyncio.create_task(lane.call("version")) for _ in range(4)]
            await asyncio.sleep(0)
            for caller in held:
                caller.reply()
            await asyncio.wait(holding, return_when=asyncio.FIRST_COMPLETED)
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*holding, *waiting, return_exceptions=True)
        lane.close()


async def test_read_back_comes_after_older_commands(tmp_path: Path) -> None:
    """A read-back of a name is not begun while an older command about it is unanswered, even if listings are quick."""
    held: list[Caller] = []
    loaded: list[str] = []

    async def slow_load(caller: Caller, command: str, message: dict[str, Any]) -> None:
        if command == "load-conn":
            held.append(caller)
        elif command == "get-conns":
            caller.reply({"conns": loaded})
        elif command == "list-conns" and loaded:
            caller.event("list-conn", {"office": {"local_addrs": ["10.9.0.1"]}})
            caller.reply({})
        else:
            await empty_charon(caller, command, message)

    child = Child(name="lan", local_ts=("10.1.0.0/24",), remote_ts=("10.2.0.0/24",))
    ours = Connection(name="office", interfaces=(), remote=("10.9.0.2",), children=(child,))
    async with fake(tmp_path, slow_load) as (_, path), running(path) as here:
        load = asyncio.create_task(here.charon.load(ours, IPv4Address("10.9.0.1")))
        await eventually(lambda: held, "load under way")
        load.cancel()
        with pytest.raises(CharonSilent):
            await here.charon.read("office")
        reading = asyncio.create_task(here.charon.read("office"))
        await asyncio.sleep(0)  # it has begun
        loaded.append("office")
        held[0].reply()
        assert (await reading).config is not None


async def test_a_listing_that_hangs_holds_no_read_back_up(tmp_path: Path) -> None:
    """A fence's read-back waits for older commands about its name, but not for a listing, which changes nothing.

    Broken by: ``Lanes.reads`` with the ledger of the commands.
    """
    hanging: list[Caller] = []

    async def charon(caller: Caller, command: str, message: dict[str, Any]) -> None:
        if command == "list-sas" and message and not hanging:
            hanging.append(caller)
        else:
            await empty_charon(caller, command, message)

    async with fake(tmp_path, charon) as (server, path), running(path) as here:
        (listener,) = server.listeners()
        listener.event("ike-rekey", {"up": "yes", "office": {"state": "ESTABLISHED"}})
        await eventually(lambda: hanging, "a listing that hangs")
        assert not (await here.charon.read("office")).sas
        assert not hanging[0].ended


async def test_nothing_is_left_behind(tmp_path: Path) -> None:
    """Closed in the midst of everything, the adapter leaves no task and no connection."""
    async with fake(tmp_path, empty_charon) as (server, path):
        charon = Charon(socket_path=path, on_change=lambda _: None)
        task = asyncio.create_task(charon.run())
        await eventually(server.listeners, "connected")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await charon.close()
        await eventually(lambda: all(caller.ended for caller in server.callers), "all connections closed")
        assert not [left for left in asyncio.all_tasks() if "swanherd/world" in repr(left)]


@pytest.mark.parametrize("names", ["ab", "abcdefgh"], ids=["few", "many"])
async def test_one_listing_that_hangs_is_enough(tmp_path: Path, names: str) -> None:
    """Charon lists nothing while one SA is in use; looking at SAs then stops, looking at loaded names does not.

    Few are listed by name, many all at once, which may take longer before it is given up.
    """
    hanging: list[Caller] = []
    loaded: list[str] = []
    stuck = [False]

    async def charon(caller: Caller, command: str, message: dict[str, Any]) -> None:
        if command == "list-sas" and stuck[0]:
            hanging.append(caller)
        elif command == "get-conns":
            caller.reply({"conns": loaded})
        else:
            await empty_charon(caller, command, message)

    async with fake(tmp_path, charon) as (server, path), running(path) as here:
        stuck[0] = True
        (listener,) = server.listeners()
        for name in names:
            listener.event("ike-updown", {"up": "yes", name: {"state": "ESTABLISHED"}})
        if len(names) <= CROWD:
            await eventually(lambda: here.charon.stats.timeouts, "a listing given up on")
        await eventually(lambda: hanging, "one that hangs")
        loaded.append("theirs")
        await here.until(lambda: "theirs" in here.charon.names(), "loaded names are still read")
        assert len(hanging) == 1
        stuck[0] = False
        hanging[0].reply({})
        await eventually(lambda: here.charon.stats.unsettled == 0, "settled")
