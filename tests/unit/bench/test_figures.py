"""What the runs of a case say together."""

from tests.bench.figures import undisturbed


def test_changes_in_which_a_processor_stood_still_do_not_count() -> None:
    """Not those of another column, either."""
    run = {
        "vip_to_init_each_ms": [3.0, 40.0, 4.0],
        "stood_still_to_init_each_ms": [0.0, 25.5, 0.0],
        "vip_to_through_each_ms": [20.0, 50.0],
        "stood_still_to_through_each_ms": [2.5, 0.0],
    }

    assert undisturbed(run, "to_init") == [3.0, 4.0]
    assert undisturbed(run, "to_through") == [50.0]
