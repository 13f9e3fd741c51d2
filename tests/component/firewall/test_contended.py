"""Several change the tables, or others, at the same time."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from swanherd.core.facts import Known, Wire
from swanherd.world.firewall import FirewallError, elements, requests
from swanherd.world.firewall.errors import RefusedError
from swanherd.world.firewall.kernel import Kernel
from swanherd.world.firewall.snapshot import read

from .ruleset import DEADLINE_S, FULL, VIPS, WIRE, Running, listed, nft, pair
from .stage import PEER, VIP


async def test_everything_at_once(running: Running) -> None:
    """Applies, fences and transactions of others in each other's way: no call fails, both tables end right."""
    nft("add table inet user; add set inet user s { type ipv4_addr; }")
    await running.firewall.apply(WIRE)

    async def others_change(part: int) -> None:
        for n in range(30):
            process = await asyncio.create_subprocess_exec("nft", f"add element inet user s {{ 10.0.{part}.{n} }}")
            assert await process.wait() == 0

    async def we_apply() -> None:
        for n in range(40):
            await running.firewall.apply(FULL if n % 2 else WIRE)
            await asyncio.sleep(0.002)

    async def we_fence() -> None:
        for n in range(40):
            running.firewall.fence(addresses=VIPS, pairs=[pair(VIP[4], f"10.{n}.0.0/16"), pair(VIP[6], PEER[6])])
            state = running.firewall.state
            assert isinstance(state, Known)
            assert state.value is not None
            assert state.value.fenced == VIPS
            await asyncio.sleep(0.002)

    async with asyncio.TaskGroup() as group:
        for work in (others_change(1), others_change(2), we_apply(), we_fence()):
            group.create_task(work)
    await running.firewall.apply(FULL)
    assert running.wire == FULL
    assert listed("set", "inet", "user", "s").count("10.0.") == 60


def _toggling(stop: threading.Event, wires: tuple[Wire, Wire], pause_s: float) -> threading.Thread:
    """Somebody who brings our table from one wire to the other and back, each in one transaction, until *stop*."""

    def toggle() -> None:
        somebody = Kernel()
        contents = [elements.contents(wire) for wire in wires]
        while not stop.wait(pause_s):
            for before, after in (contents, contents[::-1]):
                with suppress(RefusedError):  # we were faster
                    somebody.commit(requests.change(before, after))
        somebody.close()

    thread = threading.Thread(target=toggle)
    thread.start()
    return thread


async def test_a_read_is_of_one_moment(running: Running) -> None:
    """While somebody changes sets of both tables in each transaction, no read sees one without the others.

    On a busy machine a read may say that it cannot be done.
    """
    other = replace(WIRE, fenced=VIPS, fenced_pairs=WIRE.ours)
    await running.firewall.apply(WIRE)
    stop = threading.Event()
    thread = _toggling(stop, (WIRE, other), 0.001)
    kernel = Kernel()
    try:
        seen: list[Wire | None] = []
        loop = asyncio.get_running_loop()
        deadline = loop.time() + DEADLINE_S
        while len(seen) < 150 or (len(set(seen)) < 2 and loop.time() < deadline):
            with _storm_allowed():
                now = read(kernel)
                assert now.intact
                seen.append(now.wire)
    finally:
        stop.set()
        thread.join()
        kernel.close()
    assert set(seen) == {WIRE, other}


async def test_apply_beside_somebody_who_changes_our_table(running: Running) -> None:
    """An apply that was overtaken reads again and gets there, or says who is to blame; nothing else is raised."""
    other = replace(WIRE, fenced=VIPS, fenced_pairs=WIRE.ours)
    await running.firewall.apply(WIRE)
    stop = threading.Event()
    thread = _toggling(stop, (WIRE, other), 0.0005)
    try:
        for n in range(60):
            with _storm_allowed():
                await running.firewall.apply(FULL if n % 2 else WIRE)
            with _storm_allowed():
                running.firewall.fence(pairs=[pair(VIP[4], "10.0.0.0/8")])
    finally:
        stop.set()
        thread.join()
    await running.firewall.apply(FULL)
    assert running.wire == FULL


@contextmanager
def _storm_allowed() -> Iterator[None]:
    """Lets an error pass that says that somebody else keeps changing the table."""
    try:
        yield
    except FirewallError as error:
        if "nft monitor" not in str(error):
            raise
