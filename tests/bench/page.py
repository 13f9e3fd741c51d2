"""The page for people, ``docs/performance.md``, its plots, and the headline in the README: all from the results."""

from pathlib import Path
from typing import Any, Final

from tests.bench.cases import CASES
from tests.bench.contestants import ALL
from tests.bench.figures import Measured, Spread, percentile, read_results, spread, undisturbed
from tests.bench.growthpage import growth_section, read_growth
from tests.bench.machine import emulated, machine
from tests.bench.plots import bars
from tests.bench.restpage import read_rest, rest_section

BEGIN: Final = "<!-- measured: written by make bench -->"
END: Final = "<!-- end of measured -->"

HEAD: Final = """\
# How fast it is, measured

<!-- Written by `make bench` from docs/bench/*.json; do not edit. -->

Two gateways share a virtual IP (VIP). A protocol (VRRP, spoken by keepalived) decides which of them, the master, has
it; the IPsec tunnels to a peer somewhere on the internet run from that address. When the master fails, the VIP moves to
the other gateway in a fraction of a second. The tunnels do not move by themselves: the other gateway has to negotiate
each of them anew, and the old one has to stop. This page says how long that takes.

A pair of gateways, the peer at the other end of the tunnels, a client behind the pair and a server behind the peer run
on one machine, in network namespaces, with real keepalived and strongSwan (its daemon is charon). The master fails. An
observer reads the wires and the kernels (never swanherd) and notes when the VIP came to the other gateway, when that
one sent its first IKE packet, when each tunnel was up, and how long the server received nothing. Several ways to move
the tunnels take turns, in alternating order:

| name | what moves the tunnels |
|---|---|
| swanherd | the agent, on both gateways |
| notify | keepalived's notify script runs `swanctl --load-all`, as how-tos write it |
| best-notify | a notify script as good as we can write it: all is loaded at boot, it only initiates, two at a time |
| restart | a notify script that restarts charon |
| always-loaded | no script: both gateways have all loaded with `start_action = start`, and dead peer detection |
| limit | charon's own best: all is loaded, a minimal client initiates at the kernel's event, and does nothing else |
| limit-empty | the same from an empty standby: it loads each connection just before its handshake |

**The limit** is what charon and this machine allow; nobody can be faster with this charon for long. It decides, fences,
verifies and reports nothing; it has as many handshakes in flight as swanherd has, and begins anew what fails. swanherd
is to be judged by its ratio to it; with one tunnel, where both take some milliseconds, chance may put either one first.
`always-loaded` uses `start` where an operator would use `trap`: the userland ESP of this lab knows no traps (on a
kernel with IPsec it uses `trap`).

swanherd keeps the standby empty, so that nothing there can run by mistake; `limit-empty` shows what that alone costs.

**The faults.** keepalived stopped: a planned change, keepalived says goodbye. Priority lowered: the other gateway takes
over while both are well. Power off, WAN cable out: nobody says goodbye, and the other gateway waits for three of the
master's adverts (VRRP's sign of life) before it takes the VIP; adverts every second then cost three seconds, whoever
moves the tunnels.

**The peer's limits.** A charon at its defaults answers at most five unfinished handshakes of one caller, and drops the
others, which then come again after seconds. With *one peer* all tunnels meet that limit together. *Many peers* are one
charon here, which is called from an address for each, so that no two share a limit. Without limits it answers all.

**What is not claimed.** Everything shares the same few cores: both gateways, the peer, the traffic and the observer,
and where the load average below is high, other work too; two machines would do better. Runs are few. Where a kernel has
no ESP, charon carries it itself (userland ESP), which costs it time in every tunnel. Compare the rows of one table; do
not quote a number as what your hardware will do. The time of the VIP is when a process with real-time priority read the
kernel's message. Where this is a virtual machine, an idle processor is lent to others, and comes back late: of two, one
stood still for 20 to 50 ms in most takeovers, whoever made them. With one tunnel a busy loop of the lowest priority
keeps them awake as far as that goes, and a thread that has to wake every 2 ms on each notes what is left: `a processor
stood still` is the sum until all tunnels were up, and the table of the changes in a row counts without them. `sent
again` counts a first message that is repeated because the peer asks for proof of the caller's address (a cookie) too: a
charon with limits does so from three unfinished handshakes of one caller on, and from thirty in all. Many peers are one
charon with one charon's processor time, and thirty in all is one number for them together.
"""


def write_page(results: Path, root: Path) -> None:
    """Write the page, the plots and the README's headline."""
    cases = read_results(results)
    if not cases:
        return
    for name, picture in plots(cases).items():
        (results / name).write_text(picture)
    (root / "docs" / "performance.md").write_text(page(cases, growth=read_growth(results), rest=read_rest(results)))
    readme = root / "README.md"
    readme.write_text(with_headline(readme.read_text(), headline(cases)))


def page(
    cases: dict[str, Measured], *, growth: dict[str, Any] | None = None, rest: dict[str, Any] | None = None
) -> str:
    """The page's text; it copes with cases of which some runs, or all, are missing."""
    ordered = _ordered(cases)
    shares = [each for each in ordered if each.about["fault"] == "flips"]
    faults = [each for each in ordered if each.about["fault"] != "flips"]
    parts = [HEAD, *map(_share, shares), _grows(cases), *map(_case, faults)]
    if rest is not None:
        parts.append(rest_section(rest))
    if growth is not None:
        parts.append(growth_section(growth))
    parts.append(_unmeasured(cases))
    return "\n".join(part for part in parts if part)


def _ordered(cases: dict[str, Measured]) -> list[Measured]:
    """In the order of the matrix; what is in it no more comes last."""
    matrix = [case.name for case in CASES]
    return sorted(cases.values(), key=lambda each: matrix.index(each.name) if each.name in matrix else len(matrix))


def _unmeasured(cases: dict[str, Measured]) -> str:
    """What the matrix has and this page has not, in whole or in part."""
    missing = []
    for case in CASES:
        measured = cases.get(case.name)
        there = 0 if measured is None else sum(len(measured.about["runs"].get(c.name, {})) for c in case.contestants)
        if there < (wanted := case.runs * len(case.contestants)):
            missing.append(f"`{case.name}`" + (f" ({there} of {wanted} runs)" if there else ""))
    if not missing:
        return ""
    return (
        "## Not measured here\n\nCases of `make bench`, `make bench-all` and `make bench-xfrm` that have no result on "
        f"this page yet, or not all runs: {', '.join(missing)}.\n"
    )


def plots(cases: dict[str, Measured]) -> dict[str, str]:
    """File name to SVG: for each case how long from the VIP to the last tunnel."""
    found = {}
    for name, measured in cases.items():
        if measured.about["fault"] == "flips":
            continue
        rows = [(by, by, measured.spread(by, "vip_to_all_up_ms")) for by in ALL if by in measured.about["runs"]]
        found[f"{name}.svg"] = bars(f"{_title(measured)}: VIP to all tunnels up", rows, unit="ms")
    return found


def headline(cases: dict[str, Measured]) -> str:
    """The README's figures: medians, in the words of the page."""
    wanted = ("n1-keepalived-stop-advert0.1", "n100-keepalived-stop-limits", "n1000-keepalived-stop-nolimits")
    rows = [
        "| from the VIP's arrival to all tunnels up | swanherd | notify script | charon alone |",
        "|---|---|---|---|",
    ]
    for name in wanted:
        if name in cases:
            measured = cases[name]
            script = "notify" if "notify" in measured.about["runs"] else "best-notify"
            cells = " | ".join(_up(measured, by) for by in ("swanherd", script, "limit"))
            rows.append(f"| {_tunnels(measured)}{_peer(measured)} | {cells} |")
    note = (
        "Medians of three runs of `make bench` each, on two cores that carry both gateways, the peer and the observer; "
        "spreads, how, and what it means: "
        "[docs/performance.md](docs/performance.md)."
    )
    return "\n".join([*rows, "", note])


def with_headline(readme: str, text: str) -> str:
    """The README with *text* between its two marks; as it was where it has none."""
    if BEGIN not in readme or END not in readme:
        return readme
    before, _, rest = readme.partition(BEGIN)
    return f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}"


# --- one case -------------------------------------------------------------------------------------------------------

_COLUMNS: Final = (
    ("VIP to first IKE packet", "vip_to_init_ms", 1),
    ("first tunnel up", "vip_to_first_up_ms", 0),
    ("all up", "vip_to_all_up_ms", 0),
    ("a processor stood still", "stood_still_ms", 0),
    ("tunnels up", "up", 0),
    ("outage", "outage_ms", 0),
    ("lost", "lost", 0),
    ("both ran it", "double_running_ms", 0),
    ("sent again", "retransmits", 0),
    ("old side silent", "old_silent_ms", 0),
    ("old side empty", "old_empty_ms", 0),
    ("left at the peer", "left_at_peer", 0),
)


def _case(measured: Measured) -> str:
    """The table, the plot, the agent's cost, and where it was measured."""
    lines = [
        f"## {_title(measured)}",
        "",
        f"![time to all tunnels](bench/{measured.name}.svg)",
        "",
        (
            "Median (least-most) over the runs; times in ms, the first three from the VIP's arrival, the old "
            "side's from the fault. `-`: it did not happen in every run while it was watched "
            f"({_watched_s(measured):.0f} s); `lost` counts packets of {_rate(measured)} a second."
        ),
        "",
    ]
    there = [by for by in ALL if by in measured.about["runs"]]
    # What nobody has is no column: nothing is left to be empty on a gateway without power.
    columns = [column for column in _COLUMNS if any(measured.spread(by, column[1]) for by in there)]
    lines += ["| | runs | " + " | ".join(title for title, _, _ in columns) + " |", "|---" * (len(columns) + 2) + "|"]
    for by in there:
        cells = [_cell(measured.spread(by, figure), digits) for _, figure, digits in columns]
        lines.append(f"| {' | '.join([by, str(len(measured.runs(by))), *cells])} |")
    lines += ["", *_ratio(measured), *_agent(measured), *_failed(measured), _where(measured), ""]
    return "\n".join(lines)


def _rate(measured: Measured) -> int:
    """Packets a second, as `measure.RATE`."""
    return 20 if emulated(measured.about["measured"]) else 100


def _watched_s(measured: Measured) -> float:
    """An emulated machine gets as many times longer as it is slower."""
    seconds: float = measured.about["watch_s"] * measured.about["measured"].get("patience", 1)
    return seconds


# --- over the number of tunnels -------------------------------------------------------------------------------------

_GROWING: Final = (
    "n1-keepalived-stop-advert0.1",
    "n100-keepalived-stop-nolimits",
    "n100-keepalived-stop-limits",
    "n1000-keepalived-stop-nolimits",
    "n1000-keepalived-stop-limits",
)
_GROWING_FIGURES: Final = (
    *_COLUMNS,
    ("agent's processor, s", "agent.takeover_cpu_s", 2),
    ("agent's memory, MB", "agent.takeover_rss_mb", 0),
    ("its loop late, mean", "agent.loop_late_mean_ms", 1),
)


def _grows(cases: dict[str, Measured]) -> str:
    """Every figure over the number of tunnels, for each contestant that was measured with several."""
    found = [cases[name] for name in _GROWING if name in cases]
    rows = []
    for by in ALL:
        measured = [each for each in found if each.runs(by)]
        if len({each.about["connections"] for each in measured}) > 1:
            rows += [(by, each) for each in measured]
    if not rows:
        return ""
    columns = [column for column in _GROWING_FIGURES if any(each.spread(by, column[1]) for by, each in rows)]
    lines = [
        "## How it grows with the number of tunnels",
        "",
        (
            "keepalived stopped, one peer; medians, in ms where nothing else is said, from the tables below. `-`: it "
            "did not happen in every run while it was watched, or there is no such thing (only swanherd has an agent)."
        ),
        "",
        "| | tunnels | " + " | ".join(title for title, _, _ in columns) + " |",
        "|---" * (len(columns) + 2) + "|",
    ]
    for by, each in rows:
        limits = "" if each.about["connections"] == 1 else (" (limits)" if each.about["limits"] else " (no limits)")
        cells = [
            "-" if (value := each.spread(by, figure)) is None else f"{value.middle:.{digits}f}"
            for _, figure, digits in columns
        ]
        lines.append(f"| {by} | {each.about['connections']}{limits} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _ratio(measured: Measured) -> list[str]:
    ours, limit = (measured.spread(by, "vip_to_all_up_ms") for by in ("swanherd", "limit"))
    if ours is None or limit is None:
        return []
    return [f"swanherd needs {ours.middle / limit.middle:.2f} times the limit until all tunnels are up.", ""]


def _agent(measured: Measured) -> list[str]:
    """What the new master's agent used."""
    about = (
        ("processor idle", "agent.idle_cpu_percent", "% of a core", 2),
        ("event loop late when idle", "agent.idle_loop_late_mean_ms", "ms on average", 1),
        ("processor for the takeover", "agent.takeover_cpu_s", "s", 2),
        ("event loop late in the takeover", "agent.loop_late_mean_ms", "ms on average", 1),
        ("and at most", "agent.loop_late_most_ms", "ms", 1),
        ("memory idle", "agent.idle_rss_mb", "MB", 0),
        ("after the takeover", "agent.takeover_rss_mb", "MB", 0),
    )
    known = [
        f"{title} {value.text(digits)} {unit}"
        for title, figure, unit, digits in about
        if (value := measured.spread("swanherd", figure)) is not None
    ]
    return [f"The agent of the new master: {', '.join(known)}.", ""] if known else []


def _failed(measured: Measured) -> list[str]:
    return [
        f"{measured.failed(by)} run(s) of {by} came to no verdict (no pair came up, or the observer missed packets).\n"
        for by in measured.about["runs"]
        if measured.failed(by)
    ]


def _share(measured: Measured) -> str:
    there = [by for by in ALL if measured.runs(by)]
    if not there:
        return ""
    number = max(len(measured.runs(by)[0]["vip_to_init_each_ms"]) for by in there)
    lines = [
        f"## One tunnel, {number} changes of master in a row{_esp(measured)}",
        "",
        (
            "From the kernel's address to the first IKE packet on the wire: what the agent, the script or the client "
            "takes, and what charon needs to be given the connection (not for `limit` and `best-notify`, which have it "
            "there) and to build its first message. What swanherd takes more than `limit-empty` is its own share. "
            "*Undisturbed* are the changes in which no processor of this machine stood still for more than 2 ms; the "
            "figures are theirs."
        ),
        "",
        (
            "| | undisturbed | median | 99th percentile | least | VIP to first packet through, median "
            "| median of all, disturbed or not |"
        ),
        "|---|---|---|---|---|---|---|",
    ]
    for by in there:
        run = measured.runs(by)[0]
        each, through = undisturbed(run, "to_init"), undisturbed(run, "to_through")
        if not each or not through:
            continue
        shares, all_of_them = spread(each), run["vip_to_init_each_ms"]
        lines.append(
            f"| {by} | {len(each)} of {len(all_of_them)} | {shares.middle:.1f} ms | {percentile(each, 0.99):.1f} ms "
            f"| {shares.least:.1f} ms | {spread(through).middle:.1f} ms | {spread(all_of_them).middle:.1f} ms |"
        )
    return "\n".join([*lines, "", *_failed(measured), _where(measured), ""])


def _where(measured: Measured) -> str:
    runs = [run for each in measured.about["runs"].values() for run in each.values()]
    loads = [run["load_average"] for run in runs if "load_average" in run]
    return (
        f"{machine(measured.about['measured'])}; load average before the runs "
        f"{min(loads, default=0):.1f}-{max(loads, default=0):.1f}."
        + "".join(f" {note}" for note in measured.about.get("notes", ()))
    )


def _cell(value: Spread | None, digits: int) -> str:
    return "-" if value is None else value.text(digits)


def _up(measured: Measured, by: str) -> str:
    value = measured.spread(by, "vip_to_all_up_ms")
    if not measured.runs(by):
        return "not measured"
    if value is None:
        return f"not in every run within {_watched_s(measured):.0f} s"
    return f"{value.middle:.0f} ms" if value.middle < 1000 else f"{value.middle / 1000:.1f} s"


def _tunnels(measured: Measured) -> str:
    number = measured.about["connections"]
    return f"{number} tunnel" + ("s" if number > 1 else "")


def _peer(measured: Measured) -> str:
    if measured.about["connections"] == 1:
        return ""
    many = measured.about.get("peers", 1) > 1
    if measured.about["limits"]:
        return ", many peers with default limits" if many else ", one peer with default limits"
    return ", many peers without limits" if many else ", a peer without limits"


def _esp(measured: Measured) -> str:
    """Said where it is not the ordinary: who carries the ESP."""
    runs = [run for by in measured.about["runs"] for run in measured.runs(by)]
    return ", the kernel's IPsec" if any(run.get("kernel_esp") for run in runs) else ""


def _title(measured: Measured) -> str:
    faults = {"keepalived-stop": "keepalived stopped", "flip": "priority lowered", "wan-down": "WAN cable out"}
    fault = faults.get(measured.about["fault"], measured.about["fault"].replace("-", " "))
    outside = " by IPv6" if measured.about.get("family", 4) == 6 else ""
    return (
        f"{_tunnels(measured)}{outside}{_peer(measured)}: {fault}, adverts every {measured.about['advert_s']:g} s"
        f"{_esp(measured)}"
    )
