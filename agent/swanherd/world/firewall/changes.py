"""What the kernel says about changes: which generations of the ruleset touched our tables."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from swanherd.world.firewall.codec import Message, replies
from swanherd.world.firewall.layout import COMMENTS, TABLE

_NAME: Final = TABLE.encode()


@dataclass(frozen=True, slots=True)
class Generation:
    """A committed transaction of anybody's."""

    number: int
    touched: bool
    """It changed something in a table of ours."""


class Changes:
    """Collects notifications into generations; the kernel closes each transaction with its number."""

    def __init__(self) -> None:
        self._touched = False

    def feed(self, datagram: bytes) -> Iterator[Generation]:
        """The transactions that end in *datagram*, in the order of their commits."""
        for reply in replies(datagram):
            if reply.message < 0:
                continue
            kind, value = next(reply.attributes(), (0, b""))
            if reply.message == Message.NEWGEN:
                yield Generation(int.from_bytes(value), self._touched)
                self._touched = False
            elif reply.family in COMMENTS and kind == 1 and value.rstrip(b"\0") == _NAME:
                self._touched = True
