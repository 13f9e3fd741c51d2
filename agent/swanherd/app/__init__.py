"""The composition root: the agent put together, started, reloaded, stopped, and taken away again."""

from swanherd.app.launch import run, teardown

__all__ = ["run", "teardown"]
