"""What ``swanherd check`` says about settings that can be used. The agent never asks, and does not load this."""

from swanherd.settings.charoncheck import compare_charon
from swanherd.settings.faults import unseen
from swanherd.settings.lint import check
from swanherd.settings.loading import Settings
from swanherd.settings.problems import Problem
from swanherd.settings.vrrpcheck import compare

__all__ = ["unseen", "warnings"]


def warnings(settings: Settings) -> tuple[Problem, ...]:
    """What is probably not meant, by itself or beside keepalived's and charon's own configuration; refuses nothing."""
    return (*check(settings), *compare(settings), *compare_charon(settings))
