"""Nothing that decides reads the wall clock: who sets it by an hour changes nothing but what people read."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).parents[2] / "agent/swanherd"
WALL: Final = frozenset(
    {"time", "time_ns", "localtime", "gmtime", "ctime", "strftime", "CLOCK_REALTIME", "CLOCK_TAI", "now", "utcnow",
     "today", "st_mtime", "st_mtime_ns", "st_atime", "st_ctime", "st_ctime_ns"}
)  # fmt: skip
"""Attributes that give the wall clock's time, if taken from ``time``, ``datetime``, or a file's status."""
OWNERS: Final = frozenset({"time", "datetime", "date"})
ALLOWED: Final = {
    "runtime/teller.py": "for people: monotonic moments are told as times of day",
    "settings/lint.py": "for people: certificates that are about to expire",
    "settings/lastgood.py": "for people: when the settings were kept",
    "world/vrrp/clock.py": "the kernel dates packets by it; this module takes every step of it out again",
    "world/charon/identity.py": "a socket's stamp tells two sockets apart, and is never compared with a clock",
}


def wall_clock_in(source: str) -> Iterator[int]:
    """The lines of *source* that read the wall clock."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in WALL:
            of_clock = isinstance(node.value, ast.Name) and node.value.id in OWNERS
            if of_clock or node.attr.startswith("st_"):
                yield node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            yield node.lineno  # a bare name would hide which clock it is


def test_only_what_tells_people_reads_the_wall_clock() -> None:
    """Every reading of it is in a module that is named here, with what for; and each of those has one.

    Broken by: ``time.time()`` anywhere else, e.g. for a deadline.
    """
    found = {
        str(path.relative_to(PACKAGE)): lines
        for path in PACKAGE.rglob("*.py")
        if (lines := list(wall_clock_in(path.read_text())))
    }
    assert found.keys() == ALLOWED.keys(), found


def test_the_search_finds_what_it_is_for() -> None:
    """Each way of reading it, and none of the monotonic ones."""
    bad = "import time\ntime.time()\ndatetime.now(UTC)\ntime.clock_gettime(time.CLOCK_REALTIME)\npath.stat().st_mtime\n"
    good = "loop.time()\ntime.monotonic()\ntime.thread_time()\ntime.clock_gettime(time.CLOCK_MONOTONIC)\n"
    assert sorted(wall_clock_in(bad)) == [2, 3, 4, 5]
    assert list(wall_clock_in(good)) == []
    assert list(wall_clock_in("from time import time\n")) == [1]
