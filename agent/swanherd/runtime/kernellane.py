"""The lane of the kernel's own IPsec: takes away what a dead charon left between addresses that are not ours any more.

Synchronous, in the turn in which it was decided: a connection that gets its right back a moment later must not lose the
SAs that it has just made.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, Protocol

from swanherd.core.facts import CharonIdentity, Known, Pair, Unknown
from swanherd.core.orphans import meet
from swanherd.report import logs

AGAIN_S: Final = 0.5
"""Pause after a failure, and between two sweeps: a listing of a thousand SAs takes some 10 ms of the loop."""


class Kernel(Protocol):
    """The kernel's IPsec."""

    def sweep(self, pairs: Collection[Pair], if_ids: Collection[int], /) -> int:
        """Delete what is between *pairs* and belongs to one of *if_ids*; how many things went. OSError: not all did."""
        ...


class KernelLane:
    """Remembers where a charon that is gone may have left something, until a sweep has found or made it clean."""

    def __init__(self, kernel: Kernel, *, changed: Callable[[], None], clock: Callable[[], float]) -> None:
        self._kernel = kernel
        self._changed = changed
        self._clock = clock
        self._charon: CharonIdentity | None = None
        self._clean: set[Pair] = set()
        self._kept: Mapping[str, frozenset[Pair]] = {}
        self._keepers: Counter[Pair] = Counter()
        """How many connections keep each pair; those to a network are ``_wide``."""
        self._wide: frozenset[Pair] = frozenset()
        self._again_at = -AGAIN_S
        self.due_at: float | None = None
        """When a sweep that was put off is due."""
        self.trouble = ""

    def met(self, charon: Known[CharonIdentity] | Unknown[CharonIdentity]) -> None:
        """*charon* is what is known of it: one that ended leaves doubts about all addresses."""
        if isinstance(charon, Unknown):
            if charon.why != "gone" or self._charon is None:
                return
            self._charon = None
        elif charon.value == self._charon:
            return
        else:
            first, self._charon = self._charon is None, charon.value
            if first:
                return  # what the one before left was doubted when it went, or when we started
        self._clean.clear()

    def has_doubts(self, pairs: frozenset[Pair]) -> bool:
        """Whether a sweep between *pairs* could find anything."""
        return not self._clean.issuperset(pairs)

    def doubted(self, name: str, pairs: Iterable[Pair]) -> bool:
        """Whether something of *name* may be left between *pairs*. What other connections still run there is theirs.

        Not what *name* itself kept: it asks this when it has just lost that, and a sweep may have been put off.
        """
        own = self._kept.get(name, frozenset())
        return any(pair not in self._clean and not self._runs(pair, own) for pair in pairs)

    def _runs(self, pair: Pair, own: frozenset[Pair]) -> bool:
        """Whether others than who keeps *own* keep something that meets *pair*; asked for each decision, so counted."""
        if self._keepers[pair] > (pair in own):
            return True
        # Two single hosts meet only where they are the same.
        others = self._keepers if pair.remote.num_addresses > 1 else self._wide
        return any(self._keepers[other] > (other in own) and meet(pair, other) for other in others)

    def follow(self, *, lost: frozenset[Pair], kept: Mapping[str, frozenset[Pair]], if_ids: frozenset[int]) -> None:
        """Sweep between those of the addresses *lost* that are doubted, and that nobody *kept* (by connection).

        *if_ids*: of the XFRM interfaces that are ours, and 0 for what belongs to none.
        """
        self._kept = kept
        self._keepers = Counter(pair for each in kept.values() for pair in each)
        self._wide = frozenset(pair for pair in self._keepers if pair.remote.num_addresses > 1)
        wanted = frozenset(pair for pair in lost - self._clean if not self._runs(pair, frozenset()))
        self.due_at = None
        if not wanted:
            return
        now = self._clock()
        if now < self._again_at:
            self.due_at = self._again_at
            return
        self._again_at = now + AGAIN_S
        try:
            gone = self._kernel.sweep(wanted, if_ids)
        except OSError as error:
            if str(error) != self.trouble:
                logs.get("kernel").error("what a dead charon left in the kernel cannot be removed", error=str(error))
            self.trouble, self.due_at = str(error), self._again_at
            return
        self.trouble = ""
        self._clean |= wanted
        if gone:
            logs.get("kernel").warning("removed what a dead charon left in the kernel", states_and_policies=gone)
        self._changed()
