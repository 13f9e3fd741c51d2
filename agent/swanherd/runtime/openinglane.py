"""The lane of our rules in chains of the user's: kept as wanted, whoever loads a ruleset anew."""

import asyncio
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from swanherd.core.intent import ChainName
from swanherd.core.openings import Openings
from swanherd.report import logs
from swanherd.runtime.sources import OpeningCalls
from swanherd.world.firewall import FirewallError

PAUSE_S: Final = 0.02
"""Between somebody's change and the look at what became of our rules: who bans addresses in hundreds costs little."""
AGAIN_S: Final = 0.5
"""Pause after a change that the kernel refused; a rule must be back within a second."""


class OpeningLane:
    """Follows the latest target at once; looks again whenever anybody has changed any rule."""

    def __init__(self, rules: OpeningCalls, changed: Callable[[], None]) -> None:
        self._rules = rules
        self._changed = changed
        self._target: Openings | None = None
        self._due = asyncio.Event()
        self._chains: frozenset[ChainName] | None = None
        self._refused = False
        self.troubles: Mapping[ChainName, str] = MappingProxyType({})
        """Why a chain does not have our rules, for those that do not."""

    @property
    def target(self) -> Openings:
        """The rules that are wanted now."""
        return self._target or {}

    def follow(self, target: Openings) -> None:
        """Adopt *target*. Our rules are so on return (a handshake may come next), or ``troubles`` says why not."""
        if target != self._target:
            self._target = target
            self._apply()
            if self._refused:
                self._due.set()

    def heard(self) -> None:
        """Somebody has changed the ruleset."""
        if self._target:  # who has asked for no rule pays for none
            self._due.set()

    async def run(self) -> None:
        """Look again when there is a reason to, for ever."""
        try:
            while True:
                await self._due.wait()
                await asyncio.sleep(PAUSE_S)
                self._due.clear()
                self._apply()
                if self._refused:
                    await asyncio.sleep(AGAIN_S)
                    self._due.set()
        finally:
            self._rules.close()

    def _apply(self) -> None:
        """Bring every chain to the target; a chain that cannot be is told, and stops no other one."""
        target = self.target
        troubles: dict[ChainName, str] = {}
        left: set[ChainName] = set()
        self._refused = False
        for chain in sorted(self._before() | target.keys()):
            why = self._one(chain, target)
            if why and target.get(chain):
                troubles[chain] = why
            if why:
                left.add(chain)  # nothing of ours may be in it; if something is, it is looked for again
        self._chains = frozenset(target) | left
        self._tell(troubles)

    def _one(self, chain: ChainName, target: Openings) -> str:
        try:
            return self._rules.apply(chain, target.get(chain, ()))
        except FirewallError as error:
            self._refused = True
            return str(error)

    def _before(self) -> frozenset[ChainName]:
        """Chains that may have rules of ours: at the start all that do, which an agent before us may have left."""
        if self._chains is None:
            try:
                self._chains = self._rules.everywhere()
            except FirewallError as error:
                logs.get("firewall").warning("rules of ours in other chains cannot be looked for", error=str(error))
                return frozenset()
        return self._chains

    def _tell(self, troubles: Mapping[ChainName, str]) -> None:
        for chain, why in troubles.items():
            if self.troubles.get(chain) != why:
                logs.get("firewall").warning("no firewall rule for IPsec", chain=str(chain), reason=why)
        for chain in self.troubles.keys() - troubles.keys():
            logs.get("firewall").info("the firewall rule is back", chain=str(chain))
        told, self.troubles = self.troubles, MappingProxyType(troubles)
        if told != troubles:
            self._changed()
