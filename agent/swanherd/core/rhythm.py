"""When what is done again and again is done next: what an idle gateway costs is mostly its waking up."""

from typing import Final

SHARE: Final = 5000
"""Of the time, one part in so many goes into a check that costs more the more there is."""
OFTEN_S: Final = 60.0
SELDOM_S: Final = 600.0


def rest_s(took_s: float) -> float:
    """How long to wait after a check that took *took_s* (both in seconds): between one and ten minutes."""
    return min(max(took_s * SHARE, OFTEN_S), SELDOM_S)


def until_tick_s(now: float, every_s: float) -> float:
    """How long from *now* to the next multiple of *every_s*: those who do something as often wake up together.

    A tick that is nearly here is left out: a timer may fire a hair early, and would fire twice.
    """
    delay_s = every_s - now % every_s
    return delay_s if delay_s > every_s / 10 else delay_s + every_s
