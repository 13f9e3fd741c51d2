"""The part of the page for people that tells of the agent alone: how its own work grows."""

import json
from pathlib import Path
from typing import Any

from tests.bench.machine import machine


def read_growth(results: Path) -> dict[str, Any] | None:
    """What ``tests.bench.growth`` has found; None: it has not run."""
    path = results / "growth" / "growth.json"
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def growth_section(growth: dict[str, Any]) -> str:
    """The tables: by number of connections, and over many takeovers."""
    lines = [
        "## How the agent's own work grows",
        "",
        (
            "The agent alone with a charon that does nothing: it speaks vici, and every handshake succeeds at once. "
            "The VIP comes, and all connections come up; it goes, and all are released. One run each; processor time "
            "is the agent's. `loop late`: how late its event loop woke, looked at ten times a second, on average, and "
            "what no look exceeded."
        ),
        "",
        "| connections | all up | processor | each | all released | processor | each | loop late | memory | idle |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for size, figures in growth["sizes"].items():
        cells = [f"{int(size):,}"]
        for part in ("takeover", "release"):
            cpu = figures[part]["cpu_s"]
            cells += [f"{figures[part]['took_s']:.2f} s", f"{cpu:.2f} s", f"{cpu / int(size) * 1000:.2f} ms"]
        cells += [
            _late(figures),
            f"{figures['takeover']['rss_mb']:.0f} MB",
            f"{figures['idle_cpu_percent']:.2f} % of a core",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lasting = growth["lasting"]
    first, last = lasting["first"], lasting["last"]
    text = (
        f"After {lasting['takeovers']} takeovers of {lasting['connections']} connections, each with its release, the "
        f"agent holds {last['rss_mb']:.1f} MB ({first['rss_mb']:.1f} after the first), {last['fd']} descriptors "
        f"({first['fd']}) and {last['task']} threads ({first['task']})."
    )
    if "takeover_cpu_s" in last:
        text += (
            f" The last of them took {last['takeover_cpu_s'] * 1000:.0f} ms of its processor time "
            f"({first['takeover_cpu_s'] * 1000:.0f} the first)."
        )
    if "idle" in lasting:
        idle = lasting["idle"]
        text += (
            f" With nothing left to do it then uses {idle['cpu_percent']:.2f} % of a core, and its event loop wakes "
            f"{idle['late_mean_ms']:.1f} ms late on average."
        )
    lines += ["", text]
    return "\n".join([*lines, "", f"{machine(growth['measured'])}.", ""])


def _late(figures: dict[str, Any]) -> str:
    """The worse one of takeover and release; a result of before it was measured has none."""
    known = [figures[part] for part in ("takeover", "release") if figures[part].get("late_mean_ms") is not None]
    if not known:
        return "-"
    worst = max(known, key=lambda part: float(part["late_mean_ms"]))
    most = max(part["late_most_ms"] for part in known)
    return f"{worst['late_mean_ms']:.1f} ms, at most {most:g} ms"
