"""``python -m tests.bench``: see ``make bench``."""

import argparse
import fnmatch
import sys
import time
from pathlib import Path

from tests.bench.cases import CASES, SMOKE, Case
from tests.bench.measure import run
from tests.bench.page import write_page
from tests.bench.store import RESULTS, Store

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: list[str]) -> int:
    """Measure what has no result yet, then write the page."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "--case", metavar="NAME", help="one case alone, or a pattern (n100-*); measured anew with --again"
    )
    parser.add_argument("--by", metavar="NAME", help="one contestant alone")
    parser.add_argument("--all", action="store_true", help="the longer matrix too")
    parser.add_argument("--smoke", action="store_true", help="one short case, whose result is thrown away")
    parser.add_argument("--again", action="store_true", help="do not keep the results that are there")
    parser.add_argument("--list", action="store_true", help="what there is")
    parser.add_argument("--page", action="store_true", help="only write the page, from the results that are there")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where they are kept (%(default)s)")
    options = parser.parse_args(arguments)
    if options.list:
        for case in CASES:
            print(f"{case.name:36}{' (bench-all)' if case.long else ''}")
        return 0
    if options.smoke:
        return _smoke()
    if not options.page:
        chosen = [case for case in CASES if _wanted(case, options.case, whole=options.all)]
        _measure(chosen, Store(options.results), by=options.by, again=options.again)
    if options.results == RESULTS:
        write_page(options.results, ROOT)
    return 0


def _wanted(case: Case, pattern: str | None, *, whole: bool) -> bool:
    return fnmatch.fnmatch(case.name, pattern) if pattern else whole or not case.long


def _smoke() -> int:
    """The whole way once; no figure is judged, only that there is one."""
    for contestant in SMOKE.contestants:
        figures = run(SMOKE, contestant)
        missing = [
            name for name in ("vip_to_init_ms", "vip_to_all_up_ms", "vip_to_through_ms") if figures[name] is None
        ]
        print(f"{contestant.name}: {_line(figures)}")
        if missing:
            print(f"no figure: {', '.join(missing)}")
            return 1
    return 0


def _measure(cases: list[Case], store: Store, *, by: str | None, again: bool) -> None:
    total = sum(case.runs * len(case.contestants) for case in cases)
    started, number = time.monotonic(), 0
    for case in cases:
        for turn in range(case.runs):
            # Alternated: what drifts on the machine drifts for all of them.
            order = case.contestants if turn % 2 == 0 else case.contestants[::-1]
            for contestant in order:
                number += 1
                if by not in {None, contestant.name} or (not again and store.has(case, contestant.name, turn)):
                    continue
                try:
                    figures = run(case, contestant)
                except AssertionError as error:
                    # A pair that did not even come up, or an observation that proves nothing: told, not counted.
                    figures = {"failed": str(error)[:500]}
                store.put(case, contestant.name, turn, figures)
                at = time.monotonic() - started
                print(f"[{number}/{total} {at:4.0f} s] {case.name} {contestant.name}: {_line(figures)}", flush=True)


def _line(figures: dict[str, object]) -> str:
    if "failed" in figures:
        return f"failed: {str(figures['failed'])[:150]}"
    shown = (
        "vip_to_init_ms",
        "vip_to_first_up_ms",
        "vip_to_all_up_ms",
        "outage_ms",
        "retransmits",
        "double_running_ms",
    )
    parts = [
        f"{name.removesuffix('_ms')} {value:.1f}"
        for name in shown
        if isinstance(value := figures.get(name), float | int)
    ]
    each = figures.get("vip_to_init_each_ms")
    if isinstance(each, list) and each:
        parts.append(f"share median {sorted(each)[len(each) // 2]:.2f} worst {max(each):.2f} ms ({len(each)})")
    return ", ".join(parts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
