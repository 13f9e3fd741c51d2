"""The firewall table's own lane: brings the table to its latest target, and fences at once where it must."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from swanherd.core.facts import Known, Pair, Unknown, Wire
from swanherd.core.intent import IPAddress
from swanherd.report import logs
from swanherd.runtime.sources import FirewallCalls
from swanherd.world.firewall import FirewallError

AGAIN_S: Final = 0.5
"""Pause after a change that the kernel refused; the table must be back within a second of a flush."""

COUNT_AGAIN_S: Final = 2.0
"""How old the counters of dropped packets may be: passes can come by the hundred in a second."""


class WireLane:
    """Follows the latest target; what must be cut is cut when ``follow`` returns."""

    def __init__(self, firewall: FirewallCalls, fenced: Callable[[float], None], clock: Callable[[], float]) -> None:
        self._firewall = firewall
        self._fenced = fenced
        self._clock = clock
        self._target: Wire | None = None
        self._due = asyncio.Event()
        self._built = False
        self._equal: tuple[Wire | None, Wire] | None = None
        self._dropped: Mapping[str, int] = {}
        self._counted_at: float | None = None
        self.trouble = ""

    def actual(self) -> Wire | None:
        """What the table holds; None where that is not known, or there is none."""
        state = self._firewall.state
        return state.value if isinstance(state, Known) else None

    def dropped(self) -> Mapping[str, int]:
        """Packets that our rules dropped, by counter, at most ``COUNT_AGAIN_S`` old; empty where that is not known."""
        now = self._clock()
        if self._counted_at is None or now - self._counted_at >= COUNT_AGAIN_S:
            self._counted_at = now
            try:
                self._dropped = self._firewall.stopped()
            except FirewallError:  # why is in the state of the table already
                self._dropped = {}
        return self._dropped

    def follow(self, target: Wire) -> None:
        """Adopt *target*. New fences go in at once, in a transaction of their own; the rest in the next turn."""
        actual = self.actual()
        if actual is not None:
            self._built = True  # by an earlier run of the agent, perhaps: it is missed all the same when it goes
            addresses = target.fenced - actual.fenced
            pairs = target.fenced_pairs - actual.fenced_pairs
            if addresses or pairs:
                self._fence(addresses, pairs)
        self._target = target
        if not self._is(target):
            self._due.set()

    def _is(self, target: Wire) -> bool:
        """Whether the table holds *target*; asked in each pass, so what was found equal is not compared again."""
        actual = self.actual()
        if actual is not None and self._equal is not None and self._equal[0] is actual and self._equal[1] is target:
            return True
        if actual != target:
            return False
        self._equal = actual, target
        return True

    def _fence(self, addresses: frozenset[IPAddress], pairs: frozenset[Pair]) -> None:
        started = self._clock()
        try:
            self._firewall.fence(addresses=addresses, pairs=pairs)
        except FirewallError as error:
            # The table is gone or was changed: the transaction below builds it whole, with the fence in it.
            logs.get("firewall").warning("fence not set by netlink; building the table", error=str(error))
        else:
            self._fenced(self._clock() - started)

    async def run(self) -> None:
        """Apply the target whenever it differs from what is there."""
        while True:
            await self._due.wait()
            self._due.clear()
            target = self._target
            if target is None or self._is(target) or isinstance(self._firewall.state, Unknown):
                # Unknown: what an agent before us has fenced is not read yet, and would be lifted.
                continue
            if self._built and isinstance(self._firewall.state, Known) and self.actual() is None:
                logs.get("firewall").warning("unguarded: our table was taken away or altered; putting it back")
            try:
                await self._firewall.apply(target)
                self.trouble = ""
                self._built = True
            except FirewallError as error:
                if str(error) != self.trouble:
                    logs.get("firewall").error("unguarded: the table cannot be set", error=str(error))
                self.trouble = str(error)
                await asyncio.sleep(AGAIN_S)
                self._due.set()
