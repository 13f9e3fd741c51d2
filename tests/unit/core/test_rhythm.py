"""What is done again and again: seldom enough, and together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swanherd.core.rhythm import OFTEN_S, SELDOM_S, SHARE, rest_s, until_tick_s


@pytest.mark.parametrize(("took_s", "rest"), [(0.0, OFTEN_S), (0.02, 100.0), (0.1, 500.0), (3.0, SELDOM_S)])
def test_a_check_takes_its_share_at_most(took_s: float, rest: float) -> None:
    """Between a minute and ten, in proportion to what it costs."""
    assert rest_s(took_s) == rest
    assert took_s >= 1.0 or took_s / rest_s(took_s) <= 1 / SHARE


@given(now=st.floats(0, 1e7), every_s=st.sampled_from([0.1, 0.25, 0.5]))
def test_those_who_do_something_as_often_wake_together(now: float, every_s: float) -> None:
    """Whenever they look, the next tick is the same moment, and well ahead."""
    delay_s = until_tick_s(now, every_s)
    assert every_s / 10 < delay_s <= every_s * 1.1
    ticks = (now + delay_s) / every_s
    assert ticks == pytest.approx(round(ticks), abs=1e-4)
