"""``swanherd notify``: what keepalived's notify scripts call. Only a hint, and keepalived waits for nothing here."""

import socket
from argparse import Namespace

from swanherd.cli.exits import Exit

LONGEST_BYTES = 512
"""keepalived's arguments are a fraction of it; whatever is longer is cut, as nobody reads it for what it says."""


def run(arguments: Namespace) -> int:
    """Tell the agent, if there is one, that there is something to look at. Whether it heard is nobody's business."""
    text = " ".join(arguments.said).encode(errors="replace")[:LONGEST_BYTES]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hint:
        try:
            hint.sendto(text, socket.MSG_DONTWAIT, arguments.socket)
        except OSError:
            # No agent, or one that is frozen with a full queue. A script that fails makes keepalived complain, and
            # the agent needs no hint: it looks by itself, and at everything when it starts.
            return Exit.WELL
    return Exit.WELL
