"""Eternal tasks, each with a name: one that fails, or merely ends, stops all of them. systemd then starts afresh."""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any

from swanherd.report import logs


class TaskEndedError(Exception):
    """A task that should run for ever has returned: a bug."""


async def run_until(stop: asyncio.Event, eternal: Mapping[str, Coroutine[Any, Any, None]]) -> None:
    """Run *eternal* until *stop* is set; then cancel them. Raises what the first failing task raised, grouped."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_guarded(name, work), name=name) for name, work in eternal.items()]
        await stop.wait()
        for task in tasks:
            task.cancel()


async def _guarded(name: str, work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except asyncio.CancelledError:
        raise
    except Exception:  # said here with its name, and raised: the agent ends loudly
        logs.get("tasks").exception("task failed", task=name)
        raise
    raise TaskEndedError(name)
