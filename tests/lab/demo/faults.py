"""The faults that the demo walks through: how each is made, how it is undone, and what must hold for swanherd."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.lab.observe import Observer, Timeline
from tests.lab.pair import Pair

WATCH_S: Final = 4.0
"""How long the demo waits for traffic to come back; what is not back by then is shown as an outage without end."""

FLIP_MARGIN_MS: Final = 50.0
"""Double running that a priority flip may show beyond the time for which both kernels hold the address."""

FREEZE_S: Final = 3.0
"""How long the gateway stands still in ``gateway-freeze``: many times what a backup waits for its master."""

CHARON_BACK_S: Final = 0.5
"""How long charon stays dead in ``charon-kill``: what a service manager needs to start it again."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault on the master, ``gw-a``."""

    name: str
    title: str
    make: Callable[[Pair, Observer], None]
    """Makes it, and returns when the pair should be on its way to work again."""
    mend: Callable[[Pair], None]
    """Undoes it; the demo then waits until ``gw-a`` is master again and traffic passes."""
    broken: Callable[[Timeline], list[str]]
    """Which of swanherd's promises the timeline breaks."""
    moves: bool = True
    """Whether the VIP, and the tunnel with it, moves to ``gw-b`` for good."""
    by_script: bool = True
    """Whether the notify script has a counterpart to compare with."""


def _single(seen: Timeline) -> list[str]:
    problems = []
    if seen.double_running_ms > 0:
        problems.append(f"both gateways ran the tunnel for {seen.double_running_ms:.0f} ms")
    return problems + _through(seen)


def _through(seen: Timeline) -> list[str]:
    return ["traffic did not come back"] if seen.first_through_ms is None else []


def _flip(seen: Timeline) -> list[str]:
    allowed = seen.both_hold_ms + FLIP_MARGIN_MS
    if seen.double_running_ms > allowed:
        return [f"both gateways ran the tunnel for {seen.double_running_ms:.0f} ms, {allowed:.0f} ms are allowed"]
    return _through(seen)


def _unharmed(seen: Timeline) -> list[str]:
    return [f"{seen.lost} packets of a working tunnel were lost"] if seen.lost else []


def _stop_keepalived(pair: Pair, _: Observer) -> None:
    pair.a.keepalived.ask_to_stop()


def _start_keepalived(pair: Pair) -> None:
    pair.a.keepalived.stop()
    pair.a.keepalived.start()


def _kill_agent(pair: Pair, seen: Observer) -> None:
    pair.a.agent.kill()
    killed = seen.mark("agent gone")
    seen.wait_through(after=killed)
    pair.a.agent.start()
    seen.wait_through(after=seen.mark("agent back"))


def _kill_agent_then_fail(pair: Pair, _: Observer) -> None:
    pair.a.agent.kill()
    pair.a.keepalived.ask_to_stop()


def _start_both(pair: Pair) -> None:
    pair.a.keepalived.stop()
    pair.a.agent.start()
    pair.a.keepalived.start()


def _kill_charon(pair: Pair, seen: Observer) -> None:
    pair.a.charon.kill()
    dead_since = seen.mark("charon dead")
    seen.wait_for(lambda: seen.mark("now") - dead_since >= CHARON_BACK_S, "charon's restart to be due")
    pair.a.charon.start()


def _freeze(pair: Pair, seen: Observer) -> None:
    pair.a.host.freeze()
    since = seen.mark("frozen")
    seen.wait_for(lambda: seen.mark("now") - since >= FREEZE_S, "the freeze to end")
    pair.a.host.thaw()


def _restart_charon_side(pair: Pair) -> None:
    """The script only acts on a change of state: make one."""
    pair.a.keepalived.stop()
    pair.a.keepalived.start()


def _nothing(_: Pair) -> None:
    pass


FAULTS: Final = (
    Fault("keepalived-stop", "keepalived stopped", _stop_keepalived, _start_keepalived, _single),
    Fault(
        "flip",
        "priority lowered",
        lambda pair, _: pair.a.keepalived.demote(),
        lambda pair: pair.a.keepalived.promote(),
        _flip,
    ),
    Fault(
        "wan-down",
        "WAN cable out",
        lambda pair, _: pair.a.cut("wan1"),
        lambda pair: pair.a.restore("wan1"),
        _single,
    ),
    Fault("power-off", "power off", lambda pair, _: pair.a.power_off(), lambda pair: pair.a.power_on(), _single),
    Fault(
        "agent-kill",
        "agent killed and started again",
        _kill_agent,
        _nothing,
        _unharmed,
        moves=False,
        by_script=False,
    ),
    Fault(
        "agent-kill-failover", "agent killed, then keepalived stopped", _kill_agent_then_fail, _start_both, _single,
        by_script=False,
    ),
    Fault("gateway-freeze", "the whole gateway stands still", _freeze, _restart_charon_side, _through, moves=False),
    Fault("charon-kill", "charon killed, back after 0.5 s", _kill_charon, _restart_charon_side, _through, moves=False),
)  # fmt: skip
