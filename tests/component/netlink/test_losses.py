"""What is lost on the way is noticed and read again: overflow, overtaken and interrupted readings, broken sockets."""

import asyncio
import contextlib
import ctypes
import gc
import resource
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from swanherd.core.facts import Known, NetworkChange, Unknown
from swanherd.world.netlink import NetworkSource
from swanherd.world.netlink.source import UNCLEAN_READINGS

from .watched import PAIR, ip, shown_addresses, watching

pytestmark = pytest.mark.usefixtures("namespace")

MANY = 10_000


def many(verb: str, count: int = MANY, *, first: int = 0) -> list[str]:
    """Commands that add or delete *count* addresses of their own."""
    return [f"addr {verb} 10.{n >> 14}.{n >> 6 & 255}.{n & 63}/32 dev wan" for n in range(first + 1, first + count + 1)]


async def in_background(*commands: str) -> asyncio.subprocess.Process:
    """An `ip` process that works while the loop runs."""
    running = await asyncio.create_subprocess_exec("ip", "-batch", "-", stdin=subprocess.PIPE)
    assert running.stdin is not None
    running.stdin.write("\n".join(commands).encode())
    running.stdin.close()
    return running


async def test_an_overflow_is_read_again_and_right() -> None:
    """The loop stands still while 20 000 events are made: Unknown with the last value, then all is as `ip` shows."""
    ip(*PAIR, "addr add 203.0.113.2/24 dev wan")
    async with watching(receive_buffer_bytes=1 << 20) as watched:
        before = watched.network
        watched.forget()
        ip("addr del 203.0.113.2/24 dev wan", *many("add"), *many("del"), "addr add 203.0.113.3/24 dev wan")
        await watched.until(lambda: watched.source.counters.resyncs == 1)
        unknown, known = watched.states[0], watched.states[-1]
        assert isinstance(unknown, Unknown)
        assert (unknown.why, unknown.last) == ("overflow", before)
        assert isinstance(known, Known)
        assert watched.changes == [NetworkChange(everything=True)] * 2
        assert watched.source.counters.overflows == 1
        assert watched.addresses() == shown_addresses()
        ip("addr add 203.0.113.2/24 dev wan")
        await watched.until(lambda: ip_address("203.0.113.2") in watched.network.addresses)


async def test_what_left_and_returned_unheard_is_a_new_address() -> None:
    """An address that went and came back during an overflow has a new `since`; one that stayed keeps its own."""
    ip(*PAIR, "addr add 203.0.113.2/24 dev wan", "addr add 198.51.100.2/24 dev wan")
    async with watching(receive_buffer_bytes=4096) as watched:
        stayed, left = ip_address("203.0.113.2"), ip_address("198.51.100.2")
        before = watched.network
        ip(*many("add", 100))
        await asyncio.sleep(0)  # the kernel's stamp of birth counts hundredths of a second
        deadline = time.monotonic() + 0.03
        while time.monotonic() < deadline:
            pass
        ip("addr del 198.51.100.2/24 dev wan", "addr add 198.51.100.2/24 dev wan")
        await watched.until(lambda: watched.source.counters.resyncs >= 1)
        assert watched.network.addresses[stayed][0].since == before.addresses[stayed][0].since
        assert watched.network.addresses[left][0].since > before.addresses[left][0].since


async def test_a_reading_under_change_loses_nothing() -> None:
    """Checks run one after another while 5000 changes are made: no event is missed, and the end is as `ip` shows."""
    ip(*PAIR, *many("add", 3000))
    async with watching(check_s=0.001) as watched:
        churning = await in_background(*many("add", 2000, first=3000), *many("del", 3000, first=1500))
        assert await churning.wait() == 0
        await watched.until(lambda: watched.addresses() == shown_addresses(), deadline_s=20)
        assert watched.source.counters.interrupted > 0, "no reading met a change: this run proves nothing"
        assert watched.source.counters.missed == 0
        assert watched.source.counters.overflows == 0


async def test_what_changes_between_the_steps_of_a_reading_is_not_lost() -> None:
    """After each datagram of the first reading an address comes and one goes, each told while nothing is known yet."""
    ip(*PAIR, *many("add", 3000))
    numbers = iter(range(1, 3000))

    def change() -> None:
        number = next(numbers)
        ip(f"addr add 192.0.2.{number}/32 dev wan", *many("del", 1, first=number))

    async with watching(while_reading=change) as watched:
        assert next(numbers) > 5, "the reading was in fewer steps: this run proves nothing"
        await watched.until(lambda: watched.addresses() == shown_addresses(), deadline_s=0.8)
        assert watched.source.counters.missed == 0


async def test_a_first_reading_where_changes_never_rest_ends() -> None:
    """An address flaps for ever, so that no reading is clean: the source becomes known all the same, and is right."""
    ip(*PAIR, *many("add"))
    flaps = [f"addr {verb} 192.0.2.{number}/32 dev wan" for number in range(1, 255) for verb in ("add", "del")] * 1000
    flapping = await in_background(*flaps)
    async with watching() as watched:
        assert watched.source.counters.interrupted >= UNCLEAN_READINGS, "a reading was clean: this run proves nothing"
        assert flapping.returncode is None
        flapping.kill()
        await flapping.wait()
        await watched.until(lambda: watched.addresses() == shown_addresses())


@pytest.fixture
def frozen_heap() -> Iterator[None]:
    """The garbage collector leaves alone what the test runner has loaded, which the agent does not."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("frozen_heap")
async def test_a_flood_never_holds_the_loop() -> None:
    """Ten thousand address events wait: the loop never computes for more than 20 ms in one piece."""
    ip(*PAIR)
    async with watching() as watched:
        watched.remembers = False
        held = watched.source._table._held
        ip(*many("add"))
        longest_s = await longest_turn_s(lambda: len(held) < MANY)
        assert longest_s < 0.020, watched.source.counters


async def longest_turn_s(going_on: Callable[[], bool]) -> float:
    """The longest computing time of one turn of the loop while *going_on*."""
    longest_s = 0.0
    deadline = time.monotonic() + 30
    while going_on():
        assert time.monotonic() < deadline
        started = time.thread_time()
        await asyncio.sleep(0)
        longest_s = max(longest_s, time.thread_time() - started)
    return longest_s


@pytest.mark.usefixtures("frozen_heap")
async def test_a_reading_never_holds_the_loop() -> None:
    """Nor does the first reading of ten thousand addresses, and a check of them."""
    ip(*PAIR, *many("add"))
    source = NetworkSource(on_change=lambda _change: None, check_s=0.01)
    running = asyncio.create_task(source.run())
    assert await longest_turn_s(lambda: not isinstance(source.state, Known)) < 0.020
    ends = time.monotonic() + 0.5
    assert await longest_turn_s(lambda: time.monotonic() < ends) < 0.020
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert len(source._table._held) > MANY


async def test_a_socket_that_cannot_be_had_is_tried_again() -> None:
    """Without a free descriptor the source is Unknown (`lost`, with the last value); with one it is known again."""
    ip(*PAIR)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with watching(check_s=0.02) as watched:
        before = watched.network
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
            await watched.until(lambda: isinstance(watched.source.state, Unknown))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        state = watched.source.state
        assert isinstance(state, Unknown)
        assert (state.why, state.last) == ("lost", before)
        await watched.until(lambda: isinstance(watched.source.state, Known))
        assert watched.source.counters.resyncs == 1
        assert watched.changes[-1] == NetworkChange(everything=True)


async def test_the_slow_check_finds_what_no_event_told() -> None:
    """A filter swallows all events (a fault that nobody reports): the check corrects, tells and counts each."""
    ip(*PAIR, "addr add 203.0.113.2/24 dev wan")
    async with watching(check_s=0.05) as watched:
        await watched.until(lambda: watched.network.links["wan"].up and watched.network.links["far"].up)
        assert watched.source._events is not None
        deaf = struct.pack("=HBBI", 0x06, 0, 0, 0)  # BPF: give nothing
        code = ctypes.create_string_buffer(deaf)
        watched.source._events.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HxxxxxxP", 1, ctypes.addressof(code)))
        watched.changes.clear()
        ip("addr del 203.0.113.2/24 dev wan", "addr add 198.51.100.2/24 dev wan", "link set wan name outside")
        ip("route add default via 198.51.100.1")
        await watched.until(lambda: watched.source.counters.missed >= 4)
        assert watched.source.counters.missed == 4
        assert watched.addresses() == shown_addresses()
        assert watched.network.defaults[0].device == "outside"
        assert {ip_address("203.0.113.2"), ip_address("198.51.100.2")} <= {
            one for change in watched.changes for one in change.addresses
        }


async def test_nothing_leaks() -> None:
    """After many overflows and a cancellation in the middle of anything: the same descriptors, no task left."""
    ip(*PAIR)
    descriptors, tasks = _descriptors(), asyncio.all_tasks()
    for round_number in range(20):
        async with watching(receive_buffer_bytes=4096, check_s=0.001) as watched:
            for _ in range(3):
                known = watched.source.counters.resyncs
                ip(*many("add", 100), *many("del", 100))
                await watched.until(lambda known=known: watched.source.counters.resyncs > known)  # type: ignore[misc]  # bound default
            for _ in range(round_number):
                await asyncio.sleep(0)
    assert _descriptors() == descriptors
    assert asyncio.all_tasks() == tasks


def _descriptors() -> set[str]:
    links = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            links.add(f"{descriptor.name} {descriptor.readlink()}")
    return links
