"""A host of the lab: namespaces and a root of its own, in which stock daemons run at stock paths.

Only inside the private root (``tests/lab/enter``): the host's root is laid over ``/lab/tree``.
"""

import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Final

from tests.lab.namespaces import call_in, fork_in
from tests.lab.waiting import PATIENCE

HERE: Final = Path(__file__).resolve().parent
START_TIMEOUT_S: Final = 20.0 * PATIENCE
"""A host stands in 30 ms; this much only on a machine in trouble."""
RUN_TIMEOUT_S: Final = 30.0 * PATIENCE
"""No command of the lab takes so long; one that does has hung."""
NAMESPACES: Final = {"mount": "mnt", "uts": "uts", "ipc": "ipc", "net": "net"}
"""What a command in a host enters: nsenter's option, and the file of it. It is born into the pid namespace."""
MARK: Final = {"SWANHERD_LAB": "1"}
"""In the environment of every process of the lab, so that whoever looks for leftovers finds exactly those."""


class HostDownError(RuntimeError):
    """The host is powered off (or was never started)."""


class Host:
    """One machine of the lab. Its namespaces live from :meth:`start` to :meth:`stop`."""

    def __init__(self, name: str, *, logs: Path) -> None:
        self.name = name
        self.logs = logs
        """The host's ``/var/log`` as the lab sees it; outlives the host."""
        self._init: subprocess.Popen[str] | None = None
        self._pid = 0
        self._processes: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<Host {self.name} {self._pid or 'down'}>"

    # --- life ---------------------------------------------------------------------------------------------------

    def launch(self) -> None:
        """Begin to start, so that hosts start side by side; :meth:`ready` waits for the end of it."""
        if self._init is not None:
            raise RuntimeError(f"{self.name} is up already")
        self.logs.mkdir(parents=True, exist_ok=True)
        flags = ("--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child=KILL")
        # (util-linux 2.38 complains about a signal mask there whenever a host is killed; it means nothing.)
        with self.log("init.log").open("ab") as errors:
            self._init = subprocess.Popen(
                ["unshare", *flags, "--propagation", "private", "--", HERE / "host-init", self.name, self.logs],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **MARK, "SWANHERD_LAB_HOST": self.name},
                start_new_session=True,  # Ctrl-C is for the lab, which then ends its hosts in its own order
            )

    def ready(self) -> None:
        """Wait until the host stands; RuntimeError with what its first process said where it cannot."""
        if self._init is None or self._init.stdout is None:
            raise HostDownError(self.name)
        line = self._init.stdout.readline().strip()
        if not line:
            self._init.wait(START_TIMEOUT_S)
            raise RuntimeError(f"host {self.name} did not start: {self.log('init.log').read_text().strip()}")
        self._pid = int(line)

    def stop(self) -> None:
        """Kill everything in the host with -9, the first process too; its namespaces end. Nothing to do when down."""
        if self._init is None:
            return
        init, self._init, pid, self._pid = self._init, None, self._pid, 0
        if pid:
            os.kill(pid, 9)
        else:
            init.kill()
        self._reap()  # our own children in the host first: it cannot end before they are waited for
        init.wait(START_TIMEOUT_S)
        if init.stdout is not None:
            init.stdout.close()

    @property
    def up(self) -> bool:
        """Whether the host has power."""
        return self._pid != 0

    @property
    def pid(self) -> int:
        """The pid of the host's first process, as the lab sees it. Changes with every power cycle."""
        if not self._pid:
            raise HostDownError(self.name)
        return self._pid

    @property
    def netns(self) -> str:
        """The host's network namespace, for :func:`tests.lab.namespaces.socket_in`."""
        return f"/proc/{self.pid}/ns/net"

    # --- files --------------------------------------------------------------------------------------------------

    def path(self, inside: str) -> Path:
        """The host's file *inside* (absolute), as the lab can open it; for unix sockets too."""
        return Path(f"/proc/{self.pid}/root/{inside.lstrip('/')}")

    def write(self, inside: str, text: str, *, mode: int = 0o644) -> None:
        """Make the host's file *inside* hold *text*; directories on the way are made."""
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def sysctl(self, name: str, value: str) -> None:
        """Set a kernel parameter of the host's network (``net.*``); no other is the host's own."""
        if not name.startswith("net."):
            raise ValueError(f"{name} belongs to the machine, not to a lab host")
        # Not through path(): /proc/sys/net shows the opener's network namespace, whoever mounted it.
        call_in(self.netns, lambda: Path("/proc/sys", *name.split(".")).write_text(value))

    def log(self, name: str) -> Path:
        """The log file *name* of this host; there also when the host is down."""
        return self.logs / name

    # --- processes ----------------------------------------------------------------------------------------------

    def argv(self, *argv: str | os.PathLike[str]) -> list[str]:
        """The command line that runs *argv* in this host's namespaces, except its pid namespace."""
        # By file, never by --target: from 2.41 on nsenter looks that number up in its own pid namespace, which is the
        # host's here. Where nsenter itself has it there, the command runs in the lab's network instead of the host's.
        proc = f"/proc/{self.pid}"
        enter = [f"--{option}={proc}/ns/{name}" for option, name in NAMESPACES.items()]
        enter += [f"--root={proc}/root", f"--wd={proc}/cwd"]
        return ["nsenter", *enter, "--", *(os.fspath(arg) for arg in argv)]

    def spawn(
        self,
        *argv: str | os.PathLike[str],
        log: str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        stdout: int | IO[bytes] = subprocess.DEVNULL,
        stderr: int | IO[bytes] = subprocess.DEVNULL,
    ) -> subprocess.Popen[bytes]:
        """Start *argv* in the host. The answer's pid is the program's own; it ends with the host at the latest.

        *log* names a file in the host's ``/var/log`` that gets both outputs, appended.
        """
        program = self.argv(*argv)

        def start() -> subprocess.Popen[bytes]:
            # Known before anybody can stop the host, which cannot end before all our children in it are waited for.
            with self._lock, ExitStack() as files:
                sink = None if log is None else files.enter_context(self.log(log).open("ab"))
                process = subprocess.Popen(
                    program,
                    env=_environment(env),
                    stdin=stdin,
                    stdout=stdout if sink is None else sink,
                    stderr=stderr if sink is None else subprocess.STDOUT,
                    start_new_session=True,
                )
                self._processes = [known for known in self._processes if known.poll() is None]
                self._processes.append(process)
                return process

        return fork_in(f"/proc/{self.pid}/ns/pid", start)

    def run(
        self,
        *argv: str | os.PathLike[str],
        check: bool = True,
        text_in: str | None = None,
        timeout_s: float = RUN_TIMEOUT_S,
    ) -> subprocess.CompletedProcess[str]:
        """Run *argv* in the host to its end. With *check* a failure is an AssertionError with what it printed."""
        process = self.spawn(
            *argv,
            stdin=subprocess.DEVNULL if text_in is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            out, err = process.communicate(None if text_in is None else text_in.encode(), timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        done = subprocess.CompletedProcess(
            process.args, process.returncode, out.decode(errors="replace"), err.decode(errors="replace")
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{self.name}: {_line(argv)}: {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def signal_all(self, signal_name: str) -> None:
        """Send a signal to every process of the host but its first one, in one system call: nobody sees half of it."""
        self.run("sh", "-c", f"kill -{signal_name} -1")

    def kill_all(self) -> None:
        """Kill every process in the host with -9; the host itself (addresses, links, files) stays."""
        self.signal_all("KILL")
        self._reap()

    def freeze(self) -> None:
        """Stop every process of the host, as when a hypervisor pauses it; its kernel goes on (it answers ARP)."""
        self.signal_all("STOP")

    def thaw(self) -> None:
        """Let every process of the host go on."""
        self.signal_all("CONT")

    def _reap(self) -> None:
        with self._lock:
            for process in self._processes:
                process.wait(START_TIMEOUT_S)
            self._processes.clear()


def _environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    return {**os.environ, **MARK, **(extra or {})}


def _line(argv: Sequence[str | os.PathLike[str]]) -> str:
    return " ".join(os.fspath(arg) for arg in argv)
