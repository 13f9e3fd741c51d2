"""What hostnames of endpoints mean: ``/etc/hosts``, then DNS; the last good answer stays when nobody can be asked.

Each name has a task of its own, so that a slow or dead server delays no other name, and nothing waits for any of them:
an answer is a fact. It is asked anew when its TTL is over and when the name is being called. Answers survive a restart
in a file of the state directory, since the DNS server may be behind the very tunnel.
"""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import dns.asyncresolver
import dns.exception
import dns.resolver

from swanherd.core.facts import Answer
from swanherd.core.intent import IPAddress
from swanherd.world.recordfile import replace_file

LIFETIME_S: Final = 4.0
"""For one question, retransmissions and all servers included; a good server answers in milliseconds."""

TTL_MIN_S: Final = 5.0
"""A shorter TTL (DynDNS services like 0) is asked for no more often than this, except when the name is called."""

TTL_MAX_S: Final = 3600.0
"""A longer TTL is believed for so long: a peer that moves may not have lowered it in time."""

HOSTS_AGAIN_S: Final = 10.0
"""How often ``/etc/hosts`` is read anew for a name that it has."""

RETRY_S: Final = 5.0
"""After nobody answered, or said that there is no such name."""

CALLED_AGAIN_S: Final = 2.0
"""A name that is called over and over is asked for no more often than this."""

HOSTS: Final = Path("/etc/hosts")
RESOLV_CONF: Final = Path("/etc/resolv.conf")
FILE_NAME: Final = "names.json"

Key = tuple[str, int]
"""A name and an IP family."""


@dataclass(slots=True)
class _Name:
    """One name that is watched."""

    answer: Answer | None = None
    called: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Resolver:
    """Answers by name and family. *on_change* is called on the loop with the names that mean something else now."""

    def __init__(
        self,
        *,
        state_dir: Path,
        on_change: Callable[[frozenset[str]], None],
        hosts: Path = HOSTS,
        resolv_conf: Path = RESOLV_CONF,
    ) -> None:
        self._file = state_dir / FILE_NAME
        self._on_change = on_change
        self._hosts = hosts
        self._resolv_conf = resolv_conf
        self._names: dict[Key, _Name] = {}
        self._kept = _kept(self._file)
        self._group: asyncio.TaskGroup | None = None
        self._dirty = asyncio.Event()
        self.trouble = ""

    def answer(self, name: str, family: int) -> Answer | None:
        """What *name* means in an IP family; None: nobody has ever told."""
        known = self._names.get((name, family))
        return known.answer if known is not None else None

    def watch(self, wanted: frozenset[Key]) -> None:
        """Know these names, and no others any more."""
        for key in self._names.keys() - wanted:
            task = self._names.pop(key).task
            if task is not None:
                task.cancel()
        for key in wanted - self._names.keys():
            self._names[key] = _Name(self._kept.get(key))
            self._begin(key)

    def look(self, name: str, family: int) -> None:
        """Ask for *name* anew, soon."""
        known = self._names.get((name, family))
        if known is not None:
            known.called.set()

    async def run(self) -> None:
        """Ask, for ever."""
        async with asyncio.TaskGroup() as self._group:
            for key in self._names:
                self._begin(key)
            while True:
                await self._dirty.wait()
                self._dirty.clear()
                await self._keep()

    def _begin(self, key: Key) -> None:
        known = self._names[key]
        if self._group is not None and known.task is None:
            known.task = self._group.create_task(self._follow(key, known), name=f"name {key[0]} IPv{key[1]}")

    async def _follow(self, key: Key, known: _Name) -> None:
        while True:
            pause_s = await self._ask(key, known)
            await asyncio.sleep(min(pause_s, CALLED_AGAIN_S))
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, pause_s - CALLED_AGAIN_S)):
                    await known.called.wait()
            known.called.clear()

    async def _ask(self, key: Key, known: _Name) -> float:
        """Ask once; how long the answer is good for, in seconds."""
        name, family = key
        found = await asyncio.to_thread(_in_hosts, self._hosts, name, family)
        if found:
            self._take(key, known, Answer(found, "hosts"))
            return HOSTS_AGAIN_S
        try:
            resolver = await asyncio.to_thread(_resolver, self._resolv_conf)
            reply = await resolver.resolve(name, "A" if family == 4 else "AAAA", lifetime=LIFETIME_S, search=False)
        except (dns.exception.DNSException, OSError, ValueError) as error:
            why = str(error) or type(error).__name__
            if known.answer is not None:
                self._take(key, known, replace(known.answer, trouble=why))
            else:
                self._take(key, known, Answer(frozenset(), "dns", why))
            return RETRY_S
        addresses: frozenset[IPAddress] = frozenset(ip_address(record.address) for record in reply)
        self._take(key, known, Answer(addresses, "dns"))
        return min(max(float(reply.rrset.ttl if reply.rrset is not None else 0.0), TTL_MIN_S), TTL_MAX_S)

    def _take(self, key: Key, known: _Name, answer: Answer) -> None:
        before, known.answer = known.answer, answer
        if self._names.get(key) is not known or answer == before:
            return
        if before is None or before.addresses != answer.addresses:
            self._dirty.set()
        self._on_change(frozenset((key[0],)))

    async def _keep(self) -> None:
        """Write down what is known; that it cannot be is told in ``trouble``, and stops nothing."""
        self._kept |= {
            key: known.answer for key, known in self._names.items() if known.answer and known.answer.addresses
        }
        document = {
            f"{name}/{family}": sorted(map(str, answer.addresses))
            for (name, family), answer in self._kept.items()
            if (name, family) in self._names
        }
        try:
            await asyncio.to_thread(replace_file, self._file, json.dumps(document), durable=False)
            self.trouble = ""
        except OSError as error:
            self.trouble = f"answers cannot be kept: {error}"


def _kept(file: Path) -> dict[Key, Answer]:
    """The answers of an earlier run; a file that is missing or broken has none."""
    found: dict[Key, Answer] = {}
    with suppress(OSError, ValueError, TypeError, AttributeError):
        for key, addresses in json.loads(file.read_text()).items():
            name, _, family = key.rpartition("/")
            found[name, int(family)] = Answer(frozenset(map(ip_address, addresses)), "kept")
    return found


def _in_hosts(file: Path, name: str, family: int) -> frozenset[IPAddress]:
    """What ``/etc/hosts`` (hosts(5)) says."""
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        return frozenset()
    found: set[IPAddress] = set()
    for line in lines:
        address, *names = line.partition("#")[0].split() or [""]
        if name in {each.lower().removesuffix(".") for each in names}:
            with suppress(ValueError):
                ip = ip_address(address)
                found |= {ip} if ip.version == family else set()
    return frozenset(found)


def _resolver(resolv_conf: Path) -> dns.asyncresolver.Resolver:
    """Made anew for each question: the file changes with every DHCP lease."""
    return dns.asyncresolver.Resolver(str(resolv_conf), configure=True)
