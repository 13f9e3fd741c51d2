"""What charon has, as last read: the cache behind ``Charon.connection``. No input or output here.

A read and a command can cross: what was read before a command was answered says nothing about after it. So every change
that a command made is stamped, and a read is told when it began; names that changed since are not taken from it.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Final

from swanherd.core.facts import CharonConnection, Failure, IkeSa, LoadedConfig
from swanherd.world.charon import canonical
from swanherd.world.charon.codec import Section

SAME_START_S: Final = 2.0
"""charon tells the age of an SA in whole seconds; what differs by less is the same start."""


@dataclass(slots=True)
class Mirror:
    """Everything in charon by connection name."""

    here: dict[str, CharonConnection] = field(default_factory=dict)
    sent: dict[str, str] = field(default_factory=dict)
    """Digests of what this run of the agent loaded and nobody has replaced since, as far as can be seen."""
    versions: dict[str, str] = field(default_factory=dict)
    """Versions of the secrets that this run of the agent loaded, by connection."""
    keys: frozenset[str] = frozenset()
    """Ids of all private keys, whoever loaded them."""
    _stamps: "count[int]" = field(default_factory=lambda: count(1))
    _now: int = 0
    _touched: dict[str, int] = field(default_factory=dict)
    _prints: dict[str, tuple[bytes, str | None]] = field(default_factory=dict)
    """What was listed of a name, and what we had loaded, when its configuration, as known now, was read from it."""

    def view(self, name: str) -> CharonConnection:
        """Everything that bears *name*."""
        return self.here.get(name, CharonConnection())

    def forget(self) -> None:
        """Another charon: nothing of what was known holds."""
        self.here.clear()
        self.sent.clear()
        self.versions.clear()
        self.keys = frozenset()
        self._touched.clear()
        self._prints.clear()
        self._now = next(self._stamps)

    # --- commands: what an answer proves ---

    def touch(self, name: str) -> None:
        """A command about *name* was answered: older reads say nothing about it any more."""
        self._now = next(self._stamps)
        self._touched[name] = self._now

    @property
    def now(self) -> int:
        """A stamp for a read that begins now."""
        return self._now

    def fresh(self, name: str, since: int) -> bool:
        """Whether a read that began at *since* tells about *name*."""
        return self._touched.get(name, 0) <= since

    # --- changes: each returns whether anything changed ---

    def put_config(self, name: str, config: LoadedConfig | None) -> bool:
        """*config* is what is loaded as *name*."""
        if config is None or config.digest.endswith(canonical.UNKNOWN_SENT):
            self.sent.pop(name, None)
        before = self.view(name)
        if config == before.config:
            return False
        self._prints.pop(name, None)
        return self._put(name, replace(before, config=config))

    def put_section(self, name: str, section: Section | None) -> bool:
        """*section* is what charon lists as *name*; None if nothing."""
        # What we loaded last is looked up now, not when the read began: a load may have been answered meanwhile.
        known = self.sent.get(name)
        return self.put_config(name, canonical.shown(name, section, known) if section is not None else None)

    def put_listed(self, name: str, item: bytes, section_of: Callable[[str, bytes], Section]) -> bool:
        """*item* is listed for *name*; *section_of* makes a section of it, unless it is what was listed before.

        To read them was a third of what it costs to read all of a charon anew (profiled).
        """
        listed = hashlib.blake2b(item, digest_size=16).digest()
        if self._prints.get(name) == (listed, self.sent.get(name)):
            return False
        changed = self.put_section(name, section_of(name, item))
        self._prints[name] = listed, self.sent.get(name)
        return changed

    def is_listed(self, name: str, config: LoadedConfig) -> bool:
        """Whether *config*, which we loaded as *name*, was seen in a listing of everything since."""
        _, loaded = self._prints.get(name, (b"", None))
        return loaded == config.digest == self.sent.get(name) and self.view(name).config == config

    def put_secret(self, name: str, *, loaded: bool) -> bool:
        """Whether our secret for *name* is loaded."""
        if not loaded:
            self.versions.pop(name, None)
        before, secret = self.view(name), self.versions.get(name, "?") if loaded else None
        return secret != before.secret and self._put(name, replace(before, secret=secret))

    def put_key(self, key_id: str, *, loaded: bool) -> bool:
        """Whether the private key *key_id* is loaded, as a command has made it."""
        self.touch(_key(key_id))
        before = self.keys
        self.keys = before | {key_id} if loaded else before - {key_id}
        return self.keys != before

    def put_all_keys(self, keys: frozenset[str], since: int) -> bool:
        """All private keys there are, read from *since* on."""
        before = self.keys
        changed = frozenset(key for key in keys ^ before if self.fresh(_key(key), since))
        self.keys = before ^ changed
        return bool(changed)

    def put_traps(self, name: str, traps: Iterable[str]) -> bool:
        """The children of *name* that are trapped."""
        before, now = self.view(name), frozenset(traps)
        return now != before.traps and self._put(name, replace(before, traps=now))

    def put_sas(self, name: str, sas: tuple[IkeSa, ...]) -> bool:
        """The IKE_SAs of *name*."""
        before = self.view(name)
        ids = {sa.unique_id for sa in sas}
        if not ids.issuperset(before.asked):
            asked = {unique_id: since for unique_id, since in before.asked.items() if unique_id in ids}
            self._put(name, replace(before, asked=asked))
            before = self.view(name)
        starts = {sa.unique_id: sa.since for sa in before.sas}
        now = tuple(_steady(sa, starts.get(sa.unique_id)) for sa in sas)
        return now != before.sas and self._put(name, replace(before, sas=now))

    def put_up(self, name: str, sas: Iterable[IkeSa]) -> bool:
        """*sas*, each with the one child that has just come up; what else is known stays."""
        known = {sa.unique_id: sa for sa in self.view(name).sas}
        for sa in sas:
            new = {child.unique_id for child in sa.children}
            before = known[sa.unique_id].children if sa.unique_id in known else ()
            others = tuple(child for child in before if child.unique_id not in new)
            known[sa.unique_id] = replace(sa, children=(*others, *sa.children))
        self.touch(name)  # a listing that began earlier knows less
        return self.put_sas(name, tuple(known.values()))

    def put_failure(self, name: str, failure: Failure | None) -> bool:
        """Why the latest handshake of *name* failed."""
        before = self.view(name)
        return failure != before.failure and self._put(name, replace(before, failure=failure))

    def put_asked(self, name: str, asked: Mapping[int, float]) -> bool:
        """Which SAs' peers owe an answer, and since when."""
        before = self.view(name)
        return dict(asked) != dict(before.asked) and self._put(name, replace(before, asked=dict(asked)))

    def put_all_traps(self, traps: Mapping[str, frozenset[str]], since: int) -> frozenset[str]:
        """All traps there are, read from *since* on; the names that changed."""
        names = [name for name in {*traps, *self.here} if self.fresh(name, since)]
        return frozenset(name for name in names if self.put_traps(name, traps.get(name, frozenset())))

    def put_all_secrets(self, names: frozenset[str], since: int) -> frozenset[str]:
        """The connections whose secret is loaded, read from *since* on; the names that changed."""
        known = [name for name in {*names, *self.here} if self.fresh(name, since)]
        return frozenset(name for name in known if self.put_secret(name, loaded=name in names))

    def _put(self, name: str, connection: CharonConnection) -> bool:
        if connection == CharonConnection():
            self.here.pop(name, None)
        else:
            self.here[name] = connection
        return True


def _key(key_id: str) -> str:
    """What a key is called among the stamps; no connection can be called so."""
    return f"key:{key_id}"


def _steady(sa: IkeSa, before: float | None) -> IkeSa:
    """*sa* with the start that was seen before, so that reading it again is no change."""
    if before is None or sa.since is None or abs(sa.since - before) > SAME_START_S:
        return sa
    return replace(sa, since=before)
