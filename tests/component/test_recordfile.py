"""The ownership record on a real file system: written whole or not at all, private, and never in the way."""

import os
import signal
import stat
import subprocess
import sys
import time
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from swanherd.core.facts import CharonIdentity, Pair
from swanherd.core.record import ChildPrint, Entry, Record, SaPrint
from swanherd.world.recordfile import RecordFile

PAIRS = frozenset(
    {
        Pair(ip_address("192.0.2.10"), ip_network("203.0.113.20/32")),
        Pair(ip_address("2001:db8::10"), ip_network("::/0")),
    }
)
SAS = {7: SaPrint("agreed", {"net-1": ChildPrint(3, "print", leaving=True), "net-2": ChildPrint(4, "other")})}
FULL = Record(
    CharonIdentity(4711, 123456),
    {
        "alpha": Entry(frozenset({"abc.def", "abc.012"}), "swanherd-alpha", PAIRS, SAS),
        'a name with spaces, ü and "quotes"': Entry(frozenset(), "swanherd-x"),
    },
)


@pytest.fixture
def file(tmp_path: Path) -> RecordFile:
    """A record whose directories do not exist yet."""
    return RecordFile(runtime_dir=tmp_path / "run", state_dir=tmp_path / "state")


def test_what_is_written_is_read(file: RecordFile) -> None:
    """Every field survives, of both families, with the prints of live SAs."""
    file.write(FULL)
    assert file.read() == (FULL, "")


def test_what_changed_and_what_left_is_written_anew(file: RecordFile) -> None:
    """The text of an entry is kept only while it is the very same. Broken by: keeping it by name."""
    file.write(FULL)
    name, entry = next(iter(FULL.entries.items()))
    changed = Record(FULL.charon, {name: replace(entry, shared_id="another"), "new": entry})
    file.write(changed)
    assert file.read() == (changed, "")
    file.write(FULL)
    assert file.read() == (FULL, "")


def test_no_record_is_an_empty_one(file: RecordFile) -> None:
    """The first start is no trouble."""
    assert file.read() == (Record(), "")


def test_a_reboot_leaves_the_copy(file: RecordFile) -> None:
    """The runtime directory is gone, the state directory is not."""
    file.write(FULL)
    file.path.unlink()
    assert file.read() == (FULL, "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "7",
        "{}",
        '{"format": 99, "charon": null, "entries": {}}',
        '{"format": 1, "charon": [1], "entries": {}}',
        '{"format": 1, "charon": null, "entries": []}',
        '{"format": 1, "charon": null, "entries": {"alpha": {}}}',
        '{"format": 1, "charon": null, "entries": {"alpha": {"digests": [], "shared_id": "x", "pairs": [["y", "z"]]}}}',
        '{"format": 1, "charon": null, "entries": {"alpha": {"digests": 5, "shared_id": "x", "pairs": [], "sas": {}}}}',
        '{"format": 1, "charon": null, "entries": {"a": {"digests": [], "shared_id": "x", "pairs": [], "sas": []}}}',
        "\x00" * 4096,
        "\udcff",
    ],
)
def test_a_broken_record_is_told_and_the_copy_is_used(file: RecordFile, text: str) -> None:
    """Whatever is in the file, the agent starts; what was wrong is said with the file's name."""
    file.write(FULL)
    file.path.write_bytes(text.encode(errors="surrogateescape"))
    record, trouble = file.read()
    assert record == FULL
    assert str(file.path) in trouble


def test_both_broken_is_an_empty_record_and_is_told(file: RecordFile) -> None:
    """What is loaded like the settings is ours all the same."""
    file.write(FULL)
    file.path.write_text("{")
    file.copy.write_text("{")
    record, trouble = file.read()
    assert record == Record()
    assert trouble


def test_nobody_else_can_read_it(file: RecordFile) -> None:
    """Mode 0600 for both, whatever the umask was, and also over a file that was open to all."""
    old = os.umask(0)
    try:
        file.write(FULL)
        file.path.chmod(0o666)
        file.write(FULL)
    finally:
        os.umask(old)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (file.path, file.copy)] == [0o600, 0o600]
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o750


def test_a_left_over_of_a_killed_write_is_no_hindrance(file: RecordFile) -> None:
    """The new file of a run that was killed is replaced, though it was open to all."""
    file.path.parent.mkdir(parents=True)
    left = file.path.with_suffix(".new")
    left.write_text("half a rec")
    left.chmod(0o666)
    file.write(FULL)
    assert file.read() == (FULL, "")
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600


def test_a_copy_that_cannot_be_written_stops_nothing(file: RecordFile) -> None:
    """A full or read-only state directory delays no takeover; the file itself is written."""
    file.copy.parent.parent.joinpath("state").write_text("not a directory")
    file.write(FULL)
    assert file.read() == (FULL, "")


def test_a_record_that_cannot_be_written_is_an_error(file: RecordFile) -> None:
    """Nothing may be loaded then, so the caller must know."""
    file.path.parent.write_text("not a directory")
    with pytest.raises(OSError, match="run"):
        file.write(FULL)


def test_removing_twice_is_fine(file: RecordFile) -> None:
    """Neither the file nor the copy is left, and a second time finds nothing."""
    file.write(FULL)
    file.remove()
    file.remove()
    assert not file.path.exists()
    assert not file.copy.exists()
    assert file.read() == (Record(), "")


WRITER = """
import sys
from pathlib import Path
from swanherd.core.record import Entry, Record
from swanherd.world.recordfile import RecordFile

file = RecordFile(runtime_dir=Path(sys.argv[1]), state_dir=Path(sys.argv[2]))
number = 0
while True:
    number += 1
    file.write(Record(None, {f"c{index}": Entry(frozenset({str(number)}), "x") for index in range(500)}))
"""


def test_killed_while_writing_it_is_whole(tmp_path: Path) -> None:
    """Wherever kill -9 hits a write, what is then read is one of the records that were written, of both files."""
    for round_number in range(6):
        run, state = tmp_path / f"run{round_number}", tmp_path / f"state{round_number}"
        with subprocess.Popen([sys.executable, "-c", WRITER, str(run), str(state)]) as writer:
            file = RecordFile(runtime_dir=run, state_dir=state)
            deadline = time.monotonic() + 10
            while not file.copy.exists():
                assert time.monotonic() < deadline
                time.sleep(0.001)
            time.sleep(0.002 * round_number)
            writer.send_signal(signal.SIGKILL)
        for path in (file.path, file.copy):
            record, trouble = RecordFile(runtime_dir=path.parent, state_dir=tmp_path / "nowhere").read()
            assert trouble == ""
            assert len({tuple(entry.digests) for entry in record.entries.values()}) == 1
            assert len(record.entries) == 500
