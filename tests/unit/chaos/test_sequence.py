"""The sequences of ``make chaos``: drawn from the seed alone, possible in every step, and healed in the end."""

from itertools import chain, islice

from tests.chaos.faults import FAULTS
from tests.chaos.sequence import MOST_IN_FORCE, Step, episodes
from tests.chaos.state import PAIR, State, Thing, expected_runner
from tests.lab.partition import Partition

SEEDS = range(90)
STEPS = 40


def test_a_seed_is_a_sequence() -> None:
    """The same seed draws the same; another one, something else; a longer one begins alike."""
    assert _told(7, 30) == _told(7, 30)
    assert _told(7, 30) != _told(8, 30)
    first = next(episodes(7, 60))
    assert next(episodes(7, 30)) == first


def _told(seed: int, steps: int) -> list[str]:
    return [f"{step} {step.pause_s}" for episode in episodes(seed, steps) for step in _all(episode.steps)]


def _all(*parts: tuple[Step, ...]) -> list[Step]:
    return list(chain(*parts))


def test_every_step_is_possible_and_the_end_is_well() -> None:
    """No seed makes what is not possible, or more at a time than agreed; every episode ends with nothing in force."""
    for seed in SEEDS:
        count = 0
        for episode in episodes(seed, STEPS):
            state = State()
            for step in _all(episode.steps, episode.healing):
                allowed = step.fault.healable if step.heals else step.fault.possible
                assert allowed(state, step.where), f"seed {seed}: {step} in {state}"
                state = step.fault.healed(state, step.where) if step.heals else step.fault.made(state, step.where)
                assert state == step.state
                assert len(tuple(state)) <= MOST_IN_FORCE
            count += len(episode.steps)
            assert str(state) == "all well"
        assert count == STEPS


def test_every_fault_happens() -> None:
    """Each fault comes up on each of its places, and what lasts has a way to be healed."""
    made = {(step.fault.name, step.where) for seed in SEEDS for each in episodes(seed, STEPS) for step in each.steps}
    assert made == {(fault.name, where) for fault in FAULTS for where in fault.places}
    assert all(fault.heal is not None for fault in FAULTS if fault.becomes != "well")


def test_names_are_unique() -> None:
    """A sequence that is told by names is told exactly."""
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


def test_who_must_run_it() -> None:
    """The promise of who runs the tunnel while faults are in force, case by case."""
    well = State()
    assert expected_runner(well) == "gw-a"
    cases = {
        ("gw-a", Thing.KEEPALIVED, "killed"): "gw-b",
        ("gw-a", Thing.GATEWAY, "off"): "gw-b",
        ("gw-a", Thing.GATEWAY, "frozen"): None,  # its kernel still answers for the addresses
        ("gw-a", Thing.WAN, "out"): "gw-b",
        ("gw-a", Thing.PRIORITY, "lowered"): "gw-b",
        ("gw-a", Thing.CHARON, "killed"): None,  # it stays the master, and cannot run anything
        ("gw-a", Thing.AGENT, "killed"): None,
        ("gw-b", Thing.KEEPALIVED, "frozen"): "gw-a",
        ("gw-b", Thing.GATEWAY, "off"): "gw-a",
        ("gw-b", Thing.AGENT, "killed"): "gw-a",
        (PAIR, Thing.PATH, Partition.ON_THE_WIRE): None,
    }
    for (where, thing, condition), runner in cases.items():
        assert expected_runner(well.with_(where, thing, condition)) == runner
    left_behind = well.with_("gw-a", Thing.KEEPALIVED, "killed").with_("gw-a", Thing.AGENT, "killed")
    assert expected_runner(left_behind) is None
    assert expected_runner(well.with_("gw-a", Thing.GATEWAY, "off").with_("gw-b", Thing.GATEWAY, "off")) is None


def test_episodes_are_short() -> None:
    """An episode can be run again alone, and is worth reading."""
    assert all(len(episode.steps) <= 7 for episode in islice(episodes(1, 1000), 100))
