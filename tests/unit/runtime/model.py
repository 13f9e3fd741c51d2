"""Models of the adapters, as far as the runtime uses them: facts that a test sets, and a charon that it scripts."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from swanherd.core.facts import (
    CharonConnection,
    CharonIdentity,
    ChildSa,
    IkeSa,
    Known,
    LoadedConfig,
    Network,
    Path,
    Unknown,
    Wire,
)
from swanherd.core.intent import Child, Connection, IPAddress
from tests.unit.core.charon import expected


@dataclass(slots=True)
class ModelNetwork:
    """The kernel's facts."""

    state: Known[Network] | Unknown[Network] = field(default_factory=lambda: Unknown(0.0, "not-read"))


@dataclass(slots=True)
class ModelPaths:
    """The kernel's routes to single addresses: all of them leave by one device."""

    state: Known[Path] | Unknown[Path] = field(default_factory=lambda: Unknown(0.0, "not-read"))

    def path(self, _to: IPAddress) -> Known[Path] | Unknown[Path]:
        """That one."""
        return self.state


@dataclass(slots=True)
class ModelFirewall:
    """The table's facts."""

    state: Known[Wire | None] | Unknown[Wire | None] = field(default_factory=lambda: Unknown(0.0, "not-read"))

    @property
    def remains(self) -> Wire | None:
        """What its sets hold."""
        return self.state.value if isinstance(self.state, Known) else None


@dataclass(slots=True)
class ModelCharon:
    """A charon whose calls are noted in *calls*; those in *held* wait until their event is set, as if unanswered."""

    state: Known[CharonIdentity] | Unknown[CharonIdentity] = field(
        default_factory=lambda: Known(CharonIdentity(1, 1), 0.0)
    )
    here: dict[str, CharonConnection] = field(default_factory=dict)
    calls: list[tuple[float, str, str]] = field(default_factory=list)
    """When, which call, which name."""
    held: dict[str, asyncio.Event] = field(default_factory=dict)
    """By call."""
    refusals: dict[str, Exception] = field(default_factory=dict)
    """By call: what it raises."""
    unanswered: dict[str, list[asyncio.Event]] = field(default_factory=dict)
    """By name: the calls that were held; a read waits for them."""
    watched: frozenset[str] = frozenset()
    loaded_keys: set[str] = field(default_factory=set)
    answers: bool = True
    """Whether the peer lets an initiated child come up at once."""
    looked: list[str] = field(default_factory=list)
    """The names that were looked at, in order."""

    hears: bool = True
    """Whether its log is listened to."""
    heard_before: bool = True
    """Whether what began before now is heard, once it is."""

    def hear_log(self, *, wanted: bool) -> None:
        """Note it."""
        self.hears = wanted

    def heard_since(self, _at: float) -> bool:
        """Whether it is listened to now, and was then."""
        return self.hears and self.heard_before

    def connection(self, name: str) -> CharonConnection:
        """Everything that bears *name*."""
        self.looked.append(name)
        return self.here.get(name, CharonConnection())

    def key_ids(self) -> frozenset[str]:
        """The private keys."""
        return frozenset(self.loaded_keys)

    def watch(self, names: Iterable[str]) -> None:
        """Note the names."""
        self.watched = frozenset(names)

    def expected(self, connection: Connection, source: IPAddress) -> LoadedConfig:
        """As the model of charon lists it."""
        return expected(connection, source)

    def names_of(self, call: str) -> list[str]:
        """The names that *call* was made for, in order."""
        return [name for _, made, name in self.calls if made == call]

    async def _call(self, call: str, name: str) -> None:
        self.calls.append((asyncio.get_running_loop().time(), call, name))
        if call in self.held:
            # Whoever leaves, the call stays open until it is let go.
            self.unanswered.setdefault(name, []).append(self.held[call])
            await self.held[call].wait()
        if call in self.refusals:
            raise self.refusals[call]

    async def load_secret(
        self, connection: Connection, secret: bytes, version: str, *, sources: Iterable[IPAddress] = ()
    ) -> None:
        """The secret is there."""
        del secret, sources
        await self._call("load_secret", connection.name)
        if connection.auth == "certificate":
            self.loaded_keys.add(version)
            return
        self._put(connection.name, secret=version)

    async def load(self, connection: Connection, source: IPAddress) -> None:
        """The configuration is there."""
        await self._call("load", connection.name)
        self._put(connection.name, config=expected(connection, source))

    async def install(self, connection: Connection, child: Child) -> None:
        """The trap is there."""
        await self._call("install", connection.name)
        self._put(connection.name, traps=self.connection(connection.name).traps | {child.name})

    async def initiate(self, connection: Connection, child: Child) -> None:
        """An SA with this child."""
        await self._call("initiate", connection.name)
        here = self.connection(connection.name)
        source = here.config.source if here.config is not None else None
        children = here.sas[0].children if here.sas else ()
        number = 10 + len(children)
        state = "ESTABLISHED" if self.answers else "CONNECTING"
        if self.answers:
            children = (*children, ChildSa(child.name, number, "INSTALLED"))
        now = asyncio.get_running_loop().time()
        sa = IkeSa(connection.name, 1, state, source, None, initiator=True, since=now, children=children)
        self._put(connection.name, sas=(sa,))

    async def uninstall(self, name: str, child: str, *, urgent: bool = False) -> None:
        """The trap is gone."""
        await self._call("uninstall!" if urgent else "uninstall", name)
        self._put(name, traps=self.connection(name).traps - {child})

    async def unload(self, name: str, *, urgent: bool = False) -> None:
        """The configuration is gone."""
        await self._call("unload!" if urgent else "unload", name)
        self._put(name, config=None)

    async def terminate(self, name: str, *, unique_ids: Iterable[int] | None = None, urgent: bool = False) -> None:
        """The SAs are gone."""
        await self._call("terminate!" if urgent else "terminate", name)
        gone = None if unique_ids is None else set(unique_ids)
        sas = tuple(sa for sa in self.connection(name).sas if gone is not None and sa.unique_id not in gone)
        self._put(name, sas=sas)

    async def terminate_children(self, name: str, unique_ids: Iterable[int]) -> None:
        """The CHILD_SAs are gone."""
        await self._call("terminate_children", name)
        gone = set(unique_ids)
        self._put(
            name,
            sas=tuple(
                replace(sa, children=tuple(child for child in sa.children if child.unique_id not in gone))
                for sa in self.connection(name).sas
            ),
        )

    async def unload_secret(self, shared_id: str) -> None:
        """The secret is gone."""
        name = shared_id.removeprefix("swanherd-")
        await self._call("unload_secret", name)
        self._put(name, secret=None)

    async def unload_key(self, name: str, key_id: str) -> None:
        """The key is gone."""
        await self._call("unload_key", name)
        self.loaded_keys.discard(key_id)

    async def read(self, name: str) -> CharonConnection:
        """What is here."""
        await self._call("read", name)
        for answer in self.unanswered.get(name, []):
            await answer.wait()
        return self.connection(name)

    def _put(self, name: str, **changes: object) -> None:
        # The type checker cannot follow field names; each caller above names one with its own type.
        self.here[name] = replace(self.connection(name), **changes)  # type: ignore[arg-type]
