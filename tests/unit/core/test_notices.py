"""What people are told of a connection although it changes no role."""

from dataclasses import replace

import pytest

from swanherd.core.decide import decide
from swanherd.core.evidence import Heard, Situation, VrrpFacts
from swanherd.core.facts import Known, Unknown, Wire
from swanherd.core.intent import EvidenceSource, VrrpDeclaration
from swanherd.core.view import Memory, View
from swanherd.core.words import Notice, Reason, Role
from tests.unit.core.settings import INTERFACES, VIP_WAN, WAN
from tests.unit.core.views import BACKUP, MASTER, NOW, view

VRRP = VrrpDeclaration(
    instance="VI_1",
    vrid=51,
    evidence=frozenset({EvidenceSource.ADVERTS, EvidenceSource.PROCESS}),
    advert_interval_s=1.0,
)
CUT = Known(Wire(guarded=frozenset({VIP_WAN}), fenced=frozenset({VIP_WAN})), 1.0)
ANOTHER = VrrpFacts(listener=Known(Heard(own_at=NOW - 9, other_at=NOW - 0.1, other="192.0.2.3"), 0.0))
GONE = VrrpFacts(process=Known(value=False, since=NOW - 9))
TWO = VrrpFacts(listener=Known(Heard(own_at=NOW - 0.2, other_at=NOW - 0.1, other="192.0.2.3"), 0.0))


def seen(facts: VrrpFacts, **words: object) -> View:
    """ALPHA with *facts* about its VIP, which is here and fenced; *words* say otherwise."""
    around: dict[str, object] = {
        "network": Known(MASTER, 1.0),
        "wire": CUT,
        "interfaces": INTERFACES | {"wan": replace(WAN, vrrp=VRRP)},
        "situation": Situation(now=NOW, vrrp={"wan": facts}),
    }
    return view(**(around | words))


@pytest.mark.parametrize(("facts", "reason"), [(ANOTHER, Reason.ANOTHER_MASTER), (GONE, Reason.KEEPALIVED_GONE)])
def test_an_address_that_was_left_behind_is_named_with_the_way_to_remove_it(facts: VrrpFacts, reason: Reason) -> None:
    """Standby, the VIP here and fenced: the very command, with prefix and device."""
    decision = decide(seen(facts), Memory(), NOW)
    assert (decision.role, decision.reason) == (Role.STANDBY, reason)
    assert decision.notices.keys() == {Notice.STALE_VIP}
    assert decision.notices[Notice.STALE_VIP].endswith(f"ip address del {VIP_WAN}/24 dev eth0")


OTHERWISE = {
    "not fenced yet": seen(ANOTHER, wire=Known(Wire(guarded=frozenset({VIP_WAN})), 1.0)),
    "the table is gone": seen(ANOTHER, wire=Known(None, 1.0)),
    "the table cannot be read": seen(ANOTHER, wire=Unknown(NOW, "no right")),
    "the address has left": seen(ANOTHER, network=Known(BACKUP, 1.0)),
    "the agent stops": seen(ANOTHER, stopping=True),
    "left the settings": seen(ANOTHER, connection=None, digests={}),
    "rightfully here": seen(VrrpFacts()),
}


@pytest.mark.parametrize("row", OTHERWISE)
def test_nothing_else_is_called_stale(row: str) -> None:
    """Nobody is told to remove an address unless it is known to be here, fenced, and looked after by nobody here."""
    assert Notice.STALE_VIP not in decide(OTHERWISE[row], Memory(), NOW).notices


def test_two_masters_are_told_with_the_other_one() -> None:
    """Active, while another router sends adverts too."""
    decision = decide(seen(TWO, wire=Known(Wire(guarded=frozenset({VIP_WAN})), 1.0)), Memory(), NOW)
    assert decision.role is Role.ACTIVE
    assert "192.0.2.3" in decision.notices[Notice.TWO_MASTERS]
