"""Whatever happens, in whatever order, and wherever a plan is interrupted: safe at every step, and it ends up right."""

import os
from typing import Final

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.unit.core.faults import AGENT_EVENTS, PROGRESS, WORLD_EVENTS, Story

EXAMPLES: Final = int(os.environ.get("SWANHERD_EXAMPLES", "250"))
"""Histories tried in each test: the same ones in each run, unless another number is asked for."""

BEGINNINGS: Final = {
    "standby": (),
    "master": ("address-comes wan", "address-comes lte", "work", "work", "work"),
    "half": ("address-comes wan", "address-comes lte", "look", "pass", "write", "pass", "step alpha", "step alpha"),
}
"""What has happened before the story begins."""

beginnings = st.sampled_from(sorted(BEGINNINGS))
events = st.lists(
    st.one_of(*(st.sampled_from(kind) for kind in (PROGRESS, PROGRESS, WORLD_EVENTS, AGENT_EVENTS))), max_size=30
)
quick = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize="SWANHERD_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)


def told(beginning: str, history: list[str]) -> Story:
    """The story so far; every step of it is checked."""
    story = Story()
    for event in (*BEGINNINGS[beginning], *history):
        story.happens(event)
    return story


@quick
@given(beginnings, events)
@example("standby", ["link-down lab"])
@example("standby", ["look", "pass", "step alpha"])
@example("master", ["settings child"])
@example("half", ["settings secret", "step alpha", "settings all"])
@example("master", ["settings start"])
@example("half", ["address-goes wan"])
@example("half", ["step beta", "settings one"])
@example(
    "half",
    ["address-goes wan", "charon-slow", "time 6", "step beta", "charon-fast", "work", "settings one", "work"],
)
@example("master", ["settings trap"])
@example("master", ["peer-closes", "load-all", "settings one", "agent-killed", "peer"])
@example("half", ["settings none", "work", "work", "foreign"])
@example("master", ["agent-killed", "settings untrapped"])
@example("half", ["charon-frozen", "settings moved", "step delta", "settings secret", "step delta"])
@example("master", ["load-all", "settings trap"])
@example("half", ["charon-killed", "charon-started", "look", "step beta", "settings one", "pass"])
@example("master", ["settings policy", "work", "path eth1", "work"])
@example("master", ["settings policy", "mute", "agent-killed", "work", "address-goes wan", "work"])
@example("master", ["settings policy", "work", "path nowhere", "work", "path eth1"])
def test_every_interrupted_prefix_converges(beginning: str, history: list[str]) -> None:
    """After any history, without further faults, exactly what is rightfully held runs, and the rest is fenced."""
    story = told(beginning, history)
    story.calm_down()
    story.rest()
    story.check()


@quick
@given(beginnings, events)
@example("half", [])
@example("half", ["agent-killed", "foreign"])
@example("half", ["step alpha", "step alpha", "step alpha", "settings remote", "write"])
def test_a_stopping_agent_gives_everything_up(beginning: str, history: list[str]) -> None:
    """After any history, an agent that stops with ``release`` leaves nothing that could run, and reads that back."""
    story = told(beginning, history)
    story.calm_down()
    story.agent.stopping = True
    story.rest()
    story.check()
