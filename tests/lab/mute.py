"""``python -m tests.lab.mute``: owns keepalived's name on the system bus, takes every call, and never answers one."""

import asyncio

from dbus_fast import BusType, MessageType
from dbus_fast.aio import MessageBus

from swanherd.world.keepalived.bus import SERVICE


async def main() -> None:
    """Until it is killed."""
    bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
    # True: it has been dealt with, so that the library sends no error either.
    bus.add_message_handler(lambda message: message.message_type is MessageType.METHOD_CALL or None)
    await bus.request_name(SERVICE)
    await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]  # the library's


if __name__ == "__main__":
    asyncio.run(main())
