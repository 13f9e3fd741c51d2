"""Charon's events: which children came up, a name to look at, and, from the log, why a handshake failed.

A child that came up is taken from its event. Charon goes through all its SAs for a listing, whatever it is asked for,
and waits for those that are in use: with a thousand handshakes, four listings each took most of its time (measured).
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from swanherd.core.facts import Failure
from swanherd.core.words import Reason
from swanherd.world.charon.codec import Section, decode, encode, first_name, sections, text
from swanherd.world.charon.hearing import LOG
from swanherd.world.charon.listing import ike_sas
from swanherd.world.charon.logline import line_of
from swanherd.world.charon.looker import Looker
from swanherd.world.charon.mirror import Mirror
from swanherd.world.charon.questions import Questions
from swanherd.world.charon.reader import DECODE_BATCH
from swanherd.world.charon.reasons import UNNAMED, Path, Told, is_sent, worth_reading
from swanherd.world.charon.transport import ViciConnection

_UP: Final = encode({"up": "yes"})
"""How the event of something that came up begins."""
EVENTS: Final = ("ike-updown", "ike-rekey", "ike-update", "child-updown", "child-rekey")
OWN_BEGIN_S: Final = 1.0
"""Between our command to begin a handshake and its line in the log, at most."""
AWAITED_S: Final = 5.0
"""A handshake whose end nothing has told for so long has no slot any more."""
REST_S: Final = 0.2
"""Events of which none is awaited are taken in as often, where they do not end. A thousand peers that are asked every
ten seconds bring five hundred lines a second, and each wake-up costs more than the lines that it brings."""
AT_ONCE: Final = 20
"""So many times in a row they are taken in as they come: a peer that closes something is answered at once."""
OWN_LOAD_S: Final = 1.0
"""Between our load and its line in the log, at most, in charon's worst hour; and how long its check can wait."""


class Listener:
    """Takes events in as they come, however many."""

    def __init__(self, looker: Looker, *, mirror: Mirror, on_change: Callable[[frozenset[str]], None]) -> None:
        self._looker = looker
        self._mirror = mirror
        self._on_change = on_change
        self._told = Told()
        self._loading: dict[str, float] = {}
        """When we loaded a name last."""
        self._loads_heard: dict[str, int] = {}
        self._initiating: dict[str, float] = {}
        """When we began a handshake of a name last."""
        self._awaited: dict[str, float] = {}
        """The same of those whose end nothing has told yet, in the order of their beginnings."""
        self._questions = Questions(mirror=mirror, asked=self._open_questions, on_change=on_change)
        self.connection: ViciConnection | None = None
        """By which events come."""
        self._left, self._left_at = float(AT_ONCE), 0.0
        """How many times more events may be taken in as they come, and when that was true."""
        self._events: deque[tuple[bytes, bytes]] = deque()
        self._heard = asyncio.Event()

    def forget(self) -> None:
        """Another charon, or none."""
        self._told.forget()
        self._loading.clear()
        self._loads_heard.clear()
        self._initiating.clear()
        self._awaited.clear()
        self._questions.forget()
        self._events.clear()

    def deaf(self) -> None:
        """The log tells nothing from now on: no question can be seen to be answered any more."""
        self._events = deque(each for each in self._events if each[0] != LOG.encode())
        self._told.deaf()
        asked = frozenset(name for name, here in self._mirror.here.items() if here.asked)
        self._questions.forget()
        for name in asked:
            self._mirror.put_asked(name, {})
        if asked:
            self._on_change(asked)

    def hears_again(self) -> None:
        """The log tells again what happens; what we loaded before was told to nobody."""
        for name in self._loading:
            self._loads_heard[name] = max(1, self._loads_heard.get(name, 0))

    # --- what we do ourselves -----------------------------------------------------------------------------------

    def loading(self, name: str, *, begins: bool = False) -> None:
        """*name* is being loaded by us (*begins*), or has just been."""
        self._loading[name] = self._now()
        if begins:
            self._loads_heard[name] = 0
            self._told.beginning(name)

    def initiating(self, name: str) -> None:
        """A handshake of *name* is being begun by us."""
        self._initiating[name] = self._now()
        self._awaited.pop(name, None)
        self._awaited[name] = self._now()
        self._told.beginning(name)
        if self.connection is not None:
            # Its end must be heard before a listing shows that it is gone: else it would seem to have no reason.
            self.connection.wake()

    def terminating(self, name: str, *, all_of_it: bool) -> None:
        """SAs of *name* are being ended by us: some, or *all_of_it*; whoever does so reads what is left."""
        self._told.ending(name, self._now(), all_of_it=all_of_it)

    def loads_heard(self, name: str) -> int:
        """How often *name* was loaded, by us or others, since our last load of it began; late lines count too."""
        return self._loads_heard.get(name, 0)

    def loaded(self, name: str, path: Path) -> None:
        """*name* was loaded, and runs between these addresses."""
        self._told.paths[name] = path

    def unloaded(self, name: str) -> None:
        """*name* runs nowhere any more."""
        self._told.paths.pop(name, None)

    def failed(self, name: str, detail: str) -> None:
        """A handshake of *name* could not begin; the log, which may come later, tells more than *detail*."""
        if name not in self._told.failures:
            self._told.failures[name] = Failure(Reason.LOCAL_ERROR, detail, self._now())
        self._mirror.put_failure(name, self._told.failures[name])
        self._on_change(frozenset((name,)))

    # --- what charon tells --------------------------------------------------------------------------------------

    def take(self, event: bytes, body: bytes) -> None:
        """Queue an event for :meth:`pump`, unless a glance shows that it tells nothing, as most lines of a log."""
        if event == b"log" and not worth_reading(body):
            return
        self._events.append((event, body))
        self._heard.set()

    async def pump(self) -> None:
        """Work through the events; a burst of them leaves others on the loop their turns."""
        while True:
            await self._heard.wait()
            self._heard.clear()
            changed: set[str] = set()
            for _ in range(min(len(self._events), DECODE_BATCH)):
                changed |= self._hear(*self._events.popleft())
            if changed:
                self._on_change(frozenset(changed))
            if self._events:
                self._heard.set()
                await asyncio.sleep(0)
            elif self._many() and self.connection is not None and not self._awaits():
                self.connection.rest(REST_S)

    def _many(self) -> bool:
        """Whether events have come more often than once in ``REST_S`` for a while; to be asked once each time."""
        now = self._now()
        self._left = min(AT_ONCE, self._left + (now - self._left_at) / REST_S) - 1
        self._left_at = now
        return self._left < 0

    def _awaits(self) -> bool:
        """Whether a handshake that we began is under way: somebody waits for its end, or for its slot."""
        too_old = self._now() - AWAITED_S
        while self._awaited and (name := next(iter(self._awaited))) and self._awaited[name] < too_old:
            del self._awaited[name]
        return bool(self._awaited)

    def _open_questions(self, name: str) -> Mapping[int, float]:
        return self._told.asked.get(name, {})

    def _hear(self, event: bytes, body: bytes) -> set[str]:
        """Take one event in; the names of which something changed."""
        if event == LOG.encode():
            return self._hear_line(body)
        if event == b"ike-updown" and body.startswith(_UP):
            # Its first child follows at once, or the reason why there is none. That it is up is all that is read of it.
            if (name := first_name(body[len(_UP) :])) != UNNAMED:
                self._looker.check_later(name)
            return set()
        message = decode(body)
        up = text(message, "up") == "yes"
        told = ((name, section) for name, section in sections(message) if name != UNNAMED)
        return {name for name, section in told if self._hear_of(event, name, section, up=up)}

    def _hear_of(self, event: bytes, name: str, section: Section, *, up: bool) -> bool:
        if up and event == b"child-updown":
            self._told.up(name)
            self._awaited.pop(name, None)
            changed = self._mirror.put_failure(name, None)
            changed |= self._mirror.put_up(name, ike_sas({name: section}, self._now()))
            self._looker.check_later(name)
            return changed
        if up:
            self._looker.look(name)
        elif self._told.ended_by_us(name, self._now()):
            # Our own doing, read back by who did it. Chased, a release of a hundred listed four hundred times.
            self._looker.check_gone_later(name, all_of_it=self._told.all_ended_by_us(name))
        else:
            self._looker.chase(name)
        return False

    def _hear_line(self, body: bytes) -> set[str]:
        if is_sent(body):
            self._told.sends(partial(line_of, body), self._now())
            return set()
        line = line_of(body)
        changed: set[str] = set()
        for name in self._told.hear(line, self._now()):
            failure = self._told.failures.get(name)
            if failure is not None and failure.at >= self._awaited.get(name, math.inf):  # not the one of before
                del self._awaited[name]
            if self._mirror.put_failure(name, failure):
                changed.add(name)
            if failure is not None:
                self._looker.chase(name)
            elif line.name and self._now() - self._initiating.get(name, -OWN_BEGIN_S) < OWN_BEGIN_S:
                # Most probably the handshake that we began. Its end is told by an event; a listing for each beginning
                # was a tenth of what the takeover of a hundred tunnels cost the agent (profiled).
                self._looker.check_later(name)
            elif line.name:
                self._looker.look(name)
            else:
                self._hear_loaded(name)
        if line.name and self._questions.heard(line.name):
            changed.add(line.name)
        return changed

    def _hear_loaded(self, name: str) -> None:
        """Something was loaded as *name*: what we loaded a moment ago, unless that was told already."""
        self._loads_heard[name] = self._loads_heard.get(name, 0) + 1
        if self._now() - self._loading.get(name, -OWN_LOAD_S) < OWN_LOAD_S:
            if self._loads_heard[name] > 1:
                self._looker.look_later(name, OWN_LOAD_S)
        else:
            self._mirror.sent.pop(name, None)
            self._looker.look(name, config=True)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
