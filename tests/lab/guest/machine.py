"""The machine: what QEMU is told, and the initramfs that it starts with.

Measured under emulation (no KVM) on two cores: 3-4 s from the start to the command. A virtio serial port carries what
the command prints, a 9p share its text and its exit status; the kernel's own messages go to a file.
"""

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
KERNEL: Final = Path("/boot/vmlinux")
MODULES: Final = Path("/lib/modules")
MEMORY_MB: Final = 2048
"""Three charons, two agents and the throw-away file systems of six hosts take less than half of it."""
KVM: Final = "kvm"
TCG: Final = "tcg,thread=multi"
"""QEMU emulates the processor: Python is 10 to 20 times slower."""
_DRIVERS: Final = (
    "virtio_pci", "virtio_blk", "crc32c_generic", "ext4", "overlay", "virtio_console", "9pnet_virtio", "9p",
)  # fmt: skip
"""Modules without which the guest does not find its root; it loads all others from there."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """The directory of one run; what is in it is gone with the private root."""

    path: Path

    @property
    def initramfs(self) -> Path:
        """What the kernel unpacks first."""
        return self.path / "initramfs"

    @property
    def share(self) -> Path:
        """The directory that the guest may write to."""
        return self.path / "share"

    @property
    def kernel_log(self) -> Path:
        """The guest's kernel messages."""
        return self.path / "kernel.log"

    @property
    def started(self) -> bool:
        """Whether the guest has found its root."""
        return (self.share / "started").exists()

    @property
    def status(self) -> int | None:
        """The command's exit status; None when the guest ended without one."""
        try:
            return int((self.share / "status").read_text())
        except (OSError, ValueError):
            return None

    def prepare(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Lay down what the guest reads."""
        self.share.mkdir()
        exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())
        (self.share / "command").write_text(f"{exports}exec {shlex.join(command)}\n")
        _pack(self.path / "unpacked", self.initramfs)


def accelerators() -> list[str]:
    """What to give QEMU as ``-accel``, the best first; only a boot shows whether KVM works.

    There are machines on which its device is there, makes a processor and even executes an instruction, and on which no
    guest ever boots (seen).
    """
    return [KVM, TCG] if os.access("/dev/kvm", os.R_OK | os.W_OK) else [TCG]


def qemu_argv(work: Workspace, *, disks: Iterable[Path], accelerator: str, output_fd: int) -> list[str]:
    """The command line of a machine; what the command in it prints goes to *output_fd*, which QEMU inherits."""
    return [
        "qemu-system-x86_64",
        *("-machine", "q35", "-accel", accelerator, "-cpu", "max", "-smp", "2", "-m", f"{MEMORY_MB}M"),
        *("-nodefaults", "-display", "none", "-no-reboot"),
        *("-kernel", str(KERNEL), "-initrd", str(work.initramfs)),
        # An emulated processor has no side channels worth the price; a panic ends the machine.
        *("-append", "console=ttyS0 loglevel=4 panic=-1 mitigations=off"),
        *("-serial", f"file:{work.kernel_log}"),
        *("-device", "virtio-rng-pci"),
        *("-device", "virtio-serial-pci"),
        *("-chardev", f"file,id=output,path=/proc/self/fd/{output_fd}"),
        *("-device", "virtserialport,chardev=output,name=output"),
        *(part for disk in disks for part in ("-drive", f"file={disk},format=raw,if=virtio,readonly=on")),
        *("-fsdev", f"local,id=share,path={work.share},security_model=none"),
        *("-device", "virtio-9p-pci,fsdev=share,mount_tag=share"),
    ]


def _pack(unpacked: Path, into: Path) -> None:
    version = next(MODULES.iterdir()).name
    (unpacked / "bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", unpacked / "bin")
    shutil.copy(HERE / "initramfs", unpacked / "init")
    (unpacked / "init").chmod(0o755)
    modules = _modules(version)
    for module in modules:
        shutil.copy(module, unpacked)
    (unpacked / "modules").write_text("".join(f"{module.name}\n" for module in modules))
    names = "".join(f"{path.relative_to(unpacked)}\n" for path in sorted(unpacked.rglob("*")))
    with into.open("wb") as archive:
        subprocess.run(
            ["busybox", "cpio", "-o", "-H", "newc"],
            cwd=unpacked, input=names.encode(), stdout=archive, stderr=subprocess.DEVNULL, check=True,
        )  # fmt: skip


def _modules(version: str) -> list[Path]:
    """The drivers and what they need, in the order in which they load."""
    found: dict[Path, None] = {}
    for driver in _DRIVERS:
        shown = subprocess.run(
            ["modprobe", "--set-version", version, "--show-depends", driver], capture_output=True, text=True, check=True
        )
        for line in shown.stdout.splitlines():
            verb, *rest = line.split()
            if verb == "insmod":
                found[Path(rest[0])] = None
    return list(found)
