"""Hosts that boot: a Debian with systemd and stock units, in namespaces like the lab's other hosts.

Only in the private root of flavour "system". The disk of a :class:`BootedHost` outlives its power cycles; its memory
(``/run``, processes, the kernel's addresses, routes and rulesets) does not.
"""

import os
import subprocess
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.lab import topology
from tests.lab.hosts import HERE, MARK, START_TIMEOUT_S, Host
from tests.lab.lab import Lab
from tests.lab.waiting import wait_until

BOOT_S: Final = 40.0
"""A boot takes one to two seconds; this much only on a machine in trouble."""
CGROUPS: Final = Path("/sys/fs/cgroup")
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class BootedHost(Host):
    """A host whose first process is systemd. Between :meth:`ready` and :meth:`boot` it is wired; nothing runs on it."""

    def __init__(self, name: str, *, logs: Path, disk: Path, media: Path) -> None:
        super().__init__(name, logs=logs)
        self._disk = disk
        self._media = media
        self._cycle = 0
        self._unique = uuid.uuid4().hex[:8]

    def launch(self) -> None:
        """Begin to start."""
        if self._init is not None:
            raise RuntimeError(f"{self.name} is up already")
        self._cycle += 1
        for directory in (self.logs, self._disk):
            directory.mkdir(parents=True, exist_ok=True)
        flags = ("--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child=KILL")
        boot = (HERE / "boot-init", self.name, self._disk, self._cgroup)
        with self.log("boot.log").open("ab") as errors:
            self._init = subprocess.Popen(
                ["unshare", *flags, "--propagation", "private", "--", *boot],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **MARK, "SWANHERD_LAB_HOST": self.name, "SWANHERD_LAB_MEDIA": str(self._media)},
                start_new_session=True,
            )  # fmt: skip

    def boot(self) -> None:
        """Let systemd start, and wait until it has started everything."""
        assert self._init is not None
        assert self._init.stdin is not None
        self._init.stdin.write("go\n")
        self._init.stdin.flush()
        nspawn = self._pid
        self._pid = wait_until(lambda: _booting(nspawn), f"{self.name} has a first process", within_s=BOOT_S)
        self.wait_up()

    def wait_up(self) -> None:
        """Wait until the boot is over; AssertionError with the failed units if some failed."""

        def state() -> str:
            said = self.run("systemctl", "is-system-running", check=False).stdout.strip()
            return said if said in {"running", "degraded"} else ""

        if wait_until(state, f"{self.name} has booted", within_s=BOOT_S, every_s=0.05) == "degraded":
            failed = self.run("systemctl", "--failed", "--no-legend", "--plain").stdout
            raise AssertionError(f"{self.name} booted, but failed units:\n{failed}")

    def stop(self) -> None:
        """Cut the power: everything is killed with -9 at one moment."""
        if self._init is None:
            return
        init = self._init
        with suppress(ProcessLookupError, IndexError):  # it may have ended by itself
            self._pid = int(_children(init.pid)[0])  # of the namespace around, in which nspawn is the first process
        if init.stdin is not None:
            init.stdin.close()
        super().stop()
        _remove(self._cgroup)

    def shut_down(self) -> None:
        """Ask systemd to power off, and wait until it has; the devices go with the host (see :meth:`BootedLab.off`)."""
        assert self._init is not None
        self.run("systemctl", "--no-block", "poweroff")
        self._init.wait(BOOT_S)
        self._pid = 0
        self._reap()
        for pipe in (self._init.stdin, self._init.stdout):
            if pipe is not None:
                pipe.close()
        self._init = None
        _remove(self._cgroup)

    def shell(self, script: str, *, typed: str = "", check: bool = True, timeout_s: float = 120.0) -> str:
        """What a login of root prints that runs *script* in bash, stopping at the first failure."""
        env = ("env", "-i", f"PATH={PATH}", "HOME=/root", "LC_ALL=C.UTF-8", "PIP_NO_INDEX=1",
               "PIP_FIND_LINKS=/media/wheels", "PIP_DISABLE_PIP_VERSION_CHECK=1")  # fmt: skip
        bash = (*env, "bash", "-euo", "pipefail", "-c", script)
        done = self.run(*bash, check=check, text_in=typed, timeout_s=timeout_s)
        return done.stdout

    def journal(self, *options: str) -> str:
        """The journal's text, e.g. ``journal("-u", "swanherd")``."""
        return self.run("journalctl", "--no-pager", "-o", "short-precise", *options, check=False).stdout

    def unit(self, name: str, key: str) -> str:
        """One property of a unit, e.g. ``unit("swanherd", "MainPID")``."""
        return self.run("systemctl", "show", "--property", key, "--value", name).stdout.strip()

    @property
    def _cgroup(self) -> str:
        # Control groups are the machine's own: a second lab, in a private root of its own, counts its pids as we do.
        return f"swanherd-lab-{self._unique}-{self.name}-{self._cycle}"


class BootedLab(Lab):
    """A lab whose gateways boot."""

    def __init__(self) -> None:
        super().__init__()
        self.media = self.switch.logs.parent / "media"
        """A directory that the gateways have as ``/media/release``, read only: what is brought to them."""
        self.media.mkdir()
        for name in topology.GATEWAYS:
            logs = self.hosts[name].logs
            self.hosts[name] = BootedHost(name, logs=logs, disk=logs.parent / f"{name}.disk", media=self.media)

    def booted(self, name: str) -> BootedHost:
        """The gateway *name*."""
        host = self.hosts[name]
        assert isinstance(host, BootedHost)
        return host

    def shut_down(self, host: BootedHost) -> None:
        """Power off in order: its services stop while the cables are still in. :meth:`power_on` starts it again."""
        self._held[host.name] = os.open(host.netns, os.O_RDONLY | os.O_CLOEXEC)
        host.shut_down()


def _booting(nspawn: int) -> int:
    """The container's first process: the child of nspawn that is pid 1 in a namespace below nspawn's."""
    depth = len(_namespaced(nspawn))
    for child in _children(nspawn):
        pids = _namespaced(int(child))
        if len(pids) > depth and pids[-1] == "1" and Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
            return int(child)
    return 0


def _namespaced(pid: int) -> list[str]:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("NSpid:"):
                return line.split()[1:]
    return []


def _children(pid: int) -> list[str]:
    with suppress(OSError):
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return []


def _remove(cgroup: str) -> None:
    """Remove the control groups of a host that has ended; they are the one thing that no namespace takes along."""
    wait_until(lambda: _removed(cgroup), f"the control group {cgroup} to be empty", within_s=START_TIMEOUT_S)


def _removed(cgroup: str) -> bool:
    script = 'mount -t cgroup2 cgroup2 /sys/fs/cgroup && find "/sys/fs/cgroup/$1" -depth -type d -exec rmdir {} +'
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script, "sh", cgroup], capture_output=True, check=False)
    return done.returncode == 0
