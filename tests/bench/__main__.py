"""``python -m tests.bench``: see ``make bench``."""

import argparse
import fnmatch
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from tests.bench.cases import CASES, SMOKE, Case
from tests.bench.figures import Measured, read_results
from tests.bench.measure import run
from tests.bench.page import write_page
from tests.bench.plan import Run, expected_s, runs_of
from tests.bench.store import RESULTS, Store, heard, measured_on, told

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: list[str]) -> int:
    """Measure what has no result yet, then write the page."""
    options = _parser().parse_args(arguments)
    if options.smoke:
        return _smoke()
    store = Store(options.results)
    if options.take:
        _take(sys.stdin, store)
    elif not options.page:
        cases = [case for case in CASES if _wanted(case, options)]
        # Who is asked for by name is meant, though only the longer matrix has him.
        whole = bool(options.all or options.by)
        runs = list(runs_of(cases, by=options.by, at_most=options.runs, whole=whole))
        todo = [run for run in runs if options.again or not store.has(run.case, run.contestant.name, run.turn)]
        kept = read_results(options.results)
        _show_plan(runs, todo, kept)
        if options.list:
            return 0
        if options.again and not options.tell:
            for each in todo:
                store.forget(each.case, each.contestant.name)
        _measure(todo, None if options.tell else store, [expected_s(each, kept) for each in todo])
    if options.results == RESULTS and not options.tell:
        write_page(options.results, ROOT)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--case", metavar="NAME", help="one case alone, or a pattern (n100-*)")
    parser.add_argument("--by", metavar="NAME", help="one contestant alone")
    parser.add_argument("--runs", type=int, metavar="N", help="so many of each at most")
    parser.add_argument("--all", action="store_true", help="the longer matrix too")
    parser.add_argument("--xfrm", action="store_true", help="the cases for a kernel that has IPsec, and no others")
    parser.add_argument("--smoke", action="store_true", help="one short case, whose result is thrown away")
    parser.add_argument("--again", action="store_true", help="do not keep the results that are there")
    parser.add_argument("--list", action="store_true", help="only say what there is to do, and how long it takes")
    parser.add_argument("--page", action="store_true", help="only write the page, from the results that are there")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where they are kept (%(default)s)")
    parser.add_argument("--tell", action="store_true", help="print results for --take, where nothing can be kept")
    parser.add_argument("--take", action="store_true", help="keep the results that come in on standard input")
    return parser


def _wanted(case: Case, options: argparse.Namespace) -> bool:
    if case.xfrm != options.xfrm:  # whatever its name: a result must not be kept as one of another kernel
        return False
    if options.case:
        return fnmatch.fnmatch(case.name, options.case)
    return bool(options.all or not case.long)


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


def _show_plan(runs: list[Run], todo: list[Run], kept: dict[str, Measured]) -> None:
    left = dict.fromkeys((each.case.name for each in runs), 0.0)
    whole = dict(left)
    for each in runs:
        seconds = expected_s(each, kept)
        whole[each.case.name] += seconds
        left[each.case.name] += seconds if each in todo else 0.0
    for name, seconds in whole.items():
        print(f"{name:40}{_minutes(seconds):>9}{'  kept' if not left[name] else ''}")
    print(f"{len(todo)} of {len(runs)} runs to do, about {_minutes(sum(left.values()))} min of "
          f"{_minutes(sum(whole.values()))}", flush=True)  # fmt: skip


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def _measure(runs: list[Run], store: Store | None, seconds: list[float]) -> None:
    """One after the other, each of which takes about so many seconds; no store: results are told on standard output."""
    started = time.monotonic()
    for number, each in enumerate(runs, 1):
        case, by = each.case, each.contestant.name
        try:
            figures = run(case, each.contestant)
        except AssertionError as error:
            # A pair that did not even come up, or an observation that proves nothing: told, not counted.
            figures = {"failed": str(error)[:500]}
        if store is None:
            print(told(case, by, each.turn, figures), flush=True)
        else:
            store.put(case, by, each.turn, figures, on=measured_on())
        at, left = _minutes(time.monotonic() - started), _minutes(sum(seconds[number:]))
        print(f"[{number}/{len(runs)} {at}, {left} left] {case.name} {by}: {_line(figures)}", flush=True)


def _take(lines: Iterable[str], store: Store) -> None:
    """Keep what another bench tells; its other lines are passed on."""
    cases = {case.name: case for case in CASES}
    for line in lines:
        result = heard(line)
        if result is None:
            print(line, end="", flush=True)
        else:
            store.put(cases[result["case"]], result["by"], result["turn"], result["figures"], on=result["on"])


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
