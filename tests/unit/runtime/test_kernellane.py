"""The lane of the kernel's own IPsec: where it has doubts, what it sweeps, and what it leaves to others."""

from collections.abc import Collection
from ipaddress import ip_address, ip_network

from swanherd.core.facts import CharonIdentity, Known, Pair, Unknown
from swanherd.runtime.kernellane import AGAIN_S, KernelLane

ONE = Pair(ip_address("203.0.113.10"), ip_network("203.0.113.20/32"))
OTHER = Pair(ip_address("203.0.113.10"), ip_network("203.0.113.21/32"))
ANYWHERE = Pair(ip_address("203.0.113.10"), ip_network("0.0.0.0/0"))
FIRST, SECOND = (Known(CharonIdentity(pid, 7), 0.0) for pid in (100, 200))
GONE: Unknown[CharonIdentity] = Unknown(1.0, "gone")
NOBODY = frozenset[Pair]()
OURS = frozenset({0, 7})


class ModelKernel:
    """Notes between what it was swept; refuses while told to."""

    def __init__(self) -> None:
        self.swept: list[frozenset[Pair]] = []
        self.refuses = False

    def sweep(self, pairs: Collection[Pair], if_ids: Collection[int]) -> int:
        """Sweep, or refuse."""
        if self.refuses:
            raise OSError("no")
        assert set(if_ids) == OURS
        self.swept.append(frozenset(pairs))
        return 0


class Site:
    """A lane with its kernel and a clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.told = 0
        self.kernel = ModelKernel()
        self.lane = KernelLane(self.kernel, changed=self._changed, clock=lambda: self.now)

    def _changed(self) -> None:
        self.told += 1

    def follow(self, *lost: Pair, kept: frozenset[Pair] = NOBODY) -> None:
        """One pass, long after the last one."""
        self.now += AGAIN_S
        self.lane.follow(lost=frozenset(lost), kept={"theirs": kept}, if_ids=OURS)


def test_what_is_lost_is_swept_once_and_told() -> None:
    """At the start everything is doubted; a sweep ends that. Broken by: not adding to ``_clean``."""
    site = Site()
    site.lane.met(FIRST)
    assert site.lane.doubted("ours", [ONE])
    site.follow(ONE)
    site.follow(ONE)
    assert site.kernel.swept == [{ONE}]
    assert not site.lane.doubted("ours", [ONE])
    assert site.told == 1


def test_a_charon_that_ended_leaves_doubts_a_new_one_alone_does_not() -> None:
    """Gone, then another: one doubt. Replaced unseen: a doubt too. Broken by: ``met`` without ``clear``."""
    site = Site()
    site.lane.met(FIRST)
    site.follow(ONE)
    site.lane.met(GONE)
    assert site.lane.doubted("ours", [ONE])
    site.follow(ONE)
    site.lane.met(SECOND)
    assert not site.lane.doubted("ours", [ONE])
    site.lane.met(FIRST)
    assert site.lane.doubted("ours", [ONE])


def test_a_frozen_charon_changes_nothing() -> None:
    """It still has what it had. Broken by: taking every Unknown for an end."""
    site = Site()
    site.lane.met(FIRST)
    site.follow(ONE)
    site.lane.met(Unknown(1.0, "frozen"))
    site.lane.met(FIRST)
    assert not site.lane.doubted("ours", [ONE])


def test_between_addresses_that_another_connection_runs_nothing_is_swept() -> None:
    """Its SAs could not be told apart; it is swept when that one has lost its right too. Broken by: ignoring *kept*."""
    site = Site()
    site.lane.met(FIRST)
    site.follow(ONE, OTHER, kept=frozenset({ONE}))
    assert site.kernel.swept == [{OTHER}]
    assert not site.lane.doubted("ours", [ONE, OTHER])
    site.follow(ONE, OTHER)
    assert site.kernel.swept == [{OTHER}, {ONE}]
    site.lane.met(GONE)
    site.follow(ONE, kept=frozenset({ANYWHERE}))
    assert site.kernel.swept == [{OTHER}, {ONE}]


def test_a_refusal_is_tried_again_after_a_pause() -> None:
    """Until then it stays in doubt. Broken by: adding to ``_clean`` before the sweep."""
    site = Site()
    site.lane.met(FIRST)
    site.kernel.refuses = True
    site.follow(ONE)
    assert site.lane.doubted("ours", [ONE])
    assert site.lane.due_at == site.now + AGAIN_S
    site.kernel.refuses = False
    site.lane.follow(lost=frozenset({ONE}), kept={}, if_ids=OURS)
    assert site.lane.doubted("ours", [ONE])
    site.follow(ONE)
    assert not site.lane.doubted("ours", [ONE])
    assert site.lane.due_at is None


def test_who_has_just_lost_its_pair_is_not_calmed_by_having_had_it() -> None:
    """A sweep that was put off leaves the doubt, though the lane still remembers the pair as one that was kept.

    Broken by: ``doubted`` taking what the connection itself kept for another's (it is called fenced before the sweep).
    """
    site = Site()
    site.lane.met(FIRST)
    site.lane.met(GONE)
    site.lane.follow(lost=frozenset({ONE}), kept={"late": frozenset({OTHER})}, if_ids=OURS)
    assert site.lane.doubted("late", [OTHER])
    assert not site.lane.doubted("ours", [OTHER])
