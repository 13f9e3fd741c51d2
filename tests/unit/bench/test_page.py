"""The page and the README's headline, from whatever has been measured so far."""

from typing import Any, Final

from tests.bench.figures import Measured
from tests.bench.page import headline, page, plots

ON: Final[dict[str, Any]] = {
    "at": "2026-11-30T12:00:00+00:00",
    "cores": 2,
    "processor": "x",
    "kernel": "6",
    "python": "3",
    "keepalived": "2",
    "strongswan": "5",
    "commit": "c",
}


def _measured(name: str, runs: dict[str, list[dict[str, Any]]], **about: Any) -> dict[str, Measured]:
    numbered = {by: {str(turn): run for turn, run in enumerate(each)} for by, each in runs.items()}
    defaults = {"connections": 1, "fault": "keepalived-stop", "advert_s": 0.1, "limits": False, "watch_s": 10.0}
    return {name: Measured({"case": name, "measured": ON, "runs": numbered, **defaults, **about})}


def _run(all_up_ms: float | None, **more: Any) -> dict[str, Any]:
    return {"vip_to_all_up_ms": all_up_ms, "outage_ms": 100.0, **more}


def test_nothing_measured_is_a_page() -> None:
    """It says that all cases are missing, and has no plot."""
    text = page({})

    assert "`n1-share`" in text
    assert "`n1000-keepalived-stop-limits`" in text
    assert plots({}) == {}
    assert "not measured" not in headline({})


def test_a_case_in_part_is_a_case_in_part() -> None:
    """Who has not run is no row; that runs are missing is said, and nobody is called too slow for it."""
    cases = _measured("n1-keepalived-stop-advert0.1", {"swanherd": [_run(20.0)]})

    text = page(cases)

    assert "| swanherd | 1 |" in text
    assert "| limit |" not in text.replace("| limit | charon's own best", "")
    assert "`n1-keepalived-stop-advert0.1` (1 of 18 runs)" in text
    assert "| 1 tunnel | 20 ms | not measured | not measured |" in headline(cases)


def test_what_did_not_happen_in_every_run_is_no_figure() -> None:
    """Nor is it in the headline."""
    cases = _measured("n1-keepalived-stop-advert0.1", {"swanherd": [_run(20.0), _run(None)], "limit": [_run(10.0)]})

    assert "| swanherd | 2 | - | 100 |" in page(cases)
    assert "not in every run within 10 s" in headline(cases)


def test_a_run_without_a_verdict_is_told() -> None:
    """And counts for nothing."""
    cases = _measured("n1-keepalived-stop-advert0.1", {"swanherd": [_run(20.0), {"failed": "no pair"}]})

    assert "1 run(s) of swanherd came to no verdict" in page(cases)
    assert "| swanherd | 1 | 20 |" in page(cases)


def test_growth_needs_more_than_one_size() -> None:
    """A single number of tunnels does not grow."""
    one = _measured("n1-keepalived-stop-advert0.1", {"swanherd": [_run(20.0)], "notify": [_run(50.0)]})
    hundred = _measured("n100-keepalived-stop-limits", {"swanherd": [_run(600.0)]}, connections=100, limits=True)

    assert "How it grows" not in page(one)
    text = page({**hundred, **one})
    grown = text[text.index("## How it grows") :].split("\n## ")[0]
    assert "| swanherd | 1 | 20 | 100 |\n| swanherd | 100 (limits) | 600 | 100 |" in grown
    assert "notify" not in grown


def test_titles_say_what_is_special() -> None:
    """Many peers, IPv6 outside, the kernel's own IPsec."""
    many = _measured(
        "n100-keepalived-stop-limits-many", {"limit": [_run(1.0)]}, connections=100, peers=100, limits=True
    )
    six = _measured("xfrm-n1-keepalived-stop-ipv6", {"limit": [_run(1.0, kernel_esp=True)]}, family=6)

    text = page({**many, **six})

    assert "## 100 tunnels, many peers with default limits: keepalived stopped" in text
    assert "## 1 tunnel by IPv6: keepalived stopped, adverts every 0.1 s, the kernel's IPsec" in text


def test_an_emulated_machine_is_called_so() -> None:
    """It had more time and less traffic."""
    cases = _measured("xfrm-n1-keepalived-stop", {"limit": [_run(None)]})
    cases["xfrm-n1-keepalived-stop"].about["measured"] = {**ON, "patience": 10.0}

    text = page(cases)

    assert "while it was watched (100 s); `lost` counts packets of 20 a second" in text
    assert "an emulated machine" in text


def test_a_lateness_that_was_not_measured_is_no_zero() -> None:
    """Results of before it was measured right have another field."""
    part = {"took_s": 1.0, "cpu_s": 0.5, "rss_mb": 70.0, "lag_ms": 0.0}
    held = {"rss_mb": 70.0, "fd": 28, "task": 4}
    lasting = {"takeovers": 500, "connections": 10, "first": held, "last": held}
    sizes = {"10": {"takeover": part, "release": part, "idle_cpu_percent": 1.0}}
    old = {"measured": ON, "sizes": sizes, "lasting": lasting}

    assert "| 50.00 ms | - | 70 MB |" in page({}, growth=old)
    sizes["10"]["release"] = {**part, "late_mean_ms": 1.5, "late_most_ms": 20.0}
    assert "| 50.00 ms | 1.5 ms, at most 20 ms | 70 MB |" in page({}, growth=old)


def test_agents_at_rest() -> None:
    """Each row has both agents and charon; memory is compared with the bare process."""
    used = {"cpu_percent": 0.08, "wakeups_per_s": 4.2, "rss_mb": 75.0}
    row = {"connections": 1000, "dpd_s": 10, "master": used, "standby": used, "charon": used}
    rest = {"measured": ON, "bare_rss_mb": 60.0, "rows": [{**row, "resync": {"cpu_s": 0.25, "long_turns": 0}}]}

    text = page({}, rest=rest)

    assert "| 1,000 | every 10 s | 0.08 % | 4 | 75 MB | 0.08 % | 75 MB | 0.08 % | 0.25 s, no such turn |" in text
    assert "holds 60 MB: the agent with 1000 tunnel has 1.25 times that" in text
