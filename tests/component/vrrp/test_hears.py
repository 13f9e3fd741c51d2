"""What is heard of real keepaliveds, in every way in which they speak."""

import pytest

from tests.component.vrrp.gateways import Gateways, Vrrp, until_holds
from tests.component.vrrp.listening import listening, watched, wrong

KINDS = {
    "v3": Vrrp(),
    "v2": Vrrp(version=2, advert_s=1),
    "v2-password": Vrrp(version=2, advert_s=1, extra="authentication {\n auth_type PASS\n auth_pass swan\n }"),
    "v2-ah": Vrrp(version=2, advert_s=1, extra="authentication {\n auth_type AH\n auth_pass swan\n }"),
    "v3-unicast": Vrrp(unicast=True),
    "v3-unicast-old-checksum": Vrrp(unicast=True, extra="old_unicast_checksum"),
    "v2-unicast": Vrrp(version=2, advert_s=1, unicast=True),
    "v6": Vrrp(family=6),
    "v6-unicast": Vrrp(family=6, unicast=True),
    "vmac": Vrrp(extra="use_vmac"),
    "vmac-v2": Vrrp(version=2, advert_s=1, extra="use_vmac"),
    "vmac-v6": Vrrp(family=6, extra="use_vmac"),
    "vmac-base": Vrrp(extra="use_vmac\n vmac_xmit_base"),
    "vmac-unicast": Vrrp(extra="use_vmac", unicast=True),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_our_own_adverts_are_heard_leaving(pair: Gateways, kind: str) -> None:
    """Our keepalived becomes the master alone: its adverts are ours, nobody else's, and nothing is counted."""
    vrrp = KINDS[kind]
    peers = [pair.theirs.address(vrrp.family)] if vrrp.unicast else []
    async with listening({"wan": watched(vrrp, *peers)}) as it:
        pair.ours.start(vrrp, priority=150)
        await it.until(lambda: it.heard.own_at)
        first = it.heard.own_at
        assert first is not None
        await it.until(lambda: (it.heard.own_at or 0) > first)
        assert it.heard.other_at is None
        assert it.heard.claimed_at is None
        assert not wrong(it.listener.counters)
        assert it.told[-1][1] == {"wan"}


@pytest.mark.parametrize("kind", KINDS)
async def test_another_router_is_heard(pair: Gateways, kind: str) -> None:
    """The other gateway's keepalived is the master: its adverts and its claims are heard, with its address."""
    vrrp = KINDS[kind]
    peers = [pair.theirs.address(vrrp.family)] if vrrp.unicast else []
    async with listening({"wan": watched(vrrp, *peers)}) as it:
        pair.theirs.start(vrrp, priority=150)
        await it.until(lambda: it.heard.other_at and it.heard.claimed_at)
        assert it.heard.own_at is None
        if "vmac" not in kind or vrrp.family == 4:
            assert it.heard.other == pair.theirs.address(vrrp.family)
        assert not wrong(it.listener.counters)
        until_holds(pair.theirs, vrrp.vip)
