"""What the demo prints: one table a fault, and a summary at the end."""

from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from tests.lab.demo.run import Result

NONE = "-"


def _ms(value: float | None) -> str:
    return NONE if value is None else f"{value:.0f} ms"


def _since(value: float | None, start: float | None) -> str:
    return NONE if value is None or start is None else f"+{value - start:.1f} ms"


def _outage(result: Result) -> str:
    outage = _ms(result.seen.outage_ms)
    return outage if result.back else f"over {outage}, no end seen"


def _rows(result: Result) -> list[tuple[str, str]]:
    """In the order in which things happen: when the VIP moved, where the time went, what it cost."""
    seen, took = result.seen, result.takeover
    vip = seen.vip_added_ms
    return [
        ("VIP gone from the old gateway", _ms(seen.vip_removed_ms)),
        ("VIP on the new gateway", _ms(vip)),
        ("  agent: connection loaded", NONE if took is None or took.loaded_ms is None else f"+{took.loaded_ms:.1f} ms"),
        ("  first IKE packet on the wire", _since(seen.first_init_ms, vip)),
        ("  AUTH sent", _since(seen.first_auth_ms, vip)),
        ("  AUTH answered: CHILD_SA", _since(seen.auth_answered_ms, vip)),
        ("  first packet through", _since(seen.first_through_ms, vip)),
        ("takeover (VIP to CHILD_SA)", _ms(seen.takeover_ms)),
        ("outage", _outage(result)),
        ("packets lost", f"{seen.lost} of {seen.main.sent}"),
        ("both kernels held the VIP", _ms(seen.both_hold_ms)),
        ("both gateways ran the tunnel", _ms(seen.double_running_ms)),
    ]


def fault_table(results: Sequence[Result]) -> Table:
    """*results* of one fault, side by side. Times are since the fault; those with a + since the VIP's arrival."""
    table = Table(title=f"{results[0].fault.title} ({results[0].fault.name})", title_justify="left", box=None)
    table.add_column("")
    columns = [_rows(result) for result in results]
    for result in results:
        table.add_column(result.by, justify="right")
    for cells in zip(*columns, strict=True):
        table.add_row(cells[0][0], *(value for _, value in cells))
    return table


def summary(results: Iterable[Result]) -> Table:
    """All faults: outage, loss and double running, swanherd beside the script."""
    table = Table(title="Summary", title_justify="left")
    table.add_column("fault", no_wrap=True)
    for quantity in ("outage", "lost", "both ran"):
        table.add_column(quantity, justify="right", no_wrap=True)
        table.add_column("notify", justify="right", no_wrap=True, style="dim")
    table.add_column("promises")
    by_fault: dict[str, dict[str, Result]] = {}
    for result in results:
        by_fault.setdefault(result.fault.name, {})[result.by] = result
    for name, pair in by_fault.items():
        ours, theirs = pair["swanherd"], pair.get("notify")
        table.add_row(
            name,
            _brief(ours),
            NONE if theirs is None else _brief(theirs),
            str(ours.seen.lost),
            NONE if theirs is None else str(theirs.seen.lost),
            _ms(ours.seen.double_running_ms),
            NONE if theirs is None else _ms(theirs.seen.double_running_ms),
            Text("BROKEN: " + "; ".join(ours.broken), style="bold red") if ours.broken else Text("kept", style="green"),
        )
    return table


def _brief(result: Result) -> str:
    return _ms(result.seen.outage_ms) if result.back else f"> {_ms(result.seen.outage_ms)}"
