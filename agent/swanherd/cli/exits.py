"""Exit codes: the same number means the same in every command."""

from enum import IntEnum, unique


@unique
class Exit(IntEnum):
    """What a command's exit code says. Stable: scripts and monitoring depend on it."""

    WELL = 0
    DEGRADED = 1
    USAGE = 2
    """Wrong arguments (argparse's own code too), or settings that cannot be used."""
    NOT_RUNNING = 3
    NOT_PERMITTED = 4
    NO_ANSWER = 5
    """Something that runs does not answer in time."""
