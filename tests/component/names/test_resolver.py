"""Names of endpoints, asked of a real dnsmasq that changes its records, freezes and dies."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_address

import pytest

from swanherd.core.facts import Answer
from swanherd.world.resolver import Resolver

from .conftest import Server

NAME = "peer.example"
A, B, SIX = "192.0.2.20", "192.0.2.21", "2001:db8::20"


def answer(*addresses: str, origin: str = "dns") -> Answer:
    """An answer without trouble."""
    return Answer(frozenset(map(ip_address, addresses)), origin)


@contextlib.asynccontextmanager
async def resolving(server: Server, *names: str, family: int = 4) -> AsyncIterator[Resolver]:
    """A resolver that watches *names* (one by default)."""
    resolver = Resolver(
        state_dir=server.directory, on_change=lambda _: None, hosts=server.hosts, resolv_conf=server.resolv_conf
    )
    resolver.watch(frozenset((name, family) for name in names or (NAME,)))
    running = asyncio.create_task(resolver.run())
    try:
        yield resolver
    finally:
        running.cancel()
        await asyncio.wait([running])


async def until(condition: Callable[[], bool], *, within_s: float = 20.0) -> None:
    """Wait for *condition*."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110  # the server's side tells nothing
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("family", "address"), [(4, A), (6, SIX)])
async def test_each_record_type_is_asked_for(server: Server, family: int, address: str) -> None:
    """A for IPv4, AAAA for IPv6, and nothing of the other one in the answer.

    Broken by: asking for A whatever the family is.
    """
    server.say(f"{A} {NAME}", f"{SIX} {NAME}")
    server.start()
    async with resolving(server, family=family) as resolver:
        await until(lambda: resolver.answer(NAME, family) == answer(address))


async def test_several_records_are_one_answer(server: Server) -> None:
    """All addresses of a name, in no order: a server that rotates them changes nothing.

    Broken by: taking the first record only.
    """
    server.say(f"{A} {NAME}", f"{B} {NAME}")
    server.start()
    async with resolving(server) as resolver:
        await until(lambda: resolver.answer(NAME, 4) == answer(A, B))


async def test_hosts_comes_first(server: Server) -> None:
    """What ``/etc/hosts`` says counts, whatever DNS says, comments and upper case included.

    Broken by: asking DNS first.
    """
    server.hosts.write_text(f"# {B} {NAME}\n{A} Peer.Example peer # ours\n")
    server.say(f"{B} {NAME}")
    server.start()
    async with resolving(server) as resolver:
        await until(lambda: resolver.answer(NAME, 4) == answer(A, origin="hosts"))


async def test_it_is_asked_anew_when_its_time_is_over(server: Server) -> None:
    """A record that changes is noticed by its TTL (5 s at the least), though nobody calls the name.

    Broken by: never asking again without :meth:`Resolver.look`.
    """
    server.say(f"{A} {NAME}")
    server.start()
    async with resolving(server) as resolver:
        await until(lambda: resolver.answer(NAME, 4) == answer(A))
        server.say(f"{B} {NAME}")
        await until(lambda: resolver.answer(NAME, 4) == answer(B))


@pytest.mark.parametrize("how", ["dead", "frozen", "emptied"])
async def test_the_last_good_answer_is_kept(server: Server, how: str) -> None:
    """A server that dies, freezes or forgets the name takes no answer away; the trouble is told, and ends with it.

    Broken by: ``Resolver._ask`` taking an empty answer where it fails.
    """
    server.say(f"{A} {NAME}")
    server.start()
    async with resolving(server) as resolver:
        await until(lambda: resolver.answer(NAME, 4) == answer(A))
        {"dead": server.stop, "frozen": server.freeze, "emptied": server.say}[how]()

        def troubled() -> bool:
            resolver.look(NAME, 4)
            known = resolver.answer(NAME, 4)
            return known is not None and known.trouble != ""

        await until(troubled)
        known = resolver.answer(NAME, 4)
        assert known is not None
        assert known.addresses == answer(A).addresses
        server.stop()
        server.say(f"{B} {NAME}")
        server.start()
        await until(lambda: resolver.answer(NAME, 4) == answer(B))


async def test_an_answer_survives_a_restart_without_a_server(server: Server) -> None:
    """The last good answer of an earlier run counts at once, before anybody was asked; a broken file counts as none.

    Broken by: not writing the file.
    """
    server.say(f"{A} {NAME}")
    server.start()
    async with resolving(server):
        await until((server.directory / "names.json").exists)
    server.stop()
    async with resolving(server) as resolver:
        assert resolver.answer(NAME, 4) == answer(A, origin="kept")
    (server.directory / "names.json").write_text("[1]")
    async with resolving(server) as resolver:
        assert resolver.answer(NAME, 4) is None


async def test_a_name_that_nobody_answers_delays_no_other(server: Server) -> None:
    """While a frozen server keeps one name waiting, another one, of ``/etc/hosts``, is known at once.

    Broken by: asking one name after another.
    """
    server.say(f"{A} {NAME}")
    server.start()
    server.freeze()
    server.hosts.write_text(f"{B} other.example\n")
    async with resolving(server, NAME, "other.example") as resolver:
        await until(lambda: resolver.answer("other.example", 4) == answer(B, origin="hosts"), within_s=2)
        assert resolver.answer(NAME, 4) is None
