"""Role, reason and goal of one connection: a pure function of the facts that it reads.

Loss of the right wins over everything at once; damping and backoff only ever delay an *acquire*.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from swanherd.core.acquire import acquire
from swanherd.core.attempts import Backoff
from swanherd.core.decision import Decision, Goal, looking
from swanherd.core.facts import NETWORK_HOLD_S, Unknown, relied_on
from swanherd.core.moves import settle, unmoved
from swanherd.core.source import Choice, choose
from swanherd.core.view import Memory, View
from swanherd.core.wire import fence_state, may_roam, silenced
from swanherd.core.words import Notice, Reason, Role

DEFAULT_BACKOFF: Final = Backoff()

_ABANDONED: Final = frozenset({Reason.ANOTHER_MASTER, Reason.KEEPALIVED_GONE, Reason.KEEPALIVED_SILENT})
"""Reasons that say that nobody here looks after the address any more."""


def decide(view: View, memory: Memory, now: float, backoff: Backoff = DEFAULT_BACKOFF) -> Decision:
    """Decide *view*'s connection at *now* (monotonic seconds)."""
    decision = _decide(view, memory, now, backoff)
    if isinstance(view.network, Unknown) and decision.role is Role.ACTIVE:
        # The right ends then, whatever happens or does not happen meanwhile.
        decision = looking(decision, view.network.since + NETWORK_HOLD_S)
    kept, role_changed = decision.memory, decision.role is not memory.role
    # A copy costs as much as all the rest of a decision about what has not changed.
    if role_changed or decision.reason is not memory.reason:
        since = now if decision.reason is not memory.reason else kept.reason_since
        role_since = now if role_changed else kept.role_since
        kept = replace(kept, reason=decision.reason, reason_since=since, role=decision.role, role_since=role_since)
    insisted = _insisted_on(view)
    if kept is decision.memory and not insisted:
        return decision
    return replace(decision, memory=kept, notices={**decision.notices, **insisted})


def _insisted_on(view: View) -> Mapping[Notice, str]:
    """What the settings ask for although it is a risk."""
    if view.connection is None or not may_roam(view.connection, view.interfaces):
        return {}
    return {
        Notice.MOBIKE: "charon may try to take the tunnel to another address of this gateway when the VIP leaves; "
        "so no IPsec leaves this gateway but that of swanherd's own connections"
    }


def _decide(view: View, memory: Memory, now: float, backoff: Backoff) -> Decision:
    connection = view.connection
    if connection is None:
        return _retired(view, memory)
    if view.foreign:
        # Also when the right is lost, or the agent stops: what runs there is not ours to end, and the guard holds the
        # VIP anyway.
        return _hold(view, memory, Reason.NAME_TAKEN, f"somebody else loaded a connection named {view.name}")
    if view.stopping:
        return _standby(view, memory, Choice(None, Reason.STOPPING, "the agent stops, and releases what it runs"))
    network = relied_on(view.network, now)
    if network is None:
        return _blind(view, memory)
    choice = choose(connection, view.interfaces, network, view.situation, view.path)
    choice = unmoved(view, connection, choice, memory, network)
    if choice.source is None:
        return looking(_standby(view, memory, choice), choice.look_again_at)
    choice, memory = settle(view, connection, choice, memory, network, now)
    active = acquire(view, connection, choice, network, memory, now, backoff)
    if choice.two_masters:
        active = replace(active, notices={Notice.TWO_MASTERS: choice.detail})
    return looking(looking(active, choice.look_again_at), view.displaced_look_at)


def _blind(view: View, memory: Memory) -> Decision:
    """No addresses can be relied on: at start nothing is touched; later the right is gone."""
    if isinstance(view.network, Unknown) and view.network.why == "not-read":
        return _hold(view, memory, Reason.STARTING, "addresses have not been read yet")
    return _standby(view, memory, Choice(None, Reason.NETWORK_UNKNOWN, "the kernel's addresses cannot be read"))


def _hold(view: View, memory: Memory, reason: Reason, detail: str) -> Decision:
    return Decision(view.name, Role.STANDBY, Goal.HOLD, reason, detail, memory=memory)


def _retired(view: View, memory: Memory) -> Decision:
    if view.foreign:
        return _hold(view, memory, Reason.NAME_TAKEN, "left the settings; what is loaded now is somebody else's")
    return _standby(view, memory, Choice(None, Reason.REMOVED, "no longer in the settings"))


def _standby(view: View, memory: Memory, choice: Choice) -> Decision:
    return Decision(
        view.name,
        Role.STANDBY,
        # What a charon has that was not read yet is known in milliseconds; until then nothing is pruned.
        Goal.HOLD if _not_read(view) else Goal.RELEASE,
        choice.reason,
        choice.detail,
        fence=fence_state(view),
        notices=_left_behind(view) if choice.reason in _ABANDONED else {},
        # A new takeover starts without the old one's backoff.
        memory=Memory(
            role=memory.role, role_since=memory.role_since, reason=memory.reason, reason_since=memory.reason_since
        ),
    )


def _left_behind(view: View) -> Mapping[Notice, str]:
    """Says how to remove VIPs that are here and fenced; nobody but a person does it."""
    told = [
        f"{held.ip} was left behind on {held.device} and no longer answers there; "
        f"remove it: ip address del {held.ip}/{held.prefix} dev {held.device}"
        for held in silenced(view)
    ]
    return {Notice.STALE_VIP: "\n".join(told)} if told else {}


def _not_read(view: View) -> bool:
    return isinstance(view.charon, Unknown) and view.charon.why == "not-read"
