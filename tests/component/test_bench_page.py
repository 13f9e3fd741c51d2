"""What people are told of the speed is what was measured."""

from pathlib import Path
from typing import Final

from tests.bench.figures import read_results
from tests.bench.growthpage import read_growth
from tests.bench.page import headline, page, plots, with_headline
from tests.bench.restpage import read_rest
from tests.bench.store import RESULTS

ROOT: Final = Path(__file__).resolve().parents[2]


def test_readme_has_the_measured_headline() -> None:
    """The figures in the README are those of the stored results."""
    readme = (ROOT / "README.md").read_text()

    assert with_headline(readme, headline(read_results(RESULTS))) == readme
    assert headline(read_results(RESULTS)) in readme


def test_page_is_that_of_the_results() -> None:
    """docs/performance.md and its plots were written from the stored results, and by nobody's hand."""
    cases = read_results(RESULTS)

    text = page(cases, growth=read_growth(RESULTS), rest=read_rest(RESULTS))

    assert text == (ROOT / "docs" / "performance.md").read_text()
    assert all((RESULTS / name).read_text() == picture for name, picture in plots(cases).items())
