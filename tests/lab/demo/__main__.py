"""``python -m tests.lab.demo``: see ``make demo``."""

import argparse
import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from tests.lab.agent_conf import agent_conf
from tests.lab.demo.faults import FAULTS, Fault
from tests.lab.demo.run import Result, run
from tests.lab.demo.tables import fault_table, summary
from tests.lab.pair import Pair, agent_pair, notify_pair

LOST_INVARIANT = 1
INTERRUPTED = 130
PAGE_COLUMNS = 110
"""Where the demo's output goes to a file, there is no width to fit into."""


def main(arguments: list[str]) -> int:
    """Run the demo; the exit status tells whether every promise was kept."""
    options = _parser().parse_args(arguments)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, PAGE_COLUMNS)
    chosen = [fault for fault in FAULTS if options.fault in (None, fault.name)]
    try:
        results = _walk(chosen, console)
    except KeyboardInterrupt:
        console.print("\ninterrupted; nothing is left behind")
        return INTERRUPTED
    if options.json:
        options.json.write_text(json.dumps([_as_json(result) for result in results], indent=1) + "\n")
    console.print(summary(results))
    broken = [f"{result.fault.name}: {problem}" for result in results for problem in result.broken]
    for line in broken:
        console.print(f"[bold red]broken:[/] {line}")
    return LOST_INVARIANT if broken else 0


def _walk(faults: list[Fault], console: Console) -> list[Result]:
    started = time.monotonic()
    results: list[Result] = []
    with ExitStack() as stack:
        pairs: dict[str, Pair] = {}
        with console.status("building a pair that runs by swanherd"):
            conf = agent_conf()
            pairs["swanherd"] = stack.enter_context(agent_pair(conf.text, files=conf.files))
        with console.status("building a pair that runs by the notify script"):
            pairs["notify"] = stack.enter_context(notify_pair())
        esp = "the kernel's ESP" if pairs["swanherd"].lab.has_xfrm else "userland ESP: this kernel has none"
        console.print(
            f"two pairs are up after {time.monotonic() - started:.0f} s ({esp}): two gateways each, a peer, a client "
            "behind the pair and a host behind the peer;\nadverts every 0.2 s, 100 numbered packets a second from "
            "client to host. Times are since the fault; + is since the VIP's arrival.\n"
        )
        for number, fault in enumerate(faults, 1):
            mine = []
            for by, pair in pairs.items():
                if by == "swanherd" or fault.by_script:
                    with console.status(f"{number} of {len(faults)}: {fault.title}, moved by {by}"):
                        mine.append(run(fault, pair, by))
            console.print(fault_table(mine))
            console.print()
            results += mine
        with console.status("taking both pairs down"):
            stack.close()
    console.print(f"{time.monotonic() - started:.0f} s in all")
    return results


def _as_json(result: Result) -> dict[str, object]:
    return {
        "fault": result.fault.name,
        "by": result.by,
        "back": result.back,
        "broken": list(result.broken),
        "seen": result.seen.as_json(),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    names = [fault.name for fault in FAULTS]
    parser.add_argument("--fault", choices=names, help="only this fault; all of them if it is not given")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write what was seen, for programs")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
