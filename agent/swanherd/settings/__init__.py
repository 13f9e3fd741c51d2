"""What a person writes: TOML in, validated and frozen ``Settings`` out, every problem at once.

Files are read here (``load``) and nowhere else; nothing here waits for the world.
"""

from swanherd.settings.agent import Listen, Options
from swanherd.settings.changes import Change, diff, needs_restart
from swanherd.settings.charoncheck import compare_charon
from swanherd.settings.faults import unseen
from swanherd.settings.lastgood import StaleConfig, load_last_good, load_or_last_good, save_last_good
from swanherd.settings.lint import check
from swanherd.settings.loading import Settings, credentials_of_service, load
from swanherd.settings.problems import Problem, SettingsError
from swanherd.settings.secrets import Secret
from swanherd.settings.vrrpcheck import compare

__all__ = [
    "Change",
    "Listen",
    "Options",
    "Problem",
    "Secret",
    "Settings",
    "SettingsError",
    "StaleConfig",
    "check",
    "compare",
    "compare_charon",
    "credentials_of_service",
    "diff",
    "load",
    "load_last_good",
    "load_or_last_good",
    "needs_restart",
    "save_last_good",
    "unseen",
]
