"""Run by a test as a user that is not root: applies, fences, removes, and prints what came of it."""

import asyncio

from swanherd.core.facts import Known, Unknown
from swanherd.world.firewall import Firewall, FirewallError
from tests.component.firewall.ruleset import VIPS, WIRE


async def main() -> None:
    """Print the trouble, or what worked."""
    told = asyncio.Event()
    firewall = Firewall(on_change=told.set)
    task = asyncio.create_task(firewall.run())
    async with asyncio.timeout(5):
        await told.wait()
    try:
        await firewall.apply(WIRE)
        firewall.fence(addresses=VIPS)
    except FirewallError as error:
        assert isinstance(firewall.state, Unknown)
        print(firewall.state.why, error)
    else:
        assert isinstance(firewall.state, Known)
        print("guarded and fenced", firewall.state)
        await firewall.teardown()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


asyncio.run(main())
