"""A process that imports the libraries that the agent imports, and serves HTTP: the least that an agent could hold.

    python -m tests.bench.bare        # ends with standard input; prints "ready"

What the agent has imported a process of its own is asked for, so that nothing of the agent is in this one.
"""

import asyncio
import importlib
import json
import subprocess
import sys
from contextlib import suppress
from typing import Final

_IMPORTED: Final = """
import json, sys
before = set(sys.modules)
import swanherd.app.launch, swanherd.cli.parser, swanherd.cli.run
print(json.dumps([name for name in sys.modules if name not in before and name.partition(".")[0] != "swanherd"]))
"""


async def _serve() -> None:
    from aiohttp import web  # noqa: PLC0415 - where the agent imports it, too

    application = web.Application()
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


def main() -> None:
    """The process."""
    said = subprocess.run([sys.executable, "-c", _IMPORTED], check=True, capture_output=True, text=True).stdout
    for name in json.loads(said):
        with suppress(ImportError):  # a library's own optional parts, which it tried
            importlib.import_module(name)
    asyncio.run(_serve())


if __name__ == "__main__":
    main()
