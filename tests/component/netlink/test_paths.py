"""The route to one address as a fact: what rules and tables say, and that it is told when they say otherwise."""

import asyncio
import os
import resource
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from ipaddress import ip_address
from pathlib import Path as File
from typing import Final

import pytest

from swanherd.core.facts import Known, Path, Unknown
from swanherd.core.intent import IPAddress
from swanherd.world.netlink import PathSource

from .test_routes import TWO
from .watched import DEADLINE_S, PAIR, ip

pytestmark = pytest.mark.usefixtures("namespace")

FAR: Final = ip_address("192.0.2.20")
FAR_6: Final = ip_address("2001:db8:9::20")
NEVER_S: Final = 600.0
"""``ask_again_s`` of a test about what is told."""
BY_BOTH: Final = (
    *(PAIR[:1] + TWO[len(PAIR) : len(PAIR) + 1]),
    *(f"link set {device} addrgenmode none up" for device in ("wan", "far", "lte", "far2")),
    *TWO[len(PAIR) + 3 :],
    "route add default via 203.0.113.1 metric 100",
    "route add default via 198.51.100.1 metric 200",
    "route add ::/0 via 2001:db8:1::1 metric 100",
    "route add default via 198.51.100.1 table 100",
    "route add ::/0 via 2001:db8:2::1 table 100",
)
"""Default routes by wan, and a table that leads by lte, which no rule asks. Nobody gives these devices addresses by and
by, so that no event comes but those that a test makes."""
MAIN: Final = 254
AT_REST: Final = 3
"""Questions about one address until nothing is left to ask: the first, one on the socket, one a moment later."""


class Asked:
    """A running source, and what it told."""

    def __init__(self, ask_again_s: float) -> None:
        self.told: list[frozenset[IPAddress]] = []
        self.source = PathSource(on_change=self.told.append, ask_again_s=ask_again_s)

    def way(self, to: IPAddress = FAR) -> tuple[str | None, int]:
        """Device and table; the kernel must be known."""
        state = self.source.path(to)
        assert isinstance(state, Known), state
        assert state.value.to == to
        return state.value.device, state.value.table

    async def at_rest(self) -> None:
        """Wait until the source listens, and knows what there is: it has asked again after it began to."""
        await self._until(lambda: self.source.questions >= AT_REST, "it never came to rest")

    async def until_told(self, change: Callable[[], None], to: IPAddress = FAR) -> None:
        """Make *change*, and wait until it is told that another way leads to *to*; nobody asks meanwhile."""
        self.told.clear()
        change()
        await self._until(lambda: any(to in told for told in self.told), f"never told; {self.told}")

    @staticmethod
    async def _until(condition: Callable[[], bool], otherwise: str) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + DEADLINE_S
        while not condition():
            assert loop.time() < deadline, otherwise
            await asyncio.sleep(0.002)


@asynccontextmanager
async def asking(ask_again_s: float = NEVER_S) -> AsyncIterator[Asked]:
    """A source that runs."""
    asked = Asked(ask_again_s)
    running = asyncio.create_task(asked.source.run())
    try:
        yield asked
        assert not running.done(), running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def rule(action: str, to: IPAddress) -> None:
    """The rule that sends what is for *to* by table 100; `ip -batch` takes its family from the command line alone."""
    subprocess.run(["ip", f"-{to.version}", "rule", action, "to", str(to), "lookup", "100"], check=True)


@pytest.mark.parametrize("to", [FAR, FAR_6], ids=["IPv4", "IPv6"])
async def test_a_rule_decides_and_is_told(to: IPAddress) -> None:
    """A rule sends one address elsewhere: told, with the table that said so; the rule goes: told.

    Broken by: no rule groups in ``_PATH_GROUPS``; ``path_request`` without ``RTM_F_LOOKUP_TABLE``.
    """
    ip(*BY_BOTH)
    async with asking() as asked:
        assert asked.way(to) == ("wan", MAIN)
        await asked.at_rest()
        await asked.until_told(lambda: rule("add", to), to)
        assert asked.way(to) == ("lte", 100)
        await asked.until_told(lambda: rule("del", to), to)
        assert asked.way(to) == ("wan", MAIN)


async def test_a_route_in_whatever_table_is_told() -> None:
    """A more specific one in the main table, another one in a table that a rule asks, and a nexthop that changes.

    Broken by: ``open_hints`` that keeps default routes of the main table only; a follower that never hears again.
    """
    ip(*BY_BOTH, "nexthop add id 7 via 203.0.113.1 dev wan")
    async with asking() as asked:
        assert asked.way() == ("wan", MAIN)
        await asked.at_rest()
        await asked.until_told(lambda: ip("route add 192.0.2.0/24 via 198.51.100.1"))
        assert asked.way() == ("lte", MAIN)
        await asked.until_told(lambda: ip("route add 192.0.2.20 nhid 7"))
        assert asked.way() == ("wan", MAIN)
        await asked.until_told(lambda: ip("nexthop replace id 7 via 198.51.100.1 dev lte"))
        assert asked.way() == ("lte", MAIN)
        ip("rule add to 192.0.2.20 lookup 100")
        assert asked.way()[0] == "lte"
        await asked.until_told(lambda: ip("route replace default via 203.0.113.1 table 100"))
        assert asked.way() == ("wan", 100)


@pytest.mark.parametrize("kind", ["unreachable", "prohibit", "blackhole"])
async def test_a_route_that_rejects_leads_nowhere(kind: str) -> None:
    """IPv4 and IPv6: nowhere is an answer, not a failure; so is no route at all.

    Broken by: ``_NOWHERE`` without one of its words.
    """
    ip(*BY_BOTH)
    ip(f"route add {kind} 192.0.2.20", f"route add {kind} {FAR_6} metric 1")
    async with asking() as asked:
        assert (asked.way()[0], asked.way(FAR_6)[0]) == (None, None)
        ip("route del default via 203.0.113.1 metric 100", "route del default via 198.51.100.1 metric 200")
        assert asked.way(ip_address("192.0.2.21"))[0] is None


async def test_the_answer_that_is_read_is_never_yesterdays() -> None:
    """After ``look``, whoever reads gets what the kernel says then, before any task has run.

    Broken by: ``look`` that only wakes the follower.
    """
    ip(*BY_BOTH)
    source = PathSource(on_change=lambda _: None)
    before = source.path(FAR)
    ip("rule add to 192.0.2.20 lookup 100")
    assert source.path(FAR) is before
    source.look()
    after = source.path(FAR)
    assert isinstance(after, Known)
    assert after.value == Path(FAR, "lte", 100)


async def test_who_shares_the_endpoint_is_told_too() -> None:
    """One reads and finds another way: the others, who did not ask, are told.

    Broken by: ``path`` without ``on_change``.
    """
    ip(*BY_BOTH)
    told: list[frozenset[IPAddress]] = []
    source = PathSource(on_change=told.append)
    source.path(FAR)
    ip("rule add to 192.0.2.20 lookup 100")
    source.look()
    source.path(FAR)
    assert told == [{FAR}]


async def test_what_is_told_nowhere_is_found_by_asking_again() -> None:
    """A sysctl makes the kernel pass over a route whose link is dead: no event says so, and it is found.

    Broken by: no timeout in ``_follow``.
    """
    ip(*BY_BOTH, "link set far down")
    async with asking(ask_again_s=0.2) as asked:
        assert asked.way() == ("wan", MAIN)
        await asked.at_rest()
        every = File("/proc/sys/net/ipv4/conf/all/ignore_routes_with_linkdown")
        await asked.until_told(lambda: _write(every, "1"))
        assert asked.way() == ("lte", MAIN)


async def test_a_storm_of_routes_is_one_hint() -> None:
    """A routing daemon moves 20 000 routes: it is heard that they move, no more, and the next changes are told.

    Broken by: ``run`` that lets the overflow out.
    """
    ip(*BY_BOTH)
    async with asking() as asked:
        assert asked.way() == ("wan", MAIN)
        await asked.at_rest()
        ip(*(f"route add 10.{n >> 8}.{n & 255}.0/24 via 203.0.113.1 table 77" for n in range(20_000)))
        for action in ("add", "del"):
            await asked.until_told(lambda action=action: rule(action, FAR))  # type: ignore[misc]
        assert asked.source.questions < 20


async def test_rules_about_users_are_for_charons() -> None:
    """The agent may run as whom it likes: charon is root's, and so is the question.

    Broken by: ``path_request`` without ``_RTA_UID``.
    """
    ip(*BY_BOTH, "rule add uidrange 0-0 lookup 100")
    os.setreuid(65534, -1)
    try:
        async with asking() as asked:
            assert asked.way() == ("lte", 100)
    finally:
        os.setreuid(0, -1)


@contextmanager
def no_sockets() -> Iterator[None]:
    """No file can be opened any more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_unknown_is_not_nowhere() -> None:
    """Without a socket the answer is Unknown, with what was told last; with one it is known again.

    Broken by: ``_ask`` that takes an error for ``Path(to, None)``.
    """
    ip(*BY_BOTH)
    source = PathSource(on_change=lambda _: None)
    with no_sockets():
        never = source.path(FAR)
        assert isinstance(never, Unknown)
        assert never.last is None
    source.look()
    assert isinstance(source.path(FAR), Known)
    source._close()  # as after an error: what follows asks on another socket
    source.look()
    with no_sockets():
        lost = source.path(FAR)
        assert isinstance(lost, Unknown)
        assert lost.last == Path(FAR, "wan", MAIN)
    source.look()
    assert isinstance(source.path(FAR), Known)


def _write(file: File, text: str) -> None:
    file.write_text(text)
