"""``python -m tests.lab up``: build a pair and leave it up until it is told to end; see ``make lab``."""

import argparse
import json
import signal
import sys
from contextlib import AbstractContextManager
from pathlib import Path

from tests.lab.agent_conf import agent_conf
from tests.lab.pair import Pair, agent_pair, notify_pair
from tests.lab.topology import HOSTS, SWITCH


def main(arguments: list[str]) -> int:
    """Build, say so, and wait for a signal."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="build a pair, and hold it until SIGTERM or Ctrl-C")
    up.add_argument("--by", choices=("swanherd", "notify"), default="swanherd", help="what moves the IPsec")
    up.add_argument("--connections", type=int, default=1, metavar="N", help="how many tunnels (%(default)s)")
    up.add_argument("--ready", type=Path, metavar="FILE", help="written when the pair is up; names the hosts")
    options = parser.parse_args(arguments)
    ends = {signal.SIGTERM, signal.SIGINT}
    with _pair(options.by, options.connections) as pair:
        # Only from here on: while the pair is being built, either signal ends everything at once.
        signal.pthread_sigmask(signal.SIG_BLOCK, ends)
        if options.ready:
            about = {"by": options.by, "hosts": [*HOSTS, SWITCH], "has_xfrm": pair.lab.has_xfrm}
            options.ready.write_text(json.dumps(about) + "\n")
        print(f"the pair is up, moved by {options.by}", flush=True)
        signal.sigwait(ends)
    return 0


def _pair(by: str, connections: int) -> AbstractContextManager[Pair]:
    if by == "notify":
        return notify_pair(connections=connections)
    conf = agent_conf(connections=connections)
    return agent_pair(conf.text, files=conf.files, connections=connections)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
