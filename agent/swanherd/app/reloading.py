"""New settings into force: whole or not at all, by signal or by command, one reload at a time."""

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from swanherd.report import logs
from swanherd.report.control import CommandRefusedError
from swanherd.runtime.garbage import SURVIVORS
from swanherd.settings import Settings, SettingsError, load, needs_restart, save_last_good


class Adopter(Protocol):
    """Who takes new settings into force: the agent."""

    @property
    def settings(self) -> Settings:
        """Those in force."""
        ...

    def adopt(self, settings: Settings) -> None:
        """Take *settings* into force."""

    def refuse(self, problems: str) -> None:
        """Stay with those in force, and tell people."""

    def reloading(self, *, done: bool) -> None:
        """Tell the service manager."""


class Reloader:
    """Reads the settings at *path* anew, off the loop, and hands them to the agent if they are good."""

    def __init__(self, path: Path, adopter: Adopter) -> None:
        self._path = path
        self._adopter = adopter
        self._one_at_a_time = asyncio.Lock()
        self._by_signal: asyncio.Task[None] | None = None

    def by_signal(self) -> None:
        """SIGHUP: what comes of it is told in log, status and metrics."""
        self._by_signal = asyncio.create_task(self._quietly(), name="reload")

    async def by_command(self) -> Mapping[str, Any]:
        """What has changed, for whoever asked; raises CommandRefusedError with every problem."""
        try:
            return await self._reload()
        except SettingsError as error:
            raise CommandRefusedError(*map(str, error.problems)) from error

    async def _quietly(self) -> None:
        with contextlib.suppress(SettingsError):
            await self._reload()

    async def _reload(self) -> Mapping[str, Any]:
        async with self._one_at_a_time:
            self._adopter.reloading(done=False)
            try:
                settings = await asyncio.to_thread(load, self._path)
            except SettingsError as error:
                logs.get("agent").error("reload refused; the last good settings stay in force", problems=str(error))
                self._adopter.refuse(str(error))
                raise
            else:
                return await self._take(settings)
            finally:
                self._adopter.reloading(done=True)

    async def _take(self, settings: Settings) -> Mapping[str, Any]:
        """Into force first, what is slow after that."""
        waits = list(needs_restart(self._adopter.settings, settings))
        self._adopter.adopt(settings)
        logs.setup(settings.options.log_level, settings.options.log_format)
        SURVIVORS.look_again()  # what the old settings held in cycles
        await asyncio.to_thread(keep_last_good, settings)
        connections = len(settings.intent.connections)
        logs.get("agent").info("reloaded", connections=connections, needs_restart=waits)
        return {"connections": connections, "needs_restart": waits}


def keep_last_good(settings: Settings) -> None:
    """Keep *settings* for a start with a broken file; that they cannot be kept is told, and stops nothing."""
    try:
        save_last_good(settings, Path(settings.options.state_dir))
    except OSError as error:
        logs.get("agent").error("the last good settings cannot be kept", error=str(error))
