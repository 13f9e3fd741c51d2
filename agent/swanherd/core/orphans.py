"""Which addresses may no longer be used by IPsec of ours, so that what a dead charon left in the kernel there must go.

A charon that ends in order removes its kernel's SAs and policies. One that is killed leaves them, they go on sending,
and its successor does not list them. While this gateway has the right they are the tunnel (a crash takes none down);
once the right is lost they are a ghost.
"""

from swanherd.core.decision import Decision, Goal
from swanherd.core.facts import Pair, Unknown
from swanherd.core.view import View


def released(view: View, decision: Decision) -> bool:
    """Whether no charon has anything of this connection any more, nor may have."""
    if decision.goal is not Goal.RELEASE:
        return False
    if isinstance(view.charon, Unknown):
        return view.charon.why == "gone"
    return view.here.empty and not view.lane.touched


def kept_and_lost(view: View, decision: Decision) -> tuple[frozenset[Pair], frozenset[Pair]]:
    """Between which addresses this connection may still run here, and between which it must not."""
    # The record covers whatever may ever have been loaded.
    every = view.entry.pairs if view.entry is not None else frozenset[Pair]()
    if released(view, decision):
        return frozenset(), every
    if decision.goal is not Goal.RUN:
        return every, frozenset()
    sources = {decision.source, *(sa.local for sa in view.here.sas)}
    kept = frozenset(pair for pair in every if pair.source in sources)
    return kept, every - kept


def meet(one: Pair, other: Pair) -> bool:
    """Whether something can run between both."""
    same_family = one.remote.version == other.remote.version
    return one.source == other.source and same_family and one.remote.overlaps(other.remote)
