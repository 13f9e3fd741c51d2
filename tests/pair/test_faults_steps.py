"""The agent killed between every two steps of a takeover and of a fence, and what becomes of it then.

One gateway and the peer; the address comes and goes by hand, since all that a step depends on is whether it is here.
A proxy between agent and charon kills the agent at the first, second ... command that changes something, before charon
gets it or after; another round kills it at each write of the ownership record. Beside ours there are somebody else's
connection with its SA, secret and firewall table, which nothing may touch.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import count
from typing import Final

import pytest

from swanherd.cli.client import AgentError
from swanherd.cli.exits import Exit
from tests.lab.agent_conf import agent_conf, connection_table, secret_path
from tests.lab.charon import Charon, Tunnel
from tests.lab.lab import Lab
from tests.lab.loaded import Loaded, read_loaded
from tests.lab.observe.sas import IkeSa, read_sas
from tests.lab.peer import NAME, Peer, gateway_tunnel
from tests.lab.runner import Agent
from tests.lab.told import Told
from tests.lab.topology import address, vip
from tests.lab.viciproxy import PROXY, ViciProxy, When
from tests.lab.waiting import wait_until

SETTLED_S: Final = 15.0
"""Longer than any deadline in the agent after which it would try again."""
RECORD: Final = "/run/swanherd/record.json"
RECORDS: Final = (RECORD, "/var/lib/swanherd/record.json")
WAITING: Final = replace(gateway_tunnel(1), name="waiting")
THEIRS: Final = replace(
    gateway_tunnel(2), name="theirs", local_addrs=address("gw-a", "wan1"), child_options={"start_action": "start"}
)
THEIR_RULES: Final = """\
table inet theirs {
    set friends {
        type ipv4_addr
        elements = { 192.0.2.1 }
    }
    chain output {
        type filter hook output priority 0; policy accept;
        ip daddr @friends accept
    }
}
"""
TAKEOVER_STEPS: Final = 5
"""Two secrets, two connections, one handshake; a retry may add to it."""
FENCE_STEPS: Final = 4
"""Two connections to unload, and to terminate."""
WRITE_LOOK_S: Final = 0.0005
"""Between a write of the record and the first command that it allows."""
NOTHING: Final = Loaded(frozenset(), frozenset(), frozenset())
OURS_UP: Final = Loaded(
    connections=frozenset({NAME, WAITING.name}),
    secrets=frozenset({f"swanherd-{NAME}", f"swanherd-{WAITING.name}"}),
    traps=frozenset(),
)
OURS_DOWN: Final = replace(OURS_UP, connections=frozenset())


class Gateway:
    """gw-a with charon and the agent behind the proxy, the peer, and somebody else's things."""

    def __init__(self, lab: Lab, proxy: ViciProxy) -> None:
        self.host = lab.gw_a
        self.proxy = proxy
        self.charon = Charon(lab.gw_a, has_xfrm=lab.has_xfrm)
        conf = agent_conf(agent=f'vici_socket = "{PROXY}"', extra=connection_table(WAITING, 'start = "responder-only"'))
        # No keepalived here, so nobody could vouch for the address: it alone decides.
        text = conf.text.replace("advert_interval_s = 0.2", "evidence = []")
        self.agent = Agent(lab.gw_a, text, files={**conf.files, secret_path(WAITING): f"{WAITING.secret}\n"})
        self.peer = Peer(lab)
        self.theirs: tuple[Loaded, tuple[IkeSa, ...], str] = (NOTHING, (), "")

    def build(self) -> None:
        """Start everything but the agent; somebody else's tunnel is up."""
        self.peer.charon.start()
        self.peer.load(*(_mirrored(tunnel) for tunnel in (gateway_tunnel(), WAITING, THEIRS)))
        self.charon.start()
        self.charon.load(THEIRS)
        self.host.run("nft", "-f", "-", text_in=THEIR_RULES)
        wait_until(lambda: any(sa.up for sa in self.sas()), "their tunnel is up")
        self.theirs = (read_loaded(self.host), self.sas(), self.rules())
        self.agent.install()

    def sas(self) -> tuple[IkeSa, ...]:
        """What charon runs."""
        reading = read_sas(self.host.name, self.host.path("/run/charon.vici"))
        assert reading.sas is not None, reading.why
        return reading.sas

    def rules(self) -> str:
        """The firewall of others: every table that is not named as ours are."""
        tables = [line.split()[1:] for line in self.host.run("nft", "list", "tables").stdout.splitlines()]
        others = [table for table in tables if table[-1] != "swanherd"]
        return "".join(self.host.run("nft", "list", "table", *table).stdout for table in others)

    def has(self, loaded: Loaded, *, sas: int) -> bool:
        """Whether exactly *loaded* is there of ours, and so many IKE_SAs, all of them up, beside somebody else's."""
        ours = [sa for sa in self.sas() if sa.name != THEIRS.name]
        return read_loaded(self.host) - self.theirs[0] == loaded and len(ours) == sas and all(sa.up for sa in ours)

    def assert_theirs_untouched(self) -> None:
        """What is somebody else's is as it was: loaded, the very SA, the rules."""
        loaded, sas, rules = self.theirs
        assert loaded - read_loaded(self.host) == NOTHING
        assert tuple(sa for sa in self.sas() if sa.name == THEIRS.name) == sas
        assert self.rules() == rules

    def give(self) -> None:
        """The address comes."""
        self.host.run("ip", "address", "add", f"{vip('wan1')}/24", "dev", "wan1")

    def take(self) -> None:
        """The address goes."""
        self.host.run("ip", "address", "delete", f"{vip('wan1')}/24", "dev", "wan1")

    @contextmanager
    def given(self) -> Iterator[None]:
        """The address is here."""
        self.give()
        try:
            yield
        finally:
            self.take()

    def well(self) -> bool:
        """Whether the agent has nothing more to do: what it has still to send is a step too."""
        try:
            # Not the gateway as a whole: no keepalived runs here.
            return all(each["well"] for each in Told(self.agent).status()["connections"])
        except AgentError:
            return False  # killed just now

    def killed_before(self, settled: Callable[[], bool]) -> bool:
        """Wait until the proxy has killed the agent, or everything is *settled*; whether it was the first."""
        wait_until(
            lambda: not self.agent.running or (settled() and self.well()), "killed, or settled", within_s=SETTLED_S
        )
        if self.proxy.disarm():
            return False
        wait_until(lambda: not self.agent.running, "the kill has arrived")
        return True

    def wait_up(self) -> None:
        """Wait until ours is loaded and up."""
        wait_until(lambda: self.has(OURS_UP, sas=1), "up", within_s=SETTLED_S)

    def wait_down(self) -> None:
        """Wait until nothing of ours could run."""
        wait_until(lambda: self.has(OURS_DOWN, sas=0), "down", within_s=SETTLED_S)

    def tear_down(self) -> None:
        """Run the command, and see nothing of ours left."""
        done = self.host.run("python3", "-m", "swanherd", "teardown", "--vici-socket", PROXY, check=False)
        assert done.returncode == Exit.WELL, done.stdout + done.stderr
        assert self.has(NOTHING, sas=0), (read_loaded(self.host), self.sas())
        assert "swanherd" not in self.host.run("nft", "list", "ruleset").stdout
        assert not any(self.host.path(path).exists() for path in RECORDS)
        self.assert_theirs_untouched()


def _mirrored(tunnel: Tunnel) -> Tunnel:
    return Tunnel(
        name=f"gw-{tunnel.name}",
        local_addrs=tunnel.remote_addrs,
        local_id=tunnel.remote_id,
        remote_id=tunnel.local_id,
        local_ts=tunnel.remote_ts,
        remote_ts=tunnel.local_ts,
        secret=tunnel.secret,
    )


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """Everything but the agent runs; nothing of ours is there, and the address is not."""
    with Lab() as lab, ViciProxy(lab.gw_a) as proxy:
        built = Gateway(lab, proxy)
        built.build()
        yield built


def _restart(_: Gateway) -> None:
    """The service is started again; nothing else happens."""


def _lose_record(gateway: Gateway) -> None:
    """The record and its copy are gone when the service is started again."""
    for path in RECORDS:
        gateway.host.path(path).unlink(missing_ok=True)


Afterwards = Callable[[Gateway], None]
RESTARTED: Final = pytest.param(_restart, id="restarted")
RECORD_DELETED: Final = pytest.param(_lose_record, id="record-deleted")
TORN_DOWN: Final = pytest.param(Gateway.tear_down, id="torn-down")


def _everywhere(killed: Callable[[int, When], bool]) -> int:
    """Kill before the first, second ... step until there is none left to kill at, then after the last; how many."""
    steps = next(number for number in count() if not killed(number + 1, When.BEFORE))
    assert killed(steps, When.AFTER), "the last step had one more behind it"
    return steps


@pytest.mark.parametrize("afterwards", [RESTARTED, RECORD_DELETED, TORN_DOWN])
def test_agent_killed_between_two_steps_of_a_takeover(afterwards: Afterwards, gateway: Gateway) -> None:
    """Wherever a takeover is cut off, the next start finishes it; teardown leaves nothing of ours and all of theirs.

    Each takeover begins with nothing: secrets, connections and the handshake are all of it. Broken by: ``View.foreign``
    answering True whatever is loaded (restarted: name-taken); ``teardown._release`` unloading no secret (torn-down).
    """

    def killed(number: int, when: When) -> bool:
        gateway.proxy.kill_at(number, when)
        gateway.agent.launch()
        was_killed = gateway.killed_before(lambda: gateway.has(OURS_UP, sas=1))
        if was_killed:
            afterwards(gateway)
            gateway.agent.start()
        gateway.wait_up()
        gateway.assert_theirs_untouched()
        gateway.agent.stop()
        gateway.tear_down()
        return was_killed

    with gateway.given():
        assert _everywhere(killed) >= TAKEOVER_STEPS


@pytest.mark.parametrize("afterwards", [RESTARTED, RECORD_DELETED, TORN_DOWN])
def test_agent_killed_between_two_steps_of_a_fence(afterwards: Afterwards, gateway: Gateway) -> None:
    """Wherever a fence is cut off, the next start finishes it; a takeover by that agent works.

    Broken by: ``plan._release`` without ``Terminate`` (restarted, record-deleted: the SA is left);
    ``teardown._release`` without ``terminate`` (torn-down).
    """
    gateway.give()
    gateway.agent.start()
    gateway.wait_up()

    def killed(number: int, when: When) -> bool:
        gateway.proxy.kill_at(number, when)
        gateway.take()
        was_killed = gateway.killed_before(lambda: gateway.has(OURS_DOWN, sas=0))
        if was_killed:
            afterwards(gateway)
            gateway.agent.start()
        gateway.wait_down()
        gateway.assert_theirs_untouched()
        gateway.give()
        gateway.wait_up()
        return was_killed

    assert _everywhere(killed) >= FENCE_STEPS
    gateway.agent.stop()
    gateway.tear_down()
    gateway.take()


@pytest.mark.parametrize("afterwards", [RESTARTED, TORN_DOWN])
def test_agent_killed_at_a_write_of_the_record(afterwards: Afterwards, gateway: Gateway) -> None:
    """Killed as soon as the ownership record is written, for the first time, the second ..., it comes up all the same.

    Broken by: ``teardown._release`` unloading no secret (torn-down).
    """

    def killed(number: int) -> bool:
        seen: set[int] = set()

        def written() -> bool:
            with suppress(FileNotFoundError):
                seen.add(gateway.host.path(RECORD).stat().st_mtime_ns)
            return len(seen) >= number

        def done() -> bool:
            return written() or gateway.has(OURS_UP, sas=1)

        gateway.agent.launch()
        wait_until(done, "written, or up", within_s=SETTLED_S, every_s=WRITE_LOOK_S)
        was_killed = written()
        if was_killed:
            gateway.agent.kill()
            afterwards(gateway)
            gateway.agent.start()
        gateway.wait_up()
        gateway.assert_theirs_untouched()
        gateway.agent.stop()
        gateway.tear_down()
        return was_killed

    with gateway.given():
        assert next(number for number in count() if not killed(number + 1)) >= 1
