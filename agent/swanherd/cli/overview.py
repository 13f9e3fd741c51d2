"""The status for people: a table of all connections, or some of them in full."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from swanherd.cli.terminal import age, clean, count

WIDE_COLUMNS: Final = 100
"""From this width on there is room for the endpoint and the next look too."""

DETAILS: Final = 20
"""Connections whose story is told below the table, since they are not well or there is a notice; more are counted."""

PROBLEMS: Final = 5
"""Problems of a broken settings file that are shown; ``swanherd check`` shows all."""

WELL, ILL, QUIET = "green", "bold red", "dim"


def show(out: Console, status: dict[str, Any]) -> None:
    """Everything at a glance: is all well, what is wrong, and one line a connection, the ill ones first."""
    _heading(out, status)
    connections = sorted(status["connections"], key=lambda each: each["well"])
    if not connections:
        out.print("no connections are configured")
        return
    out.print(_table(connections, wide=out.width >= WIDE_COLUMNS))
    told = [each for each in connections if not each["well"] or each.get("notices")]
    if told:
        out.print()
    for each in told[:DETAILS]:
        out.print(Text(f"{clean(each['name'])}:"))
        for line in (_story(each), *_notices(each)):
            out.print(Padding(Text(line, overflow="fold"), (0, 0, 0, 2), expand=False))
    if len(told) > DETAILS:
        out.print(f"... and {len(told) - DETAILS} more: swanherd status CONNECTION, or --json")


def show_in_full(out: Console, status: dict[str, Any]) -> None:
    """The connections of *status* with all that is known of each."""
    for number, each in enumerate(status["connections"]):
        if number:
            out.print()
        out.print(Text(clean(each["name"]), style="bold"))
        for label, value in _facts(each):
            _line(out, f"  {label}", value, width=12)
        for sa in each["sas"]:
            _line(out, f"  IKE #{sa['unique_id']}", _sa(sa), width=12)
            for child in sa["children"]:
                _line(out, "", f"child {clean(child['name'])} {clean(child['state'])}", width=12)


def show_rules(out: Console, firewall: dict[str, Any]) -> None:
    """Which of our firewall rules are in force though no agent answers."""
    if not firewall["present"] and not firewall["chains"]:
        out.print("No firewall rules of swanherd's are in force.")
        return
    out.print("Still in force, whether the agent runs or not:")
    if firewall["detail"]:
        out.print(Text(f"  {clean(firewall['detail'])}", style=ILL))
    _line(
        out, "  guard", "IPsec from these addresses is dropped while they are not here: " + _list(firewall["guarded"])
    )
    if firewall["fenced"]:
        _line(out, "  fenced", "all of swanherd's IPsec from these addresses is dropped: " + _list(firewall["fenced"]))
    if firewall["fenced_pairs"]:
        pairs = [f"{source} > {remote}" for source, remote in firewall["fenced_pairs"]]
        _line(out, "  fenced", "IPsec between these is dropped: " + _list(pairs))
    if firewall["leak_guard"]:
        _line(out, "  leaks", "never leaves in clear: " + _list(firewall["leak_guard"]))
    if firewall["chains"]:
        _line(out, "  let in", "IPsec is let in by rules of ours in: " + _list(firewall["chains"]))
    dropped = ", ".join(f"{rule} {packets}" for rule, packets in firewall["dropped"].items() if packets)
    if dropped:
        _line(out, "  dropped", f"packets so far: {clean(dropped)}")


def _heading(out: Console, status: dict[str, Any]) -> None:
    verdict = Text("all is well", style=WELL) if status["well"] else Text("NOT WELL", style=ILL)
    up_for = age(status["started_age_s"])
    last = age(status["pass_age_s"])
    out.print(Text.assemble(f"swanherd {clean(status['version'])}: ", verdict, f"; up {up_for}, last pass {last} ago"))
    for trouble in status["troubles"]:
        out.print(Text(f"  {clean(trouble)}", style=ILL))
    problems = status["config"]["why"].splitlines()
    for problem in problems[:PROBLEMS]:
        out.print(Text(f"    {clean(problem)}"))
    if len(problems) > PROBLEMS:
        out.print(f"    ... and {len(problems) - PROBLEMS} more: swanherd check")
    firewall = status["firewall"]
    if firewall is not None and firewall["present"]:
        fenced = len(firewall["fenced"]) + len(firewall["fenced_pairs"])
        _line(out, "firewall", f"guards {count(len(firewall['guarded']), 'address')}, {fenced or 'nothing'} fenced")
    out.print()


def _table(connections: Iterable[dict[str, Any]], *, wide: bool) -> Table:
    # Folding, not cutting: half a name is the wrong name.
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    headings = ["CONNECTION", "ROLE", "REASON", "FOR", "SOURCE", *(["ENDPOINT"] if wide else []), "UP"]
    for heading in [*headings, *(["NEXT LOOK"] if wide else [])]:
        table.add_column(heading, overflow="fold", no_wrap=heading in {"ROLE", "FOR", "UP", "REASON"})
    for each in connections:
        cells = [
            Text(clean(each["name"])),
            Text(clean(each["role"])),
            _reason(each),
            Text(age(each["since_age_s"])),
            Text(clean(each["source"] or "-")),
            *([Text(clean(each["endpoint"] or "-"))] if wide else []),
            Text(_children(each)),
            *([Text(age(each["next_look_in_s"]))] if wide else []),
        ]
        table.add_row(*cells)
    return table


def _reason(each: dict[str, Any]) -> Text:
    pending = each["fence"] == "fence-pending"
    words = clean(each["fence"] if pending else each["reason"])
    style = ILL if not each["well"] else WELL if each["role"] == "active" else QUIET
    return Text(words, style=style)


def _children(each: dict[str, Any]) -> str:
    up = "?" if each["children_up"] is None else each["children_up"]
    return f"{up}/{each['children_wanted']}" if up or each["children_wanted"] else "-"


def _story(each: dict[str, Any]) -> str:
    parts = [f"{clean(each['reason'])}"]
    if each["fence"] == "fence-pending":
        parts = ["fence-pending: not verified yet that nothing runs here", *parts]
    if each["detail"]:
        parts[-1] += f": {clean(each['detail'])}"
    if each["attempts"]:
        parts.append(count(each["attempts"], "failed attempt"))
    if each["next_look_in_s"] is not None:
        parts.append(f"next look in {age(each['next_look_in_s'])}")
    return "; ".join(parts)


def _notices(each: dict[str, Any]) -> Iterator[str]:
    for notice, words in each.get("notices", {}).items():  # an agent that is older than this command tells none
        yield from (f"{clean(notice)}: {clean(line)}" for line in words.splitlines())


def _facts(each: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "role", clean(each["role"])
    yield "reason", clean(each["reason"]) + (f": {clean(each['detail'])}" if each["detail"] else "")
    yield "since", f"{clean(each['since'])} ({age(each['since_age_s'])} ago)"
    yield "fence", clean(each["fence"])
    yield "source", clean(each["source"] or "none held here")
    yield "endpoint", clean(each["endpoint"] or "-")
    yield "children", f"{_children(each)} up" if each["children_wanted"] else "none wanted here"
    if each["attempts"]:
        yield "attempts", f"{each['attempts']} failed in a row"
    for notice in _notices(each):
        yield "notice", notice
    if each["next_look_in_s"] is not None:
        yield "next look", f"in {age(each['next_look_in_s'])}"


def _sa(sa: dict[str, Any]) -> str:
    ends = f"{clean(sa['local'] or '?')} > {clean(sa['remote'] or '?')}"
    for_s = "" if sa["established_age_s"] is None else f" for {age(sa['established_age_s'])}"
    return f"{clean(sa['state'])}{for_s}, {ends}"


def _list(names: Iterable[str]) -> str:
    return clean(", ".join(names)) or "none"


def _line(out: Console, label: str, value: str, *, width: int = 0) -> None:
    """A label and its value, which continues under itself where the line is too narrow."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True, min_width=width)
    grid.add_column(overflow="fold")
    grid.add_row(Text(f"{clean(label)}:" if label.strip() else ""), Text(value))
    out.print(grid)
