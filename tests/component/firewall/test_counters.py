"""The counters of dropped packets, as the agent tells them."""

from swanherd.runtime.wirelane import COUNT_AGAIN_S, WireLane

from .ruleset import WIRE, Running
from .stage import IPSEC, PEER, VIP, Stage


async def test_dropped_packets_are_told_and_not_counted_at_every_pass(stage: Stage, running: Running) -> None:
    """They are read again once they are two seconds old, however often somebody asks; a missing table has none."""
    now = 0.0
    lane = WireLane(running.firewall, fenced=lambda _: None, clock=lambda: now)
    await running.firewall.apply(WIRE)
    assert lane.dropped()["guard"] == 0
    assert not stage.emit(IPSEC[0], VIP[4], PEER[4])
    assert lane.dropped()["guard"] == 0
    now = COUNT_AGAIN_S
    assert lane.dropped()["guard"] == 1
    await running.firewall.teardown()
    assert lane.dropped()["guard"] == 1
    now = 2 * COUNT_AGAIN_S
    assert lane.dropped() == {}
