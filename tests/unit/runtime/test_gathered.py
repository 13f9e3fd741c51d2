"""What is told of the sources: which are there, and why one is not."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import pytest

from swanherd.core.evidence import Heard, VrrpFacts, VrrpState
from swanherd.core.facts import Known, Network, Unknown
from swanherd.runtime.gathered import Gathered
from swanherd.runtime.sources import Sources

from .model import ModelCharon, ModelFirewall, ModelNetwork

MASTER: Final = Known(VrrpState.MASTER, 1.0)
ALIVE: Final = Known(value=True, since=1.0)


@dataclass
class Vrrp:
    """Evidence that a test sets."""

    by_interface: Mapping[str, VrrpFacts] = field(default_factory=dict)
    failures: tuple[str, ...] = ()

    @property
    def interfaces(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(self.by_interface)

    def facts(self, interface: str) -> VrrpFacts:
        """As set."""
        return self.by_interface[interface]


def gathered(vrrp: Vrrp, returns: list[str]) -> Gathered:
    """Of a kernel that was read."""
    network = ModelNetwork(Known(Network(), 0.0))
    sources = Sources(network, ModelCharon(), ModelFirewall(Known(None, 0.0)), vrrp)
    return Gathered(sources, clock=lambda: 5.0, on_return=returns.append)


ROWS: Final = {
    # facts -> what is told of keepalived, and of the adverts
    "all is well": (VrrpFacts(state=MASTER, process=ALIVE, listener=Known(Heard(), 0.0)), "", ""),
    "not read yet": (VrrpFacts(state=Unknown(0.0, "not-read")), "not-read", None),
    "dead, and so it has left the bus": (
        VrrpFacts(state=Unknown(0.0, "gone"), process=Known(value=False, since=1.0)), "not running", None,
    ),
    "alive, and has left the bus": (VrrpFacts(state=Unknown(0.0, "gone"), process=ALIVE), "gone", None),
    "no bus": (VrrpFacts(state=Unknown(0.0, "no-bus")), "no-bus", None),
    "no right to listen": (VrrpFacts(process=ALIVE, listener=Unknown(0.0, "no-permission")), "", "no-permission"),
    "one interface was read, the other is not there": (
        VrrpFacts(state=Unknown(0.0, "no-instance"), process=ALIVE), "no-instance", None,
    ),
    "only adverts are declared": (VrrpFacts(listener=Known(Heard(), 0.0)), None, ""),
    "nothing is declared": (VrrpFacts(), None, None),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_row(row: str) -> None:
    """Each by its own words; a source that was not declared is not told of. Broken by: ``not running`` told last."""
    facts, keepalived, adverts = ROWS[row]
    told = {each.name: each for each in gathered(Vrrp({"wan": facts}), []).sources()}
    for name, why in (("keepalived", keepalived), ("adverts", adverts)):
        assert (name in told) is (why is not None)
        if why is not None:
            assert (told[name].detail, told[name].synced) == (why, not why)
            assert told[name].up is (why in {"", "not-read"})


def test_a_source_that_returns_is_counted_once() -> None:
    """From gone to there again, at the next look; not at the start, and not while it stays."""
    returns: list[str] = []
    vrrp = Vrrp({"wan": VrrpFacts(state=Unknown(0.0, "no-bus"))})
    it = gathered(vrrp, returns)
    it.sources()
    vrrp.by_interface = {"wan": VrrpFacts(state=MASTER)}
    it.sources()
    it.sources()
    assert returns == ["keepalived"]


def test_hints_that_cannot_be_had_are_told() -> None:
    """Beside keepalived, which may be well."""
    told = gathered(Vrrp({"wan": VrrpFacts(process=ALIVE)}, ("/x: is no FIFO",)), []).sources()
    assert {each.name: each.detail for each in told if not each.up} == {"notify": "/x: is no FIFO"}
