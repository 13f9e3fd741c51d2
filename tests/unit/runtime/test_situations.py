"""What judgements read beside the addresses: what runs, and since when what is fenced."""

from dataclasses import dataclass, field, replace
from typing import Final

from swanherd.core.facts import CharonConnection, CharonIdentity, HeldAddress, IkeSa, Known, Network, Unknown, Wire
from swanherd.core.intent import EvidenceSource, Intent, VrrpDeclaration
from swanherd.runtime.situations import Situations
from swanherd.runtime.sources import Sources
from tests.unit.core.settings import ALPHA, GAMMA, INTERFACES, VIP_LTE, VIP_WAN, WAN
from tests.unit.runtime.model import ModelCharon, ModelFirewall, ModelNetwork

NOW: Final = 100.0
DECLARED: Final = replace(WAN, vrrp=VrrpDeclaration(vrid=51, evidence=frozenset({EvidenceSource.ADVERTS})))
NAMES: Final = (ALPHA.name, GAMMA.name)


def _network(*, watched: bool) -> Network:
    return Network({VIP_WAN: (HeldAddress(VIP_WAN, 24, "eth0", True, 0.0, watched=watched),)})


@dataclass(slots=True)
class Gathered:
    """Situations, the charon and the firewall that they are gathered from."""

    charon: ModelCharon = field(default_factory=ModelCharon)
    firewall: ModelFirewall = field(default_factory=ModelFirewall)
    situations: Situations = field(init=False)

    def __post_init__(self) -> None:
        self.situations = Situations(Sources(ModelNetwork(), self.charon, self.firewall))
        self.situations.adopt(Intent({**INTERFACES, "wan": DECLARED}, {ALPHA.name: ALPHA, GAMMA.name: GAMMA}))

    def up(self, name: str) -> None:
        """An SA of *name* from the VIP."""
        sa = IkeSa(name, 1, "ESTABLISHED", VIP_WAN, None, initiator=True, since=0.0)
        self.charon.here[name] = CharonConnection(sas=(sa,))
        self.situations.charon_changed()

    def fences(self, wire: Wire | None, at: float) -> None:
        """The table holds *wire* since then."""
        self.firewall.state = Known(wire, at)
        self.situations.firewall_changed()


def test_what_runs_is_gathered_where_it_can_matter() -> None:
    """While a declared VIP is here that was not seen to arrive; nothing runs, as far as that goes, in other cases.

    Broken by: ``_running`` asking charon always, or of no name; by ``charon_changed`` forgetting nothing.
    """
    seen = Gathered()
    assert seen.situations.at(NOW, _network(watched=False), NAMES).running == frozenset()
    seen.up(GAMMA.name)
    assert seen.situations.at(NOW, _network(watched=False), NAMES).running == frozenset({VIP_WAN})

    seen.charon.looked.clear()
    assert seen.situations.at(NOW, _network(watched=True), NAMES).running == frozenset()
    assert seen.situations.at(NOW, None, NAMES).running == frozenset()
    assert seen.charon.looked == []


def test_what_runs_is_not_known_before_charon_is_read() -> None:
    """Not that nothing runs: what an agent before this one left up would be fenced. In one that is gone nothing runs.

    Broken by: ``_running`` naming nobody before charon was read.
    """
    seen = Gathered()
    for why, known in (("not-read", None), ("frozen", None), ("gone", frozenset())):
        seen.charon.state = Unknown(NOW, why)
        assert seen.situations.at(NOW, _network(watched=False), NAMES).running == known
    seen.charon.state = Known(CharonIdentity(1, 1), NOW)
    assert seen.situations.at(NOW, _network(watched=False), NAMES).running == frozenset()


def test_since_when_what_is_fenced() -> None:
    """Since the first reading that showed it, however often the table is read; lifted and set again it begins anew.

    Broken by: the time of the latest reading for all, or the one before for what was lifted meanwhile.
    """
    seen = Gathered()
    seen.fences(Wire(fenced=frozenset({VIP_WAN})), at=1.0)
    seen.fences(Wire(fenced=frozenset({VIP_WAN, VIP_LTE})), at=2.0)
    assert seen.situations.at(NOW, None, NAMES).fenced == {VIP_WAN: 1.0, VIP_LTE: 2.0}
    seen.fences(Wire(fenced=frozenset({VIP_LTE})), at=3.0)
    seen.fences(Wire(fenced=frozenset({VIP_WAN, VIP_LTE})), at=4.0)
    assert seen.situations.at(NOW, None, NAMES).fenced == {VIP_WAN: 4.0, VIP_LTE: 2.0}
    seen.fences(None, at=5.0)
    assert seen.situations.at(NOW, None, NAMES).fenced == {}
