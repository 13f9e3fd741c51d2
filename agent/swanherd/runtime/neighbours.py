"""What the neighbours are told: which VIPs are here now; and what must no longer reach them from one that is not."""

from collections.abc import Callable, Collection
from typing import Final

from swanherd.core.decision import Decision
from swanherd.core.evidence import Situation
from swanherd.core.facts import Network
from swanherd.core.intent import Intent, IPAddress
from swanherd.core.source import devices_of, holding
from swanherd.report import logs

ANNOUNCE_AGAIN_S: Final = 2.0
"""How soon VIPs are announced again after somebody else had spoken for them. Two gateways that do not hear each other's
adverts still see each other's announcements, and would else take the neighbours from each other all the time."""


class Neighbours:
    """Called from within a pass, for each decision; nothing here waits."""

    def __init__(
        self, *, announce: Callable[[IPAddress, str], bool], drop_waiting: Callable[[Collection[str]], str]
    ) -> None:
        """*announce* says that an address is at a device; *drop_waiting* drops what waits for neighbours on devices."""
        self._announce = announce
        self._drop_waiting = drop_waiting
        self._announced: set[IPAddress] = set()
        self._dropped: set[IPAddress] = set()
        """VIPs that were lost in this pass, and whose waiting packets are gone."""
        self._again_at = -ANNOUNCE_AGAIN_S
        self._trouble = ""
        self.due_at: float | None = None
        """When all VIPs are to be announced again, if they are."""

    def begin(self) -> None:
        """Begin a pass."""
        self._dropped.clear()

    def follow(self, before: Decision | None, now: Decision, intent: Intent, network: Network | None) -> None:
        """Follow a decision, *now* behind *before*, before its plan is carried out, and once for all its connections.

        A VIP that has become ours is announced. Of one that was ours the wire is cut already; what had passed it and
        waits for a neighbour's MAC, behind every rule, is dropped here.
        """
        if before is None:
            return
        if before.source is not None and before.source != now.source:
            self._announced.discard(before.source)
            if before.source in intent.vips and before.source not in self._dropped:
                self._dropped.add(before.source)
                self._drop(devices_of(before.source, intent.interfaces, network))
        if now.source is not None and now.source not in self._announced:
            self._announced.add(now.source)
            if network is not None and now.source in intent.vips:
                for held in network.addresses.get(now.source, ()):
                    self._announce(now.source, held.device)

    def displaced(self, now: float) -> None:
        """Have all VIPs announced again, ``ANNOUNCE_AGAIN_S`` after the last time: another gateway spoke for one."""
        self.due_at = max(now, self._again_at + ANNOUNCE_AGAIN_S)

    def again(
        self, now: float, intent: Intent, network: Network | None, situation: Callable[[float], Situation]
    ) -> None:
        """Tell the neighbours of every VIP that is rightfully here, once another gateway has stopped speaking for them.

        The other one told them that it has the VIPs, and a gateway that steps down tells nobody. keepalived announces
        again only where it *hears* the other one give way.
        """
        if self.due_at is None or now < self.due_at or network is None:
            return
        self.due_at, self._again_at = None, now
        judged = situation(now)
        for interface in intent.interfaces.values():
            for family in {vip.version for vip in interface.vips}:
                rightful = holding(interface, family, network, intent.vips, judged).rightful
                if rightful is None:
                    continue
                for held in network.addresses.get(rightful, ()):
                    self._announce(rightful, held.device)

    def _drop(self, devices: frozenset[str]) -> None:
        trouble = self._drop_waiting(devices)
        if trouble and trouble != self._trouble:
            logs.get("neighbours").warning(trouble)
        self._trouble = trouble
