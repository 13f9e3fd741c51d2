"""The ownership record on disk: the file that survives a restart of the service, and its copy that survives a reboot.

Written by atomic rename, mode 0600, before anything in it is loaded. It holds names, digests, ids and addresses; no
secret, and nothing that was computed from one.
"""

import json
import os
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Final

from swanherd.core.facts import CharonIdentity, Pair
from swanherd.core.record import ChildPrint, Entry, Record, SaPrint

FORMAT: Final = 1
FILE_NAME: Final = "record.json"


class RecordFile:
    """Reads and writes the record in *runtime_dir*, with a copy in *state_dir*."""

    def __init__(self, *, runtime_dir: Path, state_dir: Path) -> None:
        self.path: Final = runtime_dir / FILE_NAME
        self.copy: Final = state_dir / FILE_NAME
        self._written: dict[str, tuple[Entry, str]] = {}
        """Of each entry of the last record: its text. Ten thousand are written again when one has changed."""

    def read(self) -> tuple[Record, str]:
        """The record, and what was wrong with it (empty: nothing).

        A record that is lost or broken is no reason to stop: what is loaded like the settings is ours all the same.
        """
        trouble = ""
        for path in (self.path, self.copy):
            try:
                return _parsed(json.loads(path.read_text())), trouble
            except FileNotFoundError:
                continue
            except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
                # Anything may be in a file; all of these only say that it is no record.
                trouble = f"{path} cannot be used: {error}"
        return Record(), trouble

    def write(self, record: Record) -> None:
        """Write both. The copy is a convenience: it raises nothing; the file itself raises OSError."""
        text = self._text(record)
        replace_file(self.path, text, durable=False)
        try:
            replace_file(self.copy, text, durable=True)
        except OSError:
            # A full disk must not stop a takeover: the first file is the one that a restart reads.
            return

    def _text(self, record: Record) -> str:
        charon = None if record.charon is None else [record.charon.pid, record.charon.start_ticks]
        before, self._written = self._written, {}
        for name, entry in record.entries.items():
            known = before.get(name)
            if known is None or known[0] is not entry:
                known = entry, f"{_json(name)}:{_json(_document(entry))}"
            self._written[name] = known
        entries = ",".join(text for _, text in self._written.values())
        return f'{{"format":{FORMAT},"charon":{_json(charon)},"entries":{{{entries}}}}}'

    def remove(self) -> None:
        """Remove both; missing ones are fine."""
        self.path.unlink(missing_ok=True)
        self.copy.unlink(missing_ok=True)


def replace_file(path: Path, text: str, *, durable: bool) -> None:
    """Make *path* hold *text*, mode 0600: as a whole or not at all. *durable*: a power cut does not undo it."""
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, 0o600)  # one that a killed run left behind keeps its own mode otherwise
        file.write(text)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    new.replace(path)


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _document(entry: Entry) -> dict[str, Any]:
    return {
        "digests": sorted(entry.digests),
        "shared_id": entry.shared_id,
        "pairs": [[str(pair.source), str(pair.remote)] for pair in sorted(entry.pairs, key=str)],
        "keys": sorted(entry.keys),
        "sas": {str(unique_id): _print(sa) for unique_id, sa in entry.sas.items()},
    }


def _print(sa: SaPrint) -> list[Any]:
    children = {name: [child.unique_id, child.agreed, child.leaving] for name, child in sa.children.items()}
    return [sa.ike, children]


def _parsed(document: Mapping[str, Any]) -> Record:
    if document["format"] != FORMAT:
        raise ValueError(f"format {document['format']} is not {FORMAT}")
    charon = document["charon"]
    return Record(
        charon=None if charon is None else CharonIdentity(int(charon[0]), int(charon[1])),
        entries={str(name): _entry(entry) for name, entry in document["entries"].items()},
    )


def _entry(entry: Mapping[str, Any]) -> Entry:
    return Entry(
        digests=frozenset(map(str, entry["digests"])),
        shared_id=str(entry["shared_id"]),
        pairs=frozenset(Pair(ip_address(source), ip_network(remote)) for source, remote in entry["pairs"]),
        keys=frozenset(map(str, entry.get("keys", ()))),  # not in a record of the first release
        sas={
            int(unique_id): SaPrint(str(ike), {child: _child(*fields) for child, fields in children.items()})
            for unique_id, (ike, children) in entry["sas"].items()
        },
    )


def _child(unique_id: object, agreed: object, leaving: object) -> ChildPrint:
    return ChildPrint(int(str(unique_id)), str(agreed), leaving=leaving is True)
