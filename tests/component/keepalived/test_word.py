"""What keepalived says by D-Bus, and every way in which it, or the bus, can stop saying it."""

import asyncio
import os
import signal

import pytest

from swanherd.core.evidence import VrrpState
from swanherd.core.facts import Absent, Known, Unknown
from swanherd.core.intent import EvidenceSource
from swanherd.world.keepalived.instances import ANSWER_S, RECONNECT_S

from .stage import ADVERT_S, INTERFACE, Bus, Daemon, Followed, MuteBus, following, open_descriptors

DBUS = EvidenceSource.DBUS


async def master(daemon: Daemon, followed: Followed, *, declared_advert_s: float = ADVERT_S) -> Known[VrrpState]:
    """Start keepalived and wait for its MASTER."""
    daemon.start()
    followed.declare(DBUS, advert_s=declared_advert_s)
    await followed.until(lambda: followed.said == "master")
    state = followed.adapter.state(INTERFACE)
    assert isinstance(state, Known)
    return state


async def test_from_no_owner_through_backup_to_master(daemon: Daemon, bus: Bus) -> None:
    """Without keepalived on the bus the state is Unknown: gone. It is BACKUP, without a signal, and then MASTER."""
    async with following(daemon, bus) as followed:
        followed.declare(DBUS)
        await followed.until(lambda: followed.said == "gone")
        daemon.start()
        await followed.until(lambda: followed.said == "backup")
        await followed.until(lambda: followed.said == "master")


async def test_every_confirmation_is_dated(daemon: Daemon, bus: Bus) -> None:
    """A Known is as old as its latest reading: it moves at least every advert interval, and tells nobody."""
    async with following(daemon, bus) as followed:
        first = await master(daemon, followed)
        told = len(followed.told)
        loop = asyncio.get_running_loop()
        await followed.until(
            lambda: isinstance(s := followed.adapter.state(INTERFACE), Known) and s.since > first.since
        )
        second = followed.adapter.state(INTERFACE)
        assert isinstance(second, Known)
        assert loop.time() - second.since < 0.1
        assert len(followed.told) == told


async def test_a_look_tells_what_is_the_same_too(daemon: Daemon, bus: Bus) -> None:
    """Who asks for a look waits for a newer date, not for another value."""
    async with following(daemon, bus) as followed:
        await master(daemon, followed)
        asked_at = asyncio.get_running_loop().time()
        told = len(followed.told)
        followed.adapter.look()
        await followed.until(lambda: len(followed.told) > told, within_s=0.1)
        _, state, _ = followed.told[-1]
        assert isinstance(state, Known)
        assert state.since >= asked_at


@pytest.mark.parametrize("which", ["both", "parent", "child"])
async def test_killed(daemon: Daemon, bus: Bus, which: str) -> None:
    """Killed with -9 it is gone from the bus at once; its restarted child is found, with new objects."""
    async with following(daemon, bus) as followed:
        await master(daemon, followed, declared_advert_s=2.0)  # so that no reading by time is near
        parent, child = daemon.pids
        loop = asyncio.get_running_loop()
        killed_at = loop.time()
        for pid in {"both": (parent, child), "parent": (parent,), "child": (child,)}[which]:
            os.kill(pid, signal.SIGKILL)
        await followed.until(lambda: followed.said not in {"master", "backup"})
        if which != "parent":  # its child says goodbye, which takes a second
            assert loop.time() - killed_at < 0.1
        await followed.until(lambda: "gone" in {getattr(state, "why", "") for _, state, _ in followed.told})
        if which == "child":
            await followed.until(lambda: followed.said == "master")


async def test_frozen_and_thawed(daemon: Daemon, bus: Bus) -> None:
    """Frozen it is silent, dated from the first question that it left open; at most one question waits."""
    async with following(daemon, bus) as followed:
        await master(daemon, followed)
        loop = asyncio.get_running_loop()
        frozen_at = loop.time()
        daemon.send(signal.SIGSTOP)
        await followed.until(lambda: followed.said == "silent", within_s=1.0)
        state = followed.adapter.state(INTERFACE)
        assert isinstance(state, Unknown)
        assert state.last is VrrpState.MASTER
        assert frozen_at - 0.01 <= state.since <= loop.time() - ANSWER_S + 0.01
        reads = followed.adapter.counters.reads
        for _ in range(20):
            followed.adapter.look()
            await asyncio.sleep(0.02)
        assert (followed.adapter.counters.silences, followed.adapter.counters.reads) == (1, reads)
        followed.told.clear()
        thawed_at = loop.time()
        daemon.send(signal.SIGCONT)
        await followed.until(lambda: followed.said == "master", within_s=1.0)
        words = [state for _, state, _ in followed.told if isinstance(state, Known)]
        assert words
        # An answer to a question from before the thaw vouches for nothing.
        assert min(word.since for word in words) >= thawed_at


async def test_stopped_and_started(daemon: Daemon, bus: Bus) -> None:
    """A stop ends in gone (its 98 is no state of ours); a new start is read from its new objects."""
    async with following(daemon, bus) as followed:
        await master(daemon, followed)
        await asyncio.to_thread(daemon.stop)
        await followed.until(lambda: followed.said == "gone")
        daemon.start()
        await followed.until(lambda: followed.said == "master")


async def test_reload_without_a_change(daemon: Daemon, bus: Bus) -> None:
    """A reload that changes nothing never shows as anything but MASTER."""
    async with following(daemon, bus) as followed:
        await master(daemon, followed)
        followed.told.clear()
        daemon.reload()
        await followed.until(lambda: followed.told)  # keepalived's VrrpReloaded has us look
        assert {getattr(state, "value", state) for _, state, _ in followed.told} == {VrrpState.MASTER}


async def test_instance_renamed_and_back(daemon: Daemon, bus: Bus) -> None:
    """An instance of another name is not ours, even on the same device and VRID; it is found once it is back."""
    async with following(daemon, bus) as followed:
        await master(daemon, followed)
        daemon.configure(name="VI_OTHER")
        daemon.reload()
        await followed.until(lambda: followed.said == "no-instance")
        daemon.configure()
        daemon.reload()
        await followed.until(lambda: followed.said in {"backup", "master"})


async def test_declared_by_place(daemon: Daemon, bus: Bus) -> None:
    """Without a name the instance is the one of the device (in a path: wan1_7) and the VRID."""
    async with following(daemon, bus) as followed:
        daemon.start()
        followed.declare(DBUS, instance=None)
        await followed.until(lambda: followed.said == "master")


async def test_without_dbus_in_keepalived(daemon: Daemon, bus: Bus) -> None:
    """A keepalived with D-Bus off, as Debian ships it, is no owner; nothing hangs on it."""
    daemon.configure(extra="")
    async with following(daemon, bus) as followed:
        daemon.start()
        followed.declare(DBUS)
        await followed.until(lambda: followed.said == "gone")


async def test_bus_killed_and_started(daemon: Daemon, bus: Bus) -> None:
    """A dead bus is Unknown: no-bus, at once; the next one is found, and keepalived on it after its own restart.

    That keepalived is missing on a bus that it never was on is not its death. Broken by: ``_missing`` always ``gone``.
    """
    async with following(daemon, bus) as followed:
        await master(daemon, followed)
        loop = asyncio.get_running_loop()
        followed.told.clear()
        killed_at = loop.time()
        bus.stop()
        await followed.until(lambda: followed.said == "no-bus")
        assert loop.time() - killed_at < 0.1
        bus.start()
        await followed.until(lambda: followed.said == "not-on-new-bus")  # 2.2.7 never comes to another bus by itself
        await asyncio.to_thread(daemon.stop)
        daemon.start()
        await followed.until(lambda: followed.said == "master")
        assert "gone" not in {getattr(state, "why", "") for _, state, _ in followed.told}
        await asyncio.to_thread(daemon.stop)
        await followed.until(lambda: followed.said == "gone")


async def test_bus_absent(daemon: Daemon, bus: Bus) -> None:
    """No bus at all costs no descriptor however often it is tried."""
    bus.stop()
    bus.socket.unlink()
    async with following(daemon, bus) as followed:
        followed.declare(DBUS)
        await followed.until(lambda: followed.said == "no-bus")
        before = open_descriptors()
        await asyncio.sleep(RECONNECT_S * 3)
        assert open_descriptors() == before


async def test_bus_frozen(daemon: Daemon, bus: Bus) -> None:
    """A bus that does not answer says nothing about keepalived: no-bus, never silent."""
    async with following(daemon, bus) as followed:
        await master(daemon, followed)
        bus.send(signal.SIGSTOP)
        await followed.until(lambda: followed.said == "no-bus")
        assert followed.adapter.counters.silences == 0
        bus.send(signal.SIGCONT)
        await followed.until(lambda: followed.said == "master")


async def test_bus_that_says_nothing(daemon: Daemon, bus: Bus) -> None:
    """Something that accepts on the bus's socket and never speaks is no bus; nothing hangs, and it is tried again."""
    bus.stop()
    mute = MuteBus(bus.socket)
    async with following(daemon, bus) as followed:
        followed.declare(DBUS)
        await followed.until(lambda: followed.said == "no-bus")
        await followed.until(lambda: len(mute.met) == 2)
        mute.close()


async def test_nothing_declared(daemon: Daemon, bus: Bus) -> None:
    """What is not declared is Absent, and nobody is asked; a declaration that ends closes the connection."""
    async with following(daemon, bus) as followed:
        idle = open_descriptors()
        await master(daemon, followed)
        followed.declare()
        assert followed.adapter.state(INTERFACE) == Absent()
        await followed.until(lambda: open_descriptors() == idle)
