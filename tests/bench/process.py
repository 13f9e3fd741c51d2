"""What a process uses of the machine, as the kernel says."""

import time
from pathlib import Path
from typing import Final

CALM_S: Final = 3.0


def cpu_s(pid: int) -> float:
    """Processor time of all its threads."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def rss_mb(pid: int) -> float:
    """Resident set."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def wakeups(pid: int) -> int:
    """How often its threads have waited for something and gone on."""
    found = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        lines = (task / "status").read_text().splitlines()
        found += next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))
    return found


def is_calm(pid: int, *, percent: float) -> bool:
    """Whether it uses less than *percent* of a core over ``CALM_S``: then it has nothing put off."""
    cpu, began = cpu_s(pid), time.monotonic()
    time.sleep(CALM_S)
    return (cpu_s(pid) - cpu) / (time.monotonic() - began) * 100 < percent
