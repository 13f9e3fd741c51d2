"""The lane of our own devices: brings them to what the latest pass wants, and looks after them now and then."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from swanherd.core.links import Link
from swanherd.report import logs

CHECK_S: Final = 10.0
"""How often the devices are looked at though nothing is wanted anew: somebody may have taken one down."""


class Devices(Protocol):
    """The kernel's devices of ours."""

    def apply(self, wanted: Mapping[str, Link], /) -> dict[str, str]:
        """Make them as wanted; what could not be done, by device. Waits for the kernel."""
        ...


class LinkLane:
    """Follows the latest wish. Nothing waits for it: an SA comes up with or without its device."""

    def __init__(self, devices: Devices, *, changed: Callable[[], None]) -> None:
        """*changed*: called when a device has come into trouble, or out of it."""
        self._devices = devices
        self._changed = changed
        self._wanted: Mapping[str, Link] | None = None
        self._due = asyncio.Event()
        self.troubles: Mapping[str, str] = {}
        """Why a device is not as it should be, by name."""

    @property
    def wanted(self) -> Mapping[str, Link]:
        """The devices that should be there, by name."""
        return self._wanted or {}

    def follow(self, wanted: Mapping[str, Link]) -> None:
        """Adopt *wanted*."""
        if wanted != self._wanted:
            self._wanted = wanted
            self._due.set()

    def look(self) -> None:
        """Devices, addresses or routes have changed: see whether ours are as they should be."""
        if self._wanted:
            self._due.set()

    async def run(self) -> None:
        """Apply the latest wish whenever it is new, and now and then."""
        while True:
            try:
                async with asyncio.timeout(CHECK_S if self._wanted else None):
                    await self._due.wait()
            except TimeoutError:
                pass
            self._due.clear()
            if self._wanted is None:
                continue
            self._tell(await asyncio.to_thread(self._devices.apply, self._wanted))

    def _tell(self, troubles: Mapping[str, str]) -> None:
        for name, why in troubles.items():
            if self.troubles.get(name) != why:
                logs.get("links").error("device is not as it should be", device=name, error=why)
        for name in self.troubles.keys() - troubles.keys():
            logs.get("links").info("the device is as it should be", device=name)
        told, self.troubles = self.troubles, troubles
        if told != troubles:
            self._changed()
