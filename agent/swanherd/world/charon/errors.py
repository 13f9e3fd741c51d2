"""What can go wrong with charon, named by whose doing it is. No text here ever holds a secret."""


class CharonError(Exception):
    """A call to charon did not do what was asked."""


class CharonGone(CharonError):  # noqa: N818 - a state of the world, not a fault of the caller
    """Nobody listens on the vici socket, or the connection ended. A command that was under way ended with charon."""


class CharonSilent(CharonError):  # noqa: N818 - the same
    """The deadline passed. If the command was sent, its outcome is unknown: charon may still run it."""


class CharonRefused(CharonError):  # noqa: N818 - the same
    """Charon answered no; the text is its own."""
