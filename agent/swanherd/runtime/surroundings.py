"""What all lanes share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from swanherd.runtime.sources import CharonCalls
from swanherd.runtime.throng import Throng
from swanherd.runtime.window import Window

PARTS: Final = 1_000_000
"""No limit: the other window has one."""


@dataclass(slots=True)
class Surroundings:
    """What all lanes share."""

    charon: CharonCalls
    window: Window
    """Of handshakes in flight."""
    secret_of: Callable[[str], bytes | None]
    """The secret of a connection, by name; None if the settings no longer have it."""
    changed: Callable[[str], None]
    """Called with the lane's name when its facts changed."""
    bug: Callable[[str, BaseException], None]
    """Tells of a fault of swanherd's own: where, and what."""
    clock: Callable[[], float]
    parts: Window = field(default_factory=lambda: Window(per_endpoint=1, overall=PARTS))
    """Of handshakes of split connections, by connection: only the first part may carry INITIAL_CONTACT, and one that is
    begun before another is up carries it too, which would end that one at the peer."""
    ahead: Window = field(default_factory=Window)
    """Of connections that are loaded, or being loaded, for a handshake that has no slot yet."""
    throng: Throng = field(init=False)
    """Of all lanes at work."""

    def __post_init__(self) -> None:
        """Nobody works yet."""
        self.throng = Throng(self.charon)
