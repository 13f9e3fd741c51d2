"""keepalived as a source of facts: its word, its processes, and its hints that something happened."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from swanherd.core.evidence import VrrpState
from swanherd.core.facts import Absent, Known, Unknown
from swanherd.core.intent import EvidenceSource, VrrpDeclaration
from swanherd.world.keepalived.counters import Counters
from swanherd.world.keepalived.fifo import Fifo
from swanherd.world.keepalived.hints import HintSocket
from swanherd.world.keepalived.instances import READ_MAX_S, READ_MIN_S, InstanceReader, Wanted
from swanherd.world.keepalived.process import ProcessWatch

READS_PER_INTERVAL: Final = 2
"""A word of keepalived's vouches for 1.5 advert intervals, so one read may be late without a gap."""


class Keepalived:
    """The evidence that the settings declare, as far as it comes from keepalived itself.

    Made inside a running loop. *on_change* is called on the loop with the names of the interfaces of which something
    new is known; it must be quick. *bus_address*: None for the system bus. *hint_socket* is where ``swanherd notify``
    sends its hints; None: nowhere.
    """

    def __init__(
        self,
        *,
        on_change: Callable[[frozenset[str]], None],
        bus_address: str | None = None,
        hint_socket: Path | None = None,
    ) -> None:
        self.counters = Counters()
        self._on_change = on_change
        self._by_process: frozenset[str] = frozenset()
        self._instances = InstanceReader(address=bus_address, on_change=on_change, counters=self.counters)
        self._process = ProcessWatch(on_change=self._process_changed, counters=self.counters)
        self._fifo = Fifo(on_line=self.look, counters=self.counters)
        self._hints = HintSocket(hint_socket, on_hint=self._hinted, counters=self.counters)
        self._declared: frozenset[str] = frozenset()

    def watch(
        self,
        declared: Mapping[str, VrrpDeclaration],
        devices: Mapping[str, str],
        *,
        fifo: Path | None,
        pid_file: Path,
    ) -> None:
        """Watch what is *declared*, by interface, and nothing else; *devices* are where each instance speaks.

        The states of what is declared as before stay.
        """
        by = {
            source: frozenset(name for name, each in declared.items() if source in each.evidence)
            for source in EvidenceSource
        }
        wanted = {name: _wanted(declared[name], devices.get(name, "")) for name in by[EvidenceSource.DBUS]}
        self._declared = frozenset(declared)
        self._by_process = by[EvidenceSource.PROCESS]
        self._instances.watch(wanted)
        self._process.watch(pid_file if self._by_process else None)
        self._fifo.watch(fifo if by[EvidenceSource.FIFO] else None)

    def state(self, name: str) -> Known[VrrpState] | Unknown[VrrpState] | Absent:
        """What keepalived says of the instance of interface *name*. ``since`` of a Known is when it was read.

        Unknown: ``not-read``; ``no-bus``; ``gone`` (the bus has no keepalived); ``not-on-new-bus`` (nor has one that
        was started after it); ``silent`` (it does not answer, since the question); ``no-instance`` (it has none like
        that); ``refused`` (we may not ask).
        """
        return self._instances.state(name)

    def process(self, name: str) -> Known[bool] | Unknown[bool] | Absent:
        """Whether keepalived's parent and VRRP processes are alive, and since when that is so."""
        return self._process.state if name in self._by_process else Absent()

    @property
    def failures(self) -> tuple[str, ...]:
        """Why hints cannot be had from the FIFO that the settings name, or from the socket; empty: they can."""
        return tuple(filter(None, (self._fifo.failure, self._hints.failure)))

    def look(self) -> None:
        """Read everything again now; `on_change` tells when it was, even if it says the same as before."""
        self._instances.look()
        self._process.look()

    async def run(self) -> None:
        """Follow keepalived until cancelled. No error leaves it but a bug."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._instances.run(), name="keepalived-dbus")
            tasks.create_task(self._process.run(), name="keepalived-process")
            tasks.create_task(self._fifo.run(), name="keepalived-fifo")
            tasks.create_task(self._hints.run(), name="keepalived-hints")

    def _hinted(self) -> None:
        """What has no source here may have news as well: whoever decides looks at all of them."""
        self.look()
        self._on_change(self._declared)

    def _process_changed(self) -> None:
        self._on_change(self._by_process)
        # Its own word is worth a new look: it may have left the bus, or come back to it.
        self._instances.look()


def _wanted(declared: VrrpDeclaration, device: str) -> Wanted:
    half_s = declared.advert_interval_s / READS_PER_INTERVAL
    return Wanted(
        instance=declared.instance,
        device=device,
        vrid=declared.vrid,
        family=declared.family,
        read_every_s=min(max(half_s, READ_MIN_S), READ_MAX_S),
    )
