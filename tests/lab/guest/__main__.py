"""Runs a command in a virtual machine: ``python -m tests.lab.guest [--limit-s S] -- COMMAND [ARG ...]``.

Only in the private root of flavour "kernel". What the command prints streams out; its exit status is ours. A machine
that hangs is ended after the limit (status 124); one that dies without a status says what its kernel said last (70).
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Final

from tests.lab.guest import IN_GUEST
from tests.lab.guest.disks import disks
from tests.lab.guest.machine import KVM, Workspace, accelerators, qemu_argv

LIMIT_S: Final = 2400.0
"""For one boot with all that is run in it: four minutes on two idle cores without KVM, ten where others want them."""
KVM_START_S: Final = 15.0
"""Where KVM works, a boot takes two; where it does not, the machine ends at once or spins for ever."""
PATIENCE: Final = "10"
"""Of the lab's deadlines where the processor is emulated: about as many times slower it is (``tests.lab.waiting``)."""
TOO_LONG: Final = 124
"""Exit status as of ``timeout(1)``."""
DIED: Final = 70
"""EX_SOFTWARE of ``sysexits.h``."""
TAIL_LINES: Final = 40
"""Of the kernel's log, where it has to explain something."""
_PASSED_ON: Final = ("PATH", "PYTHONPATH", "HOME", "LC_ALL", "SWANHERD_LAB", "CI")
"""Environment of the command; the rest is about the machine outside."""


def main() -> int:
    """Boot, run, and answer the exit status."""
    parser = argparse.ArgumentParser(prog="tests.lab.guest", description=__doc__)
    parser.add_argument("--limit-s", type=float, default=LIMIT_S)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    images = disks(Path(tempfile.mkdtemp(prefix="disks-")))
    for kind in accelerators():
        with tempfile.TemporaryDirectory(prefix="guest-") as directory:
            work = Workspace(Path(directory))
            environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
            environment[IN_GUEST] = "1"
            if kind != KVM:
                environment["SWANHERD_LAB_PATIENCE"] = PATIENCE
            work.prepare(options.command, environment)
            how = "with KVM" if kind == KVM else "emulated"
            _say(f"Debian's kernel, {how}; at most {options.limit_s:g} s")
            began = time.monotonic()
            end = _run(work, images, kind, options.limit_s)
            _say(f"{end.value} after {time.monotonic() - began:.0f} s")
            if end is _End.NO_START and kind == KVM:
                continue
            return _status(work, end)
    return DIED


class _End(Enum):
    """How a machine ended."""

    BY_ITSELF = "ended"
    NO_START = "no guest starts here this way:"
    LIMIT = "killed by the time limit: it hung, or the limit is too short,"


def _status(work: Workspace, end: _End) -> int:
    if work.status is not None:
        return work.status
    said = work.kernel_log.read_text(errors="replace") if work.kernel_log.exists() else ""
    _say("\n".join(["no exit status. Its kernel's last lines:", *said.splitlines()[-TAIL_LINES:]]))
    return TOO_LONG if end is _End.LIMIT else DIED


def _say(text: str) -> None:
    print(f"guest: {text}", file=sys.stderr, flush=True)


def _run(work: Workspace, images: Iterable[Path], kind: str, limit_s: float) -> _End:
    """Run the machine to its end, and forward what comes out."""
    read_end, write_end = os.pipe()
    log = (work.path / "qemu.log").open("wb")
    with log:
        machine = subprocess.Popen(
            qemu_argv(work, disks=images, accelerator=kind, output_fd=write_end),
            stdin=subprocess.DEVNULL,
            stderr=log if kind == KVM else None,  # of one that does not start, the next one is the answer
            pass_fds=(write_end,),
            start_new_session=True,  # Ctrl-C is for us; the machine is then ended below
        )
    os.close(write_end)
    forward = threading.Thread(target=_forward, args=(read_end,), name="output", daemon=True)
    forward.start()
    try:
        return _wait(machine, work, kind, limit_s)
    finally:
        machine.kill()
        machine.wait()
        forward.join()  # the pipe ends with the machine
        os.close(read_end)


def _wait(machine: subprocess.Popen[bytes], work: Workspace, kind: str, limit_s: float) -> _End:
    start_s = KVM_START_S if kind == KVM else limit_s
    with suppress(subprocess.TimeoutExpired):
        machine.wait(min(start_s, limit_s))
    if not work.started:
        return _End.NO_START if machine.poll() is not None or kind == KVM else _End.LIMIT
    try:
        machine.wait(max(0.0, limit_s - start_s))
    except subprocess.TimeoutExpired:
        return _End.LIMIT
    return _End.BY_ITSELF


def _forward(source: int) -> None:
    while piece := os.read(source, 65536):
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
