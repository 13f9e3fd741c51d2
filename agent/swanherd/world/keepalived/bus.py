"""One connection to the message bus, and keepalived on it. dbus-fast stops here.

A connection that is lost is never used again: its file descriptor's number may be another's by then. No call has a
deadline of its own: who calls says how long it may take, and what a late answer means.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self

from dbus_fast import BusType, Message, MessageFlag, MessageType, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.errors import DBusFastError, InvalidAddressError

from swanherd.core.evidence import VrrpState

SERVICE: Final = "org.keepalived.Vrrp1"
INSTANCES: Final = "/org/keepalived/Vrrp1/Instance"
"""Below it: device (with what a path cannot have as ``_``), VRID, ``IPv4`` or ``IPv6``."""
INSTANCE_INTERFACE: Final = "org.keepalived.Vrrp1.Instance"
PROPERTIES: Final = "org.freedesktop.DBus.Properties"
BUS: Final = "org.freedesktop.DBus"
BUS_PATH: Final = "/org/freedesktop/DBus"

OPEN_S: Final = 2.0
"""For the whole of connecting and subscribing, which takes 2 ms: a socket that accepts and says nothing is no bus."""

RULES: Final = (
    f"type='signal',interface='{INSTANCE_INTERFACE}'",
    f"type='signal',interface='{SERVICE}.Vrrp'",
    f"type='signal',sender='{BUS}',interface='{BUS}',member='NameOwnerChanged',arg0='{SERVICE}'",
)
"""By interface: a rule with keepalived as the sender does not match its first signal, sent before it has the name."""

STATES: Final = {1: VrrpState.BACKUP, 2: VrrpState.MASTER, 3: VrrpState.FAULT}
"""keepalived's numbers. It also says 0 (before its first state) and 98 (while it stops); there may be more."""

_NODE: Final = re.compile(r'<node name="([^"]+)"')
_NO_OBJECT: Final = frozenset(
    f"{BUS}.Error.{name}" for name in ("UnknownMethod", "UnknownObject", "UnknownInterface", "UnknownProperty")
)
_NO_OWNER: Final = frozenset(
    f"{BUS}.Error.{name}" for name in ("ServiceUnknown", "NameHasNoOwner", "NoReply", "Disconnected")
)


class BusGoneError(Exception):
    """There is no bus, or the connection to it is lost. Open another one."""


class OwnerGoneError(Exception):
    """keepalived left the bus before it answered."""


class NoObjectError(Exception):
    """keepalived has no such instance (any more)."""


class RefusedError(Exception):
    """The bus or keepalived does not let us ask; its own words."""


class Place(NamedTuple):
    """Where an instance's object is, and what the path says of it."""

    path: str
    device: str
    """As in the path: what is no letter or digit is ``_``."""
    vrid: int
    family: int


@dataclass(frozen=True, slots=True)
class Reading:
    """What keepalived said of one instance."""

    name: str
    state: VrrpState


def device_in_path(device: str) -> str:
    """The name of *device* as keepalived writes it in a path."""
    return re.sub(r"[^A-Za-z0-9]", "_", device)


class Bus:
    """A connection, subscribed to keepalived's signals and comings and goings."""

    def __init__(self, bus: MessageBus, *, on_signal: Callable[[], None], on_owner: Callable[[str], None]) -> None:
        self._bus = bus
        self._on_signal = on_signal
        self._on_owner = on_owner
        self._lost: asyncio.Future[None] = asyncio.ensure_future(bus.wait_for_disconnect())  # type: ignore[no-untyped-call]  # the library's
        self._lost.add_done_callback(_heed)
        self.owner = ""
        """keepalived's own name on the bus; empty: it is not there."""

    @classmethod
    async def open(cls, address: str | None, *, on_signal: Callable[[], None], on_owner: Callable[[str], None]) -> Self:
        """Connect, subscribe, then ask who is there. *address*: None for the system bus. Raises BusGoneError.

        *on_signal* is called for each signal of keepalived's, *on_owner* when keepalived came or left, both on the
        loop and before any answer that was read later is returned.
        """
        try:
            bus = MessageBus(address, BusType.SYSTEM)
        except InvalidAddressError as error:
            raise BusGoneError(str(error)) from error
        try:
            async with asyncio.timeout(OPEN_S):
                await bus.connect()
        except (OSError, EOFError, ValueError, DBusFastError) as error:  # a TimeoutError is an OSError
            raise BusGoneError(str(error)) from error
        self = cls(bus, on_signal=on_signal, on_owner=on_owner)
        try:
            async with asyncio.timeout(OPEN_S):
                await self._subscribe()
        except BaseException as error:
            self.close()
            if isinstance(error, TimeoutError | RefusedError | OwnerGoneError):
                raise BusGoneError(str(error)) from error
            raise
        return self

    @property
    def lost(self) -> bool:
        """Whether the connection has ended."""
        return self._lost.done()

    def when_lost(self, then: Callable[[], None]) -> None:
        """Have *then* called once when the connection ends."""
        self._lost.add_done_callback(lambda _: then())

    def close(self) -> None:
        """End the connection; calls under way raise BusGoneError."""
        if not self._lost.done():
            self._bus.disconnect()

    async def ping(self) -> None:
        """Return as soon as the bus itself answers."""
        await self._call(BUS, BUS_PATH, BUS, "GetId")

    async def places(self) -> list[Place]:
        """Every instance that keepalived has now."""
        found = []
        for device in await self._children(INSTANCES):
            for vrid in await self._children(f"{INSTANCES}/{device}"):
                for version in await self._children(f"{INSTANCES}/{device}/{vrid}"):
                    if vrid.isdecimal() and version in {"IPv4", "IPv6"}:
                        path = f"{INSTANCES}/{device}/{vrid}/{version}"
                        found.append(Place(path, device, int(vrid), int(version[-1])))
        return found

    async def read(self, path: str) -> Reading:
        """What the instance at *path* says."""
        (values,) = await self._call(self.owner, path, PROPERTIES, "GetAll", INSTANCE_INTERFACE)
        state = _plain(values.get("State"))
        # (number, name): only the number is the same in all versions.
        number = state[0] if isinstance(state, list | tuple) and state else 0
        return Reading(str(_plain(values.get("Name"))), STATES.get(number, VrrpState.OTHER))

    async def _children(self, path: str) -> list[str]:
        (text,) = await self._call(self.owner, path, f"{BUS}.Introspectable", "Introspect")
        return _NODE.findall(text)

    async def _subscribe(self) -> None:
        self._bus.add_message_handler(self._hear)
        for rule in RULES:
            await self._call(BUS, BUS_PATH, BUS, "AddMatch", rule)
        try:
            (self.owner,) = await self._call(BUS, BUS_PATH, BUS, "GetNameOwner", SERVICE)
        except OwnerGoneError:
            self.owner = ""

    def _hear(self, message: Message) -> None:
        if message.message_type is not MessageType.SIGNAL:
            return
        if message.member == "NameOwnerChanged" and message.sender == BUS:
            if message.body[:1] == [SERVICE]:
                self.owner = str(message.body[2])
                self._on_owner(self.owner)
        elif (message.interface or "").startswith(SERVICE):
            self._on_signal()

    async def _call(self, destination: str, path: str, interface: str, member: str, *arguments: str) -> list[Any]:
        """One call; BusGoneError, OwnerGoneError, NoObjectError or RefusedError where it cannot be answered."""
        if self.lost:
            raise BusGoneError("connection lost")
        if not destination:
            raise OwnerGoneError
        message = Message(
            destination=destination,
            path=path,
            interface=interface,
            member=member,
            signature="s" * len(arguments),
            body=list(arguments),
            flags=MessageFlag.NO_AUTOSTART,
        )
        try:
            reply = await self._bus.call(message)
        except (OSError, EOFError, ValueError, RuntimeError, DBusFastError) as error:
            raise BusGoneError(str(error)) from error
        if reply is None:  # the connection was closed by ourselves
            raise BusGoneError("closed")
        if reply.message_type is MessageType.ERROR:
            raise _error(str(reply.error_name), reply.body)
        return list(reply.body)


def _error(name: str, body: list[Any]) -> Exception:
    if name in _NO_OBJECT:
        return NoObjectError(name)
    if name in _NO_OWNER:
        return OwnerGoneError(name)
    return RefusedError(f"{name}: {body[0] if body else ''}")


def _plain(value: Any) -> Any:  # noqa: ANN401  # a variant holds anything
    """What is in a variant. keepalived 2.2.7 wraps each property once more: a struct of one."""
    while isinstance(value, Variant):
        value = value.value
    if isinstance(value, list | tuple) and len(value) == 1:
        return value[0]
    return value


def _heed(ended: asyncio.Future[None]) -> None:
    """However a connection ends, it only has ended: nobody is to be told of an exception that nobody asked for."""
    if not ended.cancelled():
        ended.exception()
