"""What a person writes: TOML in, validated and frozen ``Settings`` out, every problem at once.

Files are read here (``load``) and nowhere else; nothing here waits for the world. What a person is told about settings
that can be used is beside it, in :mod:`swanherd.settings.advice`.
"""

from swanherd.settings.agent import Listen, Options
from swanherd.settings.changes import Change, diff, needs_restart
from swanherd.settings.lastgood import StaleConfig, load_last_good, load_or_last_good, save_last_good
from swanherd.settings.loading import Settings, credentials_of_service, load
from swanherd.settings.problems import Problem, SettingsError
from swanherd.settings.secrets import Secret

__all__ = [
    "Change",
    "Listen",
    "Options",
    "Problem",
    "Secret",
    "Settings",
    "SettingsError",
    "StaleConfig",
    "credentials_of_service",
    "diff",
    "load",
    "load_last_good",
    "load_or_last_good",
    "needs_restart",
    "save_last_good",
]
