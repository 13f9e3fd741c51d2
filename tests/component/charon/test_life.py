"""A connection's life through the adapter, against real charons."""

import asyncio
import subprocess
import sys
from dataclasses import replace

import pytest

from swanherd.core.facts import CharonConnection, CharonIdentity, Known
from swanherd.core.words import Start
from swanherd.world.charon import CharonGone, CharonRefused
from tests.component.charon.agents import VERSION, running
from tests.component.charon.sites import Site, connection
from tests.lab.waiting import wait_until

UNKNOWN_VERSION = "?"
"""Of a secret that another run of the agent loaded."""


async def test_up_and_gone_again(sites: tuple[Site, Site]) -> None:
    """Loaded and initiated, a child comes up at both ends; released in a fence's order, nothing is left."""
    left, right = sites
    ours, theirs = connection(left, right), connection(right, left)
    async with running(left.socket_path) as here, running(right.socket_path) as there:
        await here.load(ours, left)
        await there.load(theirs, right)
        assert here.here().config == here.charon.expected(ours, left.ip)
        assert here.here().secret == VERSION
        await here.charon.initiate(ours, ours.children[0])
        await here.until(here.up, "up here")
        await there.until(there.up, "up there")
        (sa,) = here.here().sas
        assert (sa.local, sa.remote, sa.initiator, sa.established) == (left.ip, right.ip, True, True)
        assert not there.here().sas[0].initiator

        await here.charon.unload("office", urgent=True)
        await here.charon.terminate("office", urgent=True)
        found = await here.charon.read("office")
        assert found.empty
        assert found.secret == VERSION
        await there.until(lambda: not there.here().sas, "gone there")
        await here.charon.unload_secret(ours.shared_id)
        assert here.here() == CharonConnection()
        assert here.charon.names() == frozenset()


async def test_no_run_of_the_agent_takes_an_sa_for_older_than_it_is(sites: tuple[Site, Site]) -> None:
    """Whenever an agent starts, it reads a start of the SA that is not before it was, nor two seconds after.

    Charon's ages are whole seconds, and what they are depends on the tenth of a second in which one asks. (Two: the
    second may change between charon's answer and our reading of it.)
    Broken by: ``_began`` taking the age from now (SAs look older than their address, and are renewed as displaced).
    """
    left, right = sites
    ours, theirs = connection(left, right), connection(right, left)
    clock = asyncio.get_running_loop().time
    async with running(left.socket_path) as here, running(right.socket_path) as there:
        await here.load(ours, left)
        await there.load(theirs, right)
        # In the second half of a second, so that most moments of one have fewer tenths than the start.
        await asyncio.to_thread(wait_until, lambda: clock() % 1 >= 0.5, "the second half", every_s=0.01)
        begun = clock()
        await here.charon.initiate(ours, ours.children[0])
        await here.until(here.up, "up here")
        up = clock()
        while clock() < up + 1:
            async with running(left.socket_path) as later:
                (sa,) = (await later.charon.read("office")).sas
            assert sa.since is not None
            assert begun <= sa.since < up + 2


async def test_what_is_not_there_is_released_already(sites: tuple[Site, Site]) -> None:
    """Each release of something that charon does not have is success."""
    left, right = sites
    async with running(left.socket_path) as here:
        await here.charon.uninstall("office", "lan", urgent=True)
        await here.charon.unload("office", urgent=True)
        await here.charon.terminate("office", urgent=True)
        await here.charon.terminate("office", unique_ids=(4, 5), urgent=True)
        await here.charon.terminate_children("office", (4,))
        await here.charon.unload_secret(connection(left, right).shared_id)
        assert (await here.charon.read("office")).empty


async def test_trap(sites: tuple[Site, Site]) -> None:
    """A trap shows as a fact as soon as it is installed, and in what is read; uninstalled it is gone from both."""
    left, right = sites
    ours = connection(left, right, start=Start.ON_DEMAND)
    async with running(left.socket_path) as here:
        await here.load(ours, left)
        await here.charon.install(ours, ours.children[0])
        assert here.here().traps == {"lan"}
        assert (await here.charon.read("office")).traps == {"lan"}
        await here.charon.uninstall("office", "lan")
        assert (await here.charon.read("office")).traps == frozenset()


async def test_one_child_of_two_closed(sites: tuple[Site, Site]) -> None:
    """A CHILD_SA is closed by its unique id; the IKE_SA and its other child stay."""
    left, right = sites
    pair = []
    for here, there in ((left, right), (right, left)):
        one = connection(here, there)
        # The same hosts, another protocol: userland ESP wants a local address within the selectors.
        more = tuple(
            replace(
                one.children[0],
                name=name,
                local_ts=(f"{here.inner}/32[{proto}]",),
                remote_ts=(f"{there.inner}/32[{proto}]",),
            )
            for name, proto in (("tcp", "6"), ("udp", "17"))
        )
        pair.append(replace(one, children=more))
    ours, theirs = pair
    async with running(left.socket_path) as agent, running(right.socket_path) as peer:
        await agent.load(ours, left)
        await peer.load(theirs, right)
        for child in ours.children:
            await agent.charon.initiate(ours, child)
        await agent.until(lambda: _children(agent.here()) == {"tcp", "udp"}, "both up")
        doomed = [child.unique_id for child in agent.here().sas[0].children if child.name == "udp"]
        await agent.charon.terminate_children("office", doomed)
        await agent.until(lambda: _children(agent.here()) == {"tcp"}, "one closed")
        assert len(agent.here().sas) == 1


def _children(here: CharonConnection) -> set[str]:
    return {child.name for sa in here.sas if sa.established for child in sa.children if child.installed}


async def test_refusals_carry_charons_words(sites: tuple[Site, Site]) -> None:
    """What charon refuses is said in its own words, and nothing is loaded."""
    left, right = sites
    async with running(left.socket_path) as here:
        broken = connection(left, right, proposals=("rot13",))
        with pytest.raises(CharonRefused, match="proposals"):
            await here.charon.load(broken, left.ip)
        ours = connection(left, right)
        await here.load(ours, left)
        with pytest.raises(CharonRefused, match="'other' not found"):
            await here.charon.initiate(ours, replace(ours.children[0], name="other"))
        assert here.charon.stats.refused == 2


async def test_secret_is_in_no_text(sites: tuple[Site, Site]) -> None:
    """Neither a refused nor a lost load-shared, nor any repr, shows the secret."""
    left, right = sites
    ours = connection(left, right)
    async with running(left.socket_path) as here:
        with pytest.raises(CharonRefused) as too_long:
            await here.charon.load_secret(ours, b"hunter2" * 10_000, VERSION)
        left.kill()
        with pytest.raises(CharonGone) as gone:
            await here.charon.load_secret(ours, b"hunter2", VERSION)
        for error in (too_long.value, gone.value):
            assert "hunter2" not in f"{error!r} {error} {error.__cause__!r} {error.__context__!r}"
        assert "hunter2" not in repr(vars(here.charon))


async def test_another_charon_has_nothing_of_ours(sites: tuple[Site, Site]) -> None:
    """A killed charon is gone at once, and nothing is believed of it; another one has a new identity and is empty."""
    left, right = sites
    ours = connection(left, right)
    async with running(left.socket_path) as here:
        await here.load(ours, left)
        assert here.charon.state == Known(CharonIdentity(left.pid, _ticks(left.pid)), since=here.charon.state.since)
        left.kill()
        assert await here.until_state("gone") < 0.5
        assert here.here() == CharonConnection()
        with pytest.raises(CharonGone):
            await here.charon.load(ours, left.ip)
        left.start()
        assert await here.until_state("known") < 0.5
        assert isinstance(here.charon.state, Known)
        assert here.charon.state.value.pid == left.pid
        assert here.here() == CharonConnection()
        await here.load(ours, left)
        assert (await here.charon.read("office")).config == here.charon.expected(ours, left.ip)


async def test_nobody_there_at_start(sites: tuple[Site, Site]) -> None:
    """Without charon the state is "gone" and calls say so; it is found when it comes."""
    left, _ = sites
    left.kill()
    async with running(left.socket_path, wait=False) as here:
        await here.until_state("gone")
        with pytest.raises(CharonGone):
            await here.charon.read("office")
        left.start()
        await here.until_state("known")


async def test_adopted_after_a_restart_of_the_agent(sites: tuple[Site, Site]) -> None:
    """Another run of the agent sees what is loaded and up; that it did not load it itself shows in the digest alone."""
    left, right = sites
    ours = connection(left, right)
    async with running(left.socket_path) as here, running(right.socket_path) as there:
        await there.load(connection(right, left), right)
        await here.load(ours, left)
        await here.charon.initiate(ours, ours.children[0])
        await here.until(here.up, "up")
        before = here.here()
    async with running(left.socket_path, wait=False) as again:
        again.charon.watch({"office"})
        await again.until_state("known")
        adopted = again.here()
        assert adopted.sas[0].unique_id == before.sas[0].unique_id
        assert again.up()
        assert adopted.secret == UNKNOWN_VERSION
        wanted = again.charon.expected(ours, left.ip)
        assert adopted.config is not None
        assert adopted.config.digest == wanted.digest.partition(".")[0] + ".?"
        await again.charon.load(ours, left.ip)
        assert again.here().config == wanted
        await asyncio.sleep(0)
        assert (await again.charon.read("office")).sas[0].unique_id == before.sas[0].unique_id


def _ticks(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123 - as the shortest way to say it
        return int(stat.read().rpartition(")")[2].split()[19])


def test_identity_of_a_charon_that_is_out_of_sight(sites: tuple[Site, Site]) -> None:
    """From a pid namespace in which charon is not visible it still has an identity, which a new charon changes."""
    left, _ = sites
    first = _identity_from_elsewhere(left)
    assert first == _identity_from_elsewhere(left)
    assert first.startswith("0 ")
    left.kill()
    left.start()
    assert _identity_from_elsewhere(left) != first


def _identity_from_elsewhere(site: Site) -> str:
    program = (
        "import socket\n"
        "from swanherd.world.charon.identity import identity_of\n"
        f"path = {site.socket_path!r}\n"
        "sock = socket.socket(socket.AF_UNIX)\n"
        "sock.connect(path)\n"
        "identity = identity_of(sock, path)\n"
        "print(identity.pid, identity.start_ticks)\n"
    )
    argv = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", program]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout
