"""What one connection is and should become: what is decided, for those who plan, carry out and tell it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, unique
from types import MappingProxyType

from swanherd.core.intent import Child, IPAddress
from swanherd.core.view import Memory
from swanherd.core.words import Fence, Notice, Reason, Role


@unique
class Goal(Enum):
    """What the plan must reach."""

    RUN = "run"
    """Loaded with the source; its children up, trapped or awaited."""
    RELEASE = "release"
    """Nothing of it left in charon that could run; the secret stays where the connection is still wanted."""
    HOLD = "hold"
    """Touch nothing: it is somebody else's, or too little is known."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What one connection is and should become."""

    name: str
    role: Role
    goal: Goal
    reason: Reason
    detail: str = ""
    source: IPAddress | None = None
    fence: Fence = Fence.NOT_NEEDED
    initiate: tuple[Child, ...] = ()
    """Children to initiate now."""
    terminate: tuple[int, ...] = ()
    """Unique ids of IKE_SAs that must go: displaced, deleting, from another source, of other settings."""
    forfeited: tuple[int, ...] = ()
    """Those of them that run from an address to which the right is lost."""
    terminate_children: tuple[int, ...] = ()
    """Unique ids of CHILD_SAs that must go, their IKE_SA staying."""
    probe: tuple[IPAddress, ...] = ()
    """Addresses to ask, from the source, whether they live; nothing depends on it but a return to them."""
    look_again_at: float | None = None
    notices: Mapping[Notice, str] = field(default_factory=lambda: MappingProxyType({}))
    """What people should know although it changes no role, in words for each."""
    memory: Memory = field(default_factory=Memory)


def looking(decision: Decision, at: float | None) -> Decision:
    """*decision*, to be taken again at *at* at the latest."""
    if at is None:
        return decision
    if decision.look_again_at is not None and decision.look_again_at <= at:
        return decision
    return replace(decision, look_again_at=at)
