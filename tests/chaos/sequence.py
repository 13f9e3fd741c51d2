"""Which faults happen when, drawn from a seed alone: the same seed and number of steps are the same sequence. Pure.

A sequence is cut into episodes. Each begins with a pair that is well, and ends with everything healed and judged; so
an episode can be run again without those before it.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tests.chaos.faults import FAULTS, FROZEN, KILLED, Fault
from tests.chaos.state import PAIR, State, Thing
from tests.lab.topology import GATEWAYS

MOST_IN_FORCE: Final = 3
"""Faults in force at a time: the product is made for one, and is to live through three."""
EPISODE_STEPS: Final = (2, 7)
"""Steps of an episode, its healing not counted."""
HEAL_CHANCE: Final = 0.35
"""How often a step heals, where something can be healed."""
PAUSES_S: Final = ((0.0, 0.0), (0.0, 0.1), (0.1, 0.6), (0.6, 2.5))
"""From one of these ranges comes the pause after a step: at once, within a fence, within a takeover, settled."""


@dataclass(frozen=True, slots=True)
class World:
    """What kind of pair the faults happen to; the seed decides that too."""

    ghosts: bool
    """A stand-in sends IPsec from the virtual address on both gateways, all the time."""
    bus: bool
    """keepalived is on the message bus, and its word is evidence too."""
    dpd: bool
    """Dead peers are detected within seconds. Elsewhere that takes longer than anything may: no SA that is dead at the
    peer may be left to it."""

    @classmethod
    def of(cls, seed: int) -> "World":
        """The world of a seed."""
        return cls(ghosts=seed % 2 == 0, bus=seed % 3 == 0, dpd=seed % 4 == 0)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults that can happen in it."""
        return tuple(
            fault for fault in FAULTS if (self.bus or fault.thing is not Thing.BUS) and (self.dpd or not fault.by_dpd)
        )

    def bears(self, state: State) -> bool:
        """Whether somebody can notice everything that this leads to.

        An agent that is dead does not see that the other gateway takes over and gives way again; where the address
        stays here meanwhile, nothing tells the next one: only dead peer detection finds that the SA is gone.
        """
        return self.dpd or not any(
            state.of(gateway, Thing.AGENT) == KILLED
            and not (
                state.well(PAIR, Thing.PATH)
                and FROZEN not in {state.of(gateway, Thing.KEEPALIVED), state.of(gateway, Thing.GATEWAY)}
            )
            for gateway in GATEWAYS
        )

    def __str__(self) -> str:
        kinds = {"stand-ins": self.ghosts, "D-Bus": self.bus, "fast DPD": self.dpd}
        return ", ".join(f"with {kind}" if there else f"without {kind}" for kind, there in kinds.items())


@dataclass(frozen=True, slots=True)
class Step:
    """One fault made or healed, and the pause after it."""

    number: int
    """From 1, over the whole sequence; 0 where an episode's end heals what is left."""
    fault: Fault
    where: str
    heals: bool
    pause_s: float
    state: State
    """What is in force afterwards."""

    def __str__(self) -> str:
        return f"{self.where}: {self.fault.name}{' - healed' if self.heals else ''}"


@dataclass(frozen=True, slots=True)
class Episode:
    """Steps from a pair that is well to a pair that must be well again."""

    number: int
    steps: tuple[Step, ...]
    healing: tuple[Step, ...]


def episodes(seed: int, steps: int) -> Iterator[Episode]:
    """The sequence of a seed, *steps* steps long."""
    number, world = 0, World.of(seed)
    for count in range(1, steps + 1):
        if number >= steps:
            return
        # Drawn from the seed and the episode's number: the sequence's length changes nothing but its end.
        dice = random.Random(f"{seed}/{count}")
        length = dice.randint(*EPISODE_STEPS)
        made, state = [], State()
        for _ in range(min(length, steps - number)):
            number += 1
            made.append(_step(dice, world, number, state))
            state = made[-1].state
        yield Episode(count, tuple(made), tuple(_healing(dice, world, state)))


def _step(dice: random.Random, world: World, number: int, state: State) -> Step:
    healable = [(fault, where) for fault in world.faults for where in fault.places if fault.healable(state, where)]
    full = len(tuple(state)) >= MOST_IN_FORCE
    if healable and (full or dice.random() < HEAL_CHANCE):
        fault, where = dice.choice(healable)
        return Step(number, fault, where, True, _pause(dice), fault.healed(state, where))
    possible = [(fault, where) for fault in world.faults for where in fault.places if fault.possible(state, where)]
    possible = [(fault, where) for fault, where in possible if world.bears(fault.made(state, where))]
    weights = [fault.weight / len(fault.places) for fault, _ in possible]
    [(fault, where)] = dice.choices(possible, weights)
    return Step(number, fault, where, False, _pause(dice), fault.made(state, where))


def _healing(dice: random.Random, world: World, state: State) -> Iterator[Step]:
    """Heal all that is left, in an order that the dice choose of those that are possible."""
    while healable := [
        (fault, where) for fault in world.faults for where in fault.places if fault.healable(state, where)
    ]:
        fault, where = dice.choice(healable)
        state = fault.healed(state, where)
        yield Step(0, fault, where, True, _pause(dice), state)


def _pause(dice: random.Random) -> float:
    return round(dice.uniform(*dice.choice(PAUSES_S)), 3)
