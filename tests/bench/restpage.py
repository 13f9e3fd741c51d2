"""The part of the page for people that tells of agents at rest."""

import json
from pathlib import Path
from typing import Any

from tests.bench.machine import machine


def read_rest(results: Path) -> dict[str, Any] | None:
    """What ``tests.bench.rest`` has found; None: it has not run."""
    path = results / "rest" / "rest.json"
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def rest_section(rest: dict[str, Any]) -> str:
    """A table, and what memory is compared with."""
    lines = [
        "## At rest",
        "",
        (
            "A whole pair, all tunnels up, adverts every second, and nothing happens for half a minute; nobody asks "
            "the agents anything. *Peers asked*: dead peer detection, after so many seconds without a packet. *All "
            "read anew*: charon stood still and goes on, so that everything is read of it and decided again; the "
            "agent's processor time for that, and in how many turns its event loop computed for more than 20 ms."
        ),
        "",
        (
            "| tunnels | peers asked | master: processor | wake-ups a second | memory | standby: processor | memory "
            "| master's charon: processor | all read anew |"
        ),
        "|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rest["rows"]:
        asked = f"every {row['dpd_s']} s" if row["dpd_s"] else "never"
        resync = row["resync"]
        turns = f"{resync['long_turns']:.0f} such turns" if resync["long_turns"] else "no such turn"
        cells = [
            f"{row['connections']:,}",
            asked,
            f"{row['master']['cpu_percent']:.2f} %",
            f"{row['master']['wakeups_per_s']:.0f}",
            f"{row['master']['rss_mb']:.0f} MB",
            f"{row['standby']['cpu_percent']:.2f} %",
            f"{row['standby']['rss_mb']:.0f} MB",
            f"{row['charon']['cpu_percent']:.2f} %",
            f"{resync['cpu_s']:.2f} s, {turns}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    first = rest["rows"][0]
    lines += [
        "",
        (
            f"A bare process that imports the same libraries and serves HTTP holds {rest['bare_rss_mb']:.0f} MB: the "
            f"agent with {first['connections']} tunnel has {first['master']['rss_mb'] / rest['bare_rss_mb']:.2f} times "
            "that."
        ),
        "",
        f"{machine(rest['measured'])}.",
        "",
    ]
    return "\n".join(lines)
