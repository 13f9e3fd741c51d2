"""Keeps the ownership record ahead of what is loaded: entries are written before, and go only after, what they name."""

import asyncio
from dataclasses import replace
from typing import Final

from swanherd.core.decision import Decision
from swanherd.core.facts import CharonIdentity, Known
from swanherd.core.record import Entry, Record, grown, prints
from swanherd.core.view import View
from swanherd.core.wire import pairs_from
from swanherd.core.words import Fence
from swanherd.report import logs
from swanherd.runtime.store import Store
from swanherd.world.recordfile import RecordFile

LAZY_S: Final = 1.0
"""How long a note about a live SA may wait for its write: a thousand takeovers would bring a thousand of them."""

WRITE_AGAIN_S: Final = 1.0
"""Pause after a write that failed; nothing new is loaded meanwhile, what runs goes on."""


class Ledger:
    """The record in memory, and the one task that writes it."""

    def __init__(self, file: RecordFile, store: Store) -> None:
        self._file = file
        self._store = store
        record, self.trouble = file.read()
        self._charon = record.charon
        self._entries = dict(record.entries)
        self._due = asyncio.Event()
        self._later: asyncio.TimerHandle | None = None
        store.recorded(record)

    def consider(self, view: View, decision: Decision) -> None:
        """Note what *view*'s connection may have in charon from now on, or that nothing is left of it."""
        known = isinstance(view.charon, Known)
        old = self._entries.get(view.name)
        if view.connection is None:
            nothing = view.here.empty and view.here.secret is None and not view.stray_keys
            done = (
                known and nothing and decision.fence is Fence.FENCED and not (view.lane.busy or view.lane.secret_sent)
            )
            if done or (known and view.foreign):
                self._entries.pop(view.name, None)
                self._due.set()
            return
        wanted = Entry(
            digests=frozenset(view.digests.values()),
            shared_id=view.connection.shared_id,
            pairs=pairs_from(view.connection, view.digests),
            keys=frozenset((view.connection.certificates.key_id,)) if view.connection.certificates else frozenset(),
            sas=(
                prints(old, view.connection, view.here, leaving=decision.terminate_children)
                if known
                else (old.sas if old is not None else {})
            ),
        )
        # A load that is under way, or was left without its answer, may come after the reading.
        settled = known and not (view.lane.busy or view.lane.open)
        entry = grown(old, wanted, view.here, keys=view.keys, settled=settled)
        if entry != old:
            self._entries[view.name] = entry
            if old is not None and replace(old, sas=entry.sas) == entry:
                self._write_later()
            else:
                self._due.set()

    def _write_later(self) -> None:
        if self._later is None:
            self._later = asyncio.get_running_loop().call_later(LAZY_S, self._due.set)

    def met(self, charon: CharonIdentity) -> None:
        """Note which charon the record speaks of."""
        if charon != self._charon:
            self._charon = charon
            self._due.set()

    async def run(self) -> None:
        """Write whenever something is new; several changes make one write."""
        loop = asyncio.get_running_loop()
        while True:
            await self._due.wait()
            began = loop.time()
            self._due.clear()
            self._later = None
            record = Record(self._charon, dict(self._entries))
            try:
                await asyncio.to_thread(self._file.write, record)
            except OSError as error:
                logs.get("record").error("cannot write the ownership record; nothing new is loaded", error=str(error))
                await asyncio.sleep(WRITE_AGAIN_S)
                self._due.set()
                continue
            self._store.recorded(record)
            # At most half of the time: at a start with thousands, each write made the next few of them possible.
            await asyncio.sleep(loop.time() - began)
