"""A source under test, and what a test does to its namespace with `ip`, which has an encoder of its own."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from swanherd.core.facts import Known, Network, NetworkChange, Unknown
from swanherd.world.netlink import NetworkSource

DEADLINE_S = 8.0

PAIR = (
    "link add wan type veth peer name far",
    "link set wan addrgenmode none",
    "link set far addrgenmode none",
    "link set wan up",
    "link set far up",
)
"""A device with carrier, and without the addresses that IPv6 would give it by and by."""


def ip(*commands: str) -> None:
    """Runs one or many commands in one `ip` process."""
    subprocess.run(["ip", "-batch", "-"], input="\n".join(commands), text=True, check=True)


def shown(*arguments: str) -> Any:
    """What `ip -j` prints, parsed."""
    return json.loads(subprocess.run(["ip", "-j", *arguments], check=True, capture_output=True, text=True).stdout)


def shown_addresses() -> list[tuple[str, str, int]]:
    """Device, address and prefix of all that `ip` lists, sorted."""
    return sorted(
        (link["ifname"], address["local"], address["prefixlen"])
        for link in shown("addr")
        for address in link["addr_info"]
    )


class Watched:
    """A running source, and all that it told."""

    def __init__(self) -> None:
        self.changes: list[NetworkChange] = []
        self.states: list[Known[Network] | Unknown[Network]] = []
        """What `state` gave at each change."""
        self.remembers = True
        """A flood's states, all kept, would be a million objects for the garbage collector to go through."""
        self.source: NetworkSource

    @property
    def network(self) -> Network:
        """The network, which must be known."""
        state = self.source.state
        assert isinstance(state, Known), state
        return state.value

    def note(self, change: NetworkChange) -> None:
        """The source's on_change."""
        if not self.remembers:
            return
        self.changes.append(change)
        self.states.append(self.source.state)

    def forget(self) -> None:
        """What was told so far."""
        self.changes.clear()
        self.states.clear()

    async def until(self, condition: Callable[[], object], *, deadline_s: float = DEADLINE_S) -> None:
        """Waits until *condition* holds."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + deadline_s
        while not condition():
            assert loop.time() < deadline, f"never came true; {str(self.changes[-5:])[:500]}"
            await asyncio.sleep(0.002)

    def addresses(self) -> list[tuple[str, str, int]]:
        """The same as `shown_addresses`, from the facts."""
        return sorted(
            (held.device, str(held.ip), held.prefix) for each in self.network.addresses.values() for held in each
        )


@asynccontextmanager
async def watching(*, while_reading: Callable[[], object] | None = None, **options: float) -> AsyncIterator[Watched]:
    """A source that runs and has read everything once; *while_reading* is called between the steps of that reading."""
    watched = Watched()
    watched.source = NetworkSource(on_change=watched.note, **options)  # type: ignore[arg-type]  # ints and floats
    running = asyncio.create_task(watched.source.run())
    try:
        while while_reading and not isinstance(watched.source.state, Known):
            while_reading()
            await asyncio.sleep(0)
        await watched.until(lambda: isinstance(watched.source.state, Known) or running.done())
        yield watched
        assert not running.done(), running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
