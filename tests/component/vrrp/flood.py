"""``python -m tests.component.vrrp.flood SECONDS FRAME...``: frames (hexadecimal) by turns, as fast as may be.

Prints how many it sent. A process of its own, so that the listener under test has its interpreter to itself.
"""

import itertools
import socket
import sys
import time
from contextlib import suppress

BATCH = 64


def main() -> None:
    """Send on ``wan``."""
    until = time.monotonic() + float(sys.argv[1])
    frames = itertools.cycle([bytes.fromhex(text) for text in sys.argv[2:]])
    sent = 0
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.bind(("wan", 0))
        while time.monotonic() < until:
            for frame in itertools.islice(frames, BATCH):
                with suppress(OSError):  # the port's own queue is full
                    sent += sock.send(frame) > 0
    print(sent)


if __name__ == "__main__":
    main()
