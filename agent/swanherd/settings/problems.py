"""What is wrong with the settings, said so that a person can put it right: which file, which key, which rule."""

from collections.abc import Iterable
from dataclasses import dataclass

TEXT_MAX = 400
"""Characters of a key or a rule, which may quote what somebody wrote: one line stays one that can be read."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One rule that one key breaks. Never contains a secret."""

    file: str
    key: str
    """Dotted path of the key; ``line L, column C`` where the file could not be parsed; empty: the file itself."""
    rule: str

    def __post_init__(self) -> None:
        """What somebody wrote, and is quoted here, cannot break the line or reach the terminal as a control."""
        object.__setattr__(self, "key", _plain(self.key))
        object.__setattr__(self, "rule", _plain(self.rule))

    def __str__(self) -> str:
        return ": ".join(part for part in (self.file, self.key, self.rule) if part)


def _plain(text: str) -> str:
    line = "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
    return line if len(line) <= TEXT_MAX else line[: TEXT_MAX - 3] + "..."


class SettingsError(Exception):
    """The settings cannot be used; carries every problem at once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(dict.fromkeys(problems))
        super().__init__("\n".join(map(str, self.problems)))
