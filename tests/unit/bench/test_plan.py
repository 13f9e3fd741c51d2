"""What a bench does, in which order, and how long it thinks that takes."""

from dataclasses import replace

from tests.bench.cases import CASES, SMOKE, Case
from tests.bench.figures import Measured
from tests.bench.plan import Run, expected_s, runs_of

DEFAULT_S = 40 * 60
"""The whole of `make bench`, on two cores."""
CASE = replace(SMOKE, name="case", runs=3)


def _names(runs: list[Run]) -> list[str]:
    return [run.contestant.name for run in runs]


def test_the_order_alternates() -> None:
    """What drifts on the machine drifts for all of them."""
    first, second, third = (_names([run for run in runs_of([CASE]) if run.turn == turn]) for turn in range(3))

    assert first == third == ["swanherd", "best-notify", "limit"]
    assert second == first[::-1]


def test_less_can_be_asked_for() -> None:
    """One contestant alone, and fewer runs."""
    assert [(run.contestant.name, run.turn) for run in runs_of([CASE], by="limit", at_most=2)] == [
        ("limit", 0),
        ("limit", 1),
    ]


def test_a_run_takes_as_long_as_its_like_took() -> None:
    """One that came to no verdict says nothing."""
    took = {"0": {"took_s": 7.0}, "1": {"took_s": 9.0}, "2": {"failed": "no pair", "took_s": 99.0}}
    kept = {"case": Measured({"case": "case", "runs": {"limit": took}})}
    run = next(runs_of([CASE], by="limit"))

    assert expected_s(run, kept) == 8.0
    assert expected_s(replace(run, case=replace(CASE, name="new")), kept) != 8.0


def test_the_default_matrix_fits() -> None:
    """By the rule, with nothing kept: without the longer matrix, and without what wants another kernel."""
    default: list[Case] = [case for case in CASES if not case.long and not case.xfrm]

    assert sum(expected_s(run, {}) for run in runs_of(default)) < DEFAULT_S


def test_every_case_has_a_name_of_its_own() -> None:
    """It is the name of its file."""
    assert len({case.name for case in CASES}) == len(CASES)
