"""The ownership record: what this agent may have put into charon, written before it does.

Names in charon are the names in the settings, so only the record (or the settings) tells ours from somebody else's.
The record is a superset of what is loaded: entries are written ahead, on the standby too, so that a takeover never
waits for a disk; an entry goes only after what it names was read back as gone.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from swanherd.core.facts import CharonConnection, CharonIdentity, LoadedConfig, Pair, shape
from swanherd.core.intent import Connection


@dataclass(frozen=True, slots=True)
class ChildPrint:
    """What a CHILD_SA of ours agreed with the peer when it came up."""

    unique_id: int
    """A rekey changes it, and nothing else."""
    agreed: str
    leaving: bool = False
    """It was to be terminated: another one of this name is not its rekeyed self, but new."""


@dataclass(frozen=True, slots=True)
class SaPrint:
    """What an IKE_SA of ours agreed with the peer when it came up, and each of its children."""

    ike: str
    children: Mapping[str, ChildPrint] = field(default_factory=lambda: MappingProxyType({}))
    """By child; one that came up later has the print of that time."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One connection's share."""

    digests: frozenset[str]
    """Of every ``LoadedConfig`` that we may have loaded under this name."""
    shared_id: str
    pairs: frozenset[Pair] = frozenset()
    """Between which addresses it can run: for the fence of a connection that left the settings."""
    sas: Mapping[int, SaPrint] = field(default_factory=lambda: MappingProxyType({}))
    """By unique id: under which settings it came up. Written after the fact; one that is not here is as today's."""
    keys: frozenset[str] = frozenset()
    """Ids of private keys that we may have loaded for it; other connections may have the same key."""

    def owns(self, config: LoadedConfig) -> bool:
        """Whether what is loaded is what we loaded."""
        return shape(config.digest) in {shape(digest) for digest in self.digests}


@dataclass(frozen=True, slots=True)
class Record:
    """All entries, and the charon that they were loaded into; a new charon has nothing of ours."""

    charon: CharonIdentity | None = None
    entries: Mapping[str, Entry] = field(default_factory=lambda: MappingProxyType({}))


def grown(
    entry: Entry | None, wanted: Entry, here: CharonConnection, *, settled: bool, keys: frozenset[str] = frozenset()
) -> Entry:
    """*wanted*, and what *entry* still has to remember: what is, or may still be, in charon from before.

    *keys*: of those that *entry* names, the private keys that are loaded. *settled*: *here* is known, and nothing that
    was sent can still change it.
    """
    if entry is None:
        return wanted
    if settled:
        loaded = shape(here.config.digest) if here.config is not None else None
        old = {digest for digest in entry.digests if shape(digest) == loaded}
        pairs = entry.pairs if here.sas or here.config is not None else frozenset[Pair]()
    else:
        old, pairs, keys = set(entry.digests), entry.pairs, entry.keys
    return Entry(wanted.digests | old, wanted.shared_id, wanted.pairs | pairs, wanted.sas, wanted.keys | keys)


def prints(
    entry: Entry | None, connection: Connection, here: CharonConnection, *, leaving: Collection[int] = ()
) -> Mapping[int, SaPrint]:
    """The prints of the live SAs *here*: those that *entry* has noted, and today's for what is new.

    *leaving*: unique ids of CHILD_SAs that are to be terminated now.
    """
    noted = entry.sas if entry is not None else {}
    agreed = {child.name: child.agreed for child in connection.children}
    found: dict[int, SaPrint] = {}
    for sa in here.sas:
        if sa.established:
            old = noted.get(sa.unique_id, SaPrint(connection.agreed))
            children: dict[str, ChildPrint] = {}
            for child in sa.children:
                before = old.children.get(child.name)
                gone = child.unique_id in leaving
                if not child.installed:
                    continue
                if before is None or (before.leaving and before.unique_id != child.unique_id):
                    children[child.name] = ChildPrint(child.unique_id, agreed.get(child.name, ""), gone)
                else:
                    children[child.name] = ChildPrint(child.unique_id, before.agreed, gone)
            found[sa.unique_id] = SaPrint(old.ike, children)
    return found
