"""How a process becomes the agent, and how everything of the agent's is taken away again."""

import asyncio
import contextlib
from pathlib import Path
from typing import Final

from swanherd.app.agent import Agent
from swanherd.app.reloading import keep_last_good
from swanherd.core.facts import Known
from swanherd.report import logs
from swanherd.report.http import ListenError
from swanherd.runtime.garbage import SURVIVORS
from swanherd.runtime.teardown import Removal
from swanherd.runtime.teardown import teardown as remove_all
from swanherd.runtime.turns import TimedLoop
from swanherd.settings import Options, Settings, load_or_last_good
from swanherd.world.charon import Charon
from swanherd.world.firewall import Firewall, OpeningRules
from swanherd.world.links import Links
from swanherd.world.recordfile import RecordFile
from swanherd.world.xfrm import KernelIpsec

FIRST_READ_S: Final = 3.0
"""How long teardown waits for a charon that may not run."""

DEFAULT_STATE_DIR: Final = Path(Options().state_dir)


def _make_directories(options: Options) -> None:
    """Under systemd they are there (RuntimeDirectory=, StateDirectory=); without it nobody else makes them."""
    for directory, mode in ((options.runtime_dir, 0o755), (options.state_dir, 0o700)):
        try:
            Path(directory).mkdir(mode=mode, parents=True, exist_ok=True)
        except OSError as error:
            logs.get("agent").error("cannot make a directory", path=directory, error=str(error))


def run(path: Path) -> int:
    """Run the agent on the settings at *path* until it is stopped; the exit status for the shell.

    Raises SettingsError if the settings are broken and there are no last good ones either.
    """
    settings, stale = load_or_last_good(path, DEFAULT_STATE_DIR)
    logs.setup(settings.options.log_level, settings.options.log_format)
    why = "" if stale is None else "\n".join(map(str, stale.problems))
    _make_directories(settings.options)
    if why:
        logs.get("agent").error("the settings are broken; the last good ones are in force", problems=why)
    else:
        keep_last_good(settings)
    SURVIVORS.keep()
    with asyncio.Runner(loop_factory=TimedLoop) as runner:
        return runner.run(_run(path, settings, why))


async def _run(path: Path, settings: Settings, stale: str) -> int:
    try:
        await Agent(path, settings, stale=stale).run()
    except ListenError as error:
        logs.get("agent").error("cannot start", error=str(error))
        return 1
    return 0


def teardown(*, vici_socket: str, runtime_dir: Path, state_dir: Path) -> list[str]:
    """Remove everything of swanherd's; what could not be removed, one line each (see ``runtime.teardown``)."""
    removals = asyncio.run(_teardown(vici_socket, RecordFile(runtime_dir=runtime_dir, state_dir=state_dir)))
    return [f"{removal.what}: {removal.detail}" for removal in removals if not removal.done]


async def _teardown(vici_socket: str, record_file: RecordFile) -> list[Removal]:
    read = asyncio.Event()

    def look(_names: frozenset[str] | None) -> None:
        # Not at the first word of all, which is that nothing is read yet.
        if isinstance(charon.state, Known) or charon.state.why == "gone":
            read.set()

    charon = Charon(socket_path=vici_socket, on_change=look)
    watching = asyncio.create_task(charon.run(), name="charon")
    try:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(read.wait(), FIRST_READ_S)
        return await remove_all(
            charon=charon,
            firewall=Firewall(on_change=lambda: None),
            kernel=KernelIpsec(),
            openings=OpeningRules(),
            links=Links(),
            record_file=record_file,
        )
    finally:
        watching.cancel()
        await asyncio.wait([watching])
        await charon.close()
