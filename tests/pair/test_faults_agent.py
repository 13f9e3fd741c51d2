"""The agent dies, is restarted, upgraded or stopped; finds its settings broken."""

from collections.abc import Iterator
from typing import Final

import pytest

from tests.lab.agent_conf import AgentConf, agent_conf
from tests.lab.loaded import read_loaded
from tests.lab.observe import Observer
from tests.lab.observe.sas import IkeSa
from tests.lab.pair import Gateway, Pair, agent_pair
from tests.lab.peer import NAME
from tests.lab.runner import AGENT_CONF
from tests.lab.told import Told
from tests.lab.waiting import wait_until

NEXT: Final = "9.9.9"
"""A version that is not ours."""
BROKEN: Final = '[agent]\nlog_levle = "debug"\n'


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """A pair that runs by swanherd; each test leaves gw-a master, with traffic."""
    conf = agent_conf()
    with agent_pair(conf.text, files=conf.files) as built:
        yield built


@pytest.fixture
def told(pair: Pair) -> Told:
    """What gw-a's agent tells."""
    return Told(pair.a.agent)


def _sas(seen: Observer, *hosts: str) -> dict[str, tuple[IkeSa, ...]]:
    return {name: reading.up for name, reading in seen.sas(*hosts).items()}


def _write(gateway: Gateway, conf: AgentConf) -> None:
    gateway.agent.config, gateway.agent.files = conf.text, conf.files
    gateway.agent.install()


def _next_version(gateway: Gateway) -> str:
    """Another release of the agent on a gateway: where it is."""
    place = "/opt/next"
    gateway.host.run("mkdir", "-p", place)
    gateway.host.run("cp", "-a", "/src/agent/swanherd", place)
    init = f"{place}/swanherd/__init__.py"
    text = gateway.host.path(init).read_text()
    gateway.host.write(init, text.rpartition("= ")[0] + f'= "{NEXT}"\n')
    return place


@pytest.mark.parametrize("way", ["killed", "restarted", "upgraded"])
def test_agent_replaced_while_the_tunnel_works(
    way: str, pair: Pair, seen: Observer, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not one packet of a working tunnel is lost; the SA is the same one at both ends, and the new agent's.

    Broken by: ``Agent.stop`` releasing whatever ``on_stop`` says (restarted, upgraded: the SA is gone);
    ``sas._as_agreed`` answering False, so that what another run of the agent made is replaced (all three).
    """
    before = _sas(seen, "gw-a", "peer")
    seen.mark("fault")
    if way == "killed":
        pair.a.agent.kill()
    else:
        assert pair.a.agent.stop() == 0
    seen.wait_through(by="gw-a", after=seen.mark("away"))
    if way == "upgraded":
        monkeypatch.setenv("PYTHONPATH", _next_version(pair.a))
    pair.a.agent.start()
    told.wait_for(NAME, role="active", reason="up")
    seen.wait_through(by="gw-a", after=seen.mark("back"))

    assert (told.status()["version"] == NEXT) == (way == "upgraded")
    verdict = seen.timeline(since="fault")
    assert verdict.lost == 0
    assert verdict.first_init_ms is None
    assert _sas(seen, "gw-a", "peer") == before


def test_agent_stopped_to_release(pair: Pair, seen: Observer, told: Told) -> None:
    """With ``on_stop = "release"`` a stop ends the tunnel at both ends and unloads it; a start brings it back.

    Broken by: ``Agent.stop`` never setting ``Store.stopping`` (the agent gives up with the SA still there).
    """
    _write(pair.a, agent_conf(agent='on_stop = "release"'))
    pair.a.agent.reload()
    wait_until(lambda: "reloaded" in pair.a.agent.said(), "the reload comes in force")

    assert pair.a.agent.stop() == 0

    assert seen.sas("gw-a")["gw-a"].sas == ()
    assert not read_loaded(pair.a.host).connections
    wait_until(lambda: seen.sas("peer")["peer"].sas == (), "the peer is told")
    _write(pair.a, agent_conf())
    pair.a.agent.start()
    seen.wait_through(by="gw-a", after=seen.mark("back"))
    told.wait_for(NAME, role="active", reason="up")


def test_broken_settings_on_reload(pair: Pair, seen: Observer, told: Told) -> None:
    """A broken file on SIGHUP leaves the last good settings in force and the tunnel alone, and says so loudly.

    Broken by: ``Agent._reload_settings`` adopting an empty ``Intent`` when loading fails (the SA is terminated).
    """
    before = _sas(seen, "gw-a", "peer")
    loaded = read_loaded(pair.a.host)
    said = len(pair.a.agent.said())
    seen.mark("fault")
    pair.a.host.write(AGENT_CONF, BROKEN)
    pair.a.agent.reload()
    _wait_for_stale(pair, told, said)

    seen.wait_through(by="gw-a", after=seen.mark("refused"))
    assert seen.timeline(since="fault").lost == 0
    assert _sas(seen, "gw-a", "peer") == before
    assert read_loaded(pair.a.host) == loaded
    _mend(pair, told)


def test_broken_settings_at_start(pair: Pair, seen: Observer, told: Told) -> None:
    """A broken file at start brings the last good settings into force: the SA is adopted, and the status says so.

    Broken by: ``app.run`` loading the files only (the agent does not start).
    """
    before = _sas(seen, "gw-a", "peer")
    loaded = read_loaded(pair.a.host)
    seen.mark("fault")
    pair.a.agent.stop()
    said = len(pair.a.agent.said())
    pair.a.host.write(AGENT_CONF, BROKEN)
    pair.a.agent.start()
    _wait_for_stale(pair, told, said)
    told.wait_for(NAME, role="active", reason="up")

    seen.wait_through(by="gw-a", after=seen.mark("started"))
    assert seen.timeline(since="fault").lost == 0
    assert _sas(seen, "gw-a", "peer") == before
    assert read_loaded(pair.a.host) == loaded
    _mend(pair, told)


def _wait_for_stale(pair: Pair, told: Told, said: int) -> None:
    """Wait until status, metrics and log say that the file is broken, and where."""
    wait_until(lambda: told.status()["config"]["stale"], "the status says so")
    status = told.status()
    assert not status["well"]
    assert "log_levle" in status["config"]["why"]
    assert "swanherd_config_stale 1.0" in told.metrics()
    wait_until(lambda: "last good" in pair.a.agent.said()[said:], "the log says so")  # a moment later than the rest


def _mend(pair: Pair, told: Told) -> None:
    """Put the file right, and see it in force."""
    pair.a.agent.install()
    pair.a.agent.reload()
    wait_until(lambda: not told.status()["config"]["stale"], "the mended file is in force")
    assert "swanherd_config_stale 0.0" in told.metrics()
