"""The stream of the logs, when whoever reads it stands still."""

import os
import time
from contextlib import suppress
from pathlib import Path

from swanherd.report.outlet import PENDING_LINES, Outlet
from tests.lab.waiting import wait_until

LINE = "x" * 199 + "\n"


def test_a_reader_that_stands_still_holds_up_nobody_and_losses_are_counted() -> None:
    """A frozen journald fills its socket; writes return at once all the same, and what was dropped is said."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream, os.fdopen(reading, "rb") as reader:
        outlet = Outlet(stream)
        started = time.monotonic()
        for _ in range(PENDING_LINES * 3):
            outlet.write(LINE)
        assert time.monotonic() - started < 2, "60 000 lines into a pipe that nobody reads"
        os.set_blocking(reading, False)
        seen = bytearray()

        def said() -> bool:
            seen.extend(reader.read() or b"")
            return b"lines were dropped here" in seen

        wait_until(said, "the count of dropped lines")
        outlet.close()


def test_everything_is_written_in_order_before_the_end(tmp_path: Path) -> None:
    """A stop loses no line that the reader still takes."""
    with (tmp_path / "log").open("w") as stream:
        outlet = Outlet(stream)
        for number in range(1000):
            outlet.write(f"{number}\n")
        outlet.close()
    assert (tmp_path / "log").read_text().split() == [str(number) for number in range(1000)]


def test_a_stop_does_not_wait_for_a_frozen_reader() -> None:
    """The end of the agent does not depend on journald."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb"), os.fdopen(writing, "w") as stream:
        outlet = Outlet(stream)
        for _ in range(PENDING_LINES):
            outlet.write(LINE)
        started = time.monotonic()
        outlet.close()
        assert time.monotonic() - started < 3
        os.set_blocking(reading, False)

        def ended() -> bool:
            with suppress(BlockingIOError):  # the thread has its turn now and then only
                os.read(reading, 1 << 20)
            return not outlet._thread.is_alive()

        wait_until(ended, "the thread to end")


def test_a_stream_that_is_gone_is_no_error() -> None:
    """Whoever read the logs has died: the agent goes on."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", buffering=1) as stream:
        outlet = Outlet(stream)
        outlet.write(LINE)
        outlet.write(LINE)
        outlet.close()
        assert not outlet._thread.is_alive()
        os.dup2(os.open(os.devnull, os.O_WRONLY), writing)  # or the close of the stream complains itself
