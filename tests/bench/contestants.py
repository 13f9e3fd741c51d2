"""Who is compared: each moves the same tunnels on the same pair, at its best."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tests.bench.limit import READY, arguments
from tests.bench.site import CALLERS, Site
from tests.lab.charon import Tunnel, swanctl_conf
from tests.lab.daemon import Daemon
from tests.lab.hosts import Host
from tests.lab.keepalived import Vrrp
from tests.lab.lab import Lab
from tests.lab.pair import Pair
from tests.lab.peer import NO_LIMITS, as_seen_by_peer
from tests.lab.runner import NOTIFY_SCRIPT, Agent, NotifyScript, Runner
from tests.lab.waiting import wait_until

SCRIPTS: Final = Path(__file__).resolve().parent / "scripts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a contestant is built for."""

    site: Site
    vrrp: Vrrp
    has_xfrm: bool


class Loaded:
    """Everything is in swanctl.conf and loaded at boot, on both gateways; a notify script may do the rest."""

    def __init__(
        self,
        host: Host,
        *,
        tunnels: Iterable[Tunnel],
        script: str | None = None,
        options: Mapping[str, str] = MappingProxyType({"mobike": "no"}),
        child_options: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.host = host
        self.notify = NOTIFY_SCRIPT if script else None
        self._script = script
        self._tunnels = [replace(each, options=options, child_options=child_options) for each in tunnels]

    def install(self) -> None:
        """Write swanctl.conf, the names, and the script."""
        self.host.write("/etc/swanctl/swanctl.conf", swanctl_conf(*self._tunnels), mode=0o600)
        self.host.write("/etc/swanctl/names", "".join(f"{tunnel.name}\n" for tunnel in self._tunnels))
        if self._script:
            self.host.write(NOTIFY_SCRIPT, (SCRIPTS / self._script).read_text(), mode=0o755)

    def start(self) -> None:
        """Load everything."""
        self.host.run("swanctl", "--load-all")


class Limit(Loaded):
    """Charon's own best: see :mod:`tests.bench.limit`."""

    def __init__(self, host: Host, site: Site, *, empty: bool = False) -> None:
        super().__init__(host, tunnels=site.tunnels())
        self._site = site
        self._empty = empty

    def start(self) -> None:
        """Load everything, or the secrets alone, and start the client."""
        self.host.run("swanctl", "--load-creds" if self._empty else "--load-all")
        self.host.path(READY).unlink(missing_ok=True)
        argv = ("python3", "-m", "tests.bench.limit", *arguments(self._site, empty=self._empty))
        self._client = Daemon(self.host, *argv, log="limit.log")
        self._client.start()
        wait_until(self.host.path(READY).exists, f"the limit's client on {self.host.name}")

    def check(self) -> None:
        """AssertionError where the client has ended: that is no limit of charon's."""
        if not self._client.running:
            raise AssertionError(f"the limit's client on {self.host.name} has ended: {self._client.said()}")


class Notify(NotifyScript):
    """The notify script, with the connections of a site."""

    def __init__(self, host: Host, site: Site) -> None:
        super().__init__(host)
        self._site = site

    def install(self) -> None:
        """As the notify script; all connections are in swanctl.conf, and come up by being loaded."""
        super().install()
        tunnels = [replace(each, child_options={"start_action": "start"}) for each in self._site.tunnels()]
        self._host.write("/etc/swanctl/swanctl.conf", swanctl_conf(*tunnels), mode=0o600)


class Restart(Notify):
    """The notify script that restarts charon."""

    def install(self) -> None:
        """As the notify script, with another script."""
        super().install()
        self._host.write(NOTIFY_SCRIPT, (SCRIPTS / "restart.sh").read_text(), mode=0o755)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """One of those that are compared."""

    name: str
    title: str
    runner: Callable[[Host, Setup], Runner]
    by_script: bool = False


def _agent(host: Host, setup: Setup) -> Agent:
    conf = setup.site.agent_conf(host.name, setup.vrrp)
    return Agent(host, conf.text, files=conf.files)


def _always(host: Host, setup: Setup) -> Loaded:
    # Userland ESP knows no trap policies; "start" with DPD's restart is the nearest to it that it can do.
    action, on_dpd = ("trap", "trap") if setup.has_xfrm else ("start", "restart")
    return Loaded(
        host,
        tunnels=setup.site.tunnels(),
        options={"dpd_delay": "2s"},
        child_options={"start_action": action, "dpd_action": on_dpd, "close_action": action},
    )


SWANHERD: Final = Contestant(name="swanherd", title="swanherd", runner=_agent)
NOTIFY: Final = Contestant(
    name="notify",
    title="notify script, as in how-tos",
    runner=lambda host, setup: Notify(host, setup.site),
    by_script=True,
)
BEST: Final = Contestant(
    name="best-notify",
    title="notify script, as good as it gets",
    runner=lambda host, setup: Loaded(host, tunnels=setup.site.tunnels(), script="best.sh"),
    by_script=True,
)
RESTART: Final = Contestant(
    name="restart",
    title="notify script that restarts charon",
    runner=lambda host, setup: Restart(host, setup.site),
    by_script=True,
)
ALWAYS: Final = Contestant(name="always-loaded", title="both always loaded, DPD", runner=_always)
LIMIT: Final = Contestant(
    name="limit", title="charon's own best (the limit)", runner=lambda host, setup: Limit(host, setup.site)
)
EMPTY: Final = Contestant(
    name="limit-empty",
    title="charon's own best from an empty standby",
    runner=lambda host, setup: Limit(host, setup.site, empty=True),
)
ALL: Final = {each.name: each for each in (SWANHERD, NOTIFY, BEST, RESTART, ALWAYS, LIMIT, EMPTY)}


@contextmanager
def built(contestant: Contestant, *, site: Site, advert_s: float, limits: bool) -> Iterator[Pair]:
    """A pair that runs by *contestant*, carrying traffic; with *limits* the peer has charon's default DoS limits."""
    vrrp = Vrrp(advert_s=advert_s, notify=NOTIFY_SCRIPT if contestant.by_script else None)
    with Lab() as lab:
        setup = Setup(site=site, vrrp=vrrp, has_xfrm=lab.has_xfrm)
        pair = Pair(lab, lambda host: contestant.runner(host, setup), vrrp)
        pair.peer.charon.options = {} if limits else dict(NO_LIMITS)
        if site.callers():
            pair.peer.host.run("nft", "-f", "-", text_in=site.callers())
            pair.peer.host.run("ip", "route", "add", CALLERS, "dev", "wan1")
        beyond = () if site.peers == 1 else site.endpoints()
        pair.peer.begin(*(as_seen_by_peer(each) for each in site.tunnels()), addresses=beyond)
        pair.boot()
        yield pair
