"""``python -m tests.chaos``: see ``make chaos``."""

import argparse
import random
import sys
import time
from collections.abc import Iterator

from tests.chaos.run import Failure, Run
from tests.chaos.sequence import World, episodes
from tests.chaos.site import chaos_site

BROKEN = 1
INTERRUPTED = 130
STEPS = 20
SEEDS = 1_000_000


def main(arguments: list[str]) -> int:
    """Run sequences until the time is over or one fails; the exit status tells whether all were well."""
    options = _parser().parse_args(arguments)
    started = time.monotonic()
    run = steps = 0
    try:
        for seed in _seeds(options, started):
            if not _one(seed, options.steps, first=options.episode):
                return BROKEN
            run, steps = run + 1, steps + options.steps
    except KeyboardInterrupt:
        print("\ninterrupted; nothing is left behind")
        return INTERRUPTED
    print(f"{run} sequences, {steps} steps, nothing wrong, {time.monotonic() - started:.0f} s")
    return 0


def _seeds(options: argparse.Namespace, started: float) -> Iterator[int]:
    """The seeds that were given; else one, or as many as there are minutes for."""
    if options.seed:
        yield from options.seed
        return
    while True:
        yield random.randrange(SEEDS)
        if time.monotonic() - started >= 60 * options.minutes:
            return


def _one(seed: int, steps: int, *, first: int) -> bool:
    """Run one sequence, and tell how it goes."""
    world = World.of(seed)
    print(f"seed {seed}, {steps} steps, {world}")
    episode = None
    with chaos_site(ghosts=world.ghosts, bus=world.bus, dpd=world.dpd) as site:
        run = Run(site, _tell)
        try:
            for episode in episodes(seed, steps):
                if episode.number >= first:
                    _tell(f"  episode {episode.number}")
                    run.episode(episode)
        except Failure as failure:
            assert episode is not None
            _tell_failure(failure, seed=seed, steps=steps, episode=episode.number)
            return False
    print(f"seed {seed}: well, traffic back after {max(run.back_s, default=0.0):.1f} s at worst")
    return True


def _tell(line: str) -> None:
    print(line, flush=True)


def _tell_failure(failure: Failure, *, seed: int, steps: int, episode: int) -> None:
    print(f"\nseed {seed}: WRONG in episode {episode}\n{failure.what}\n\nwhat was done in it:")
    for each in failure.done:
        print(f"  {each.step}, then {each.step.pause_s} s; in force: {each.step.state}")
    print("\nwhat happened around it, seconds since the episode began:")
    print("\n".join(failure.around))
    last = next((each.step.number for each in reversed(failure.done) if each.step.number), steps)
    print(f"\nreplay all of it:     make chaos SEED={seed} STEPS={steps}")
    print(f"replay its episode:   make chaos SEED={seed} STEPS={last} EPISODE={episode}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, action="append", help="a sequence; one that is drawn, if none is given")
    parser.add_argument("--steps", type=int, default=STEPS, help="its length (%(default)s)")
    parser.add_argument("--minutes", type=float, default=0.0, help="draw seed after seed for so long")
    parser.add_argument("--episode", type=int, default=1, metavar="N", help="begin with episode N")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
