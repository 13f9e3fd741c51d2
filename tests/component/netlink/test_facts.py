"""What the kernel's addresses, links and routes are as facts; changes are made with `ip` in a throw-away namespace."""

import asyncio
from collections.abc import Mapping
from ipaddress import ip_address

import pytest

from swanherd.core.facts import DefaultRoute, HeldAddress, Known, Network, NetworkChange, Unknown
from swanherd.core.intent import IPAddress
from swanherd.world.netlink import NetworkSource

from .watched import PAIR, Watched, ip, shown, shown_addresses, watching

pytestmark = pytest.mark.usefixtures("namespace")

VIP = ip_address("203.0.113.10")
VIP6 = ip_address("2001:db8::10")


def entry(watched: Watched, address: str) -> HeldAddress | None:
    """The one entry of *address*."""
    held = watched.network.addresses.get(ip_address(address), ())
    assert len(held) <= 1
    return held[0] if held else None


async def test_nothing_is_known_before_the_first_reading() -> None:
    """A source that has not run is Unknown, not empty."""
    source = NetworkSource(on_change=lambda _change: None)
    assert isinstance(source.state, Unknown)
    assert source.state.why == "not-read"
    assert source.state.last is None


async def test_what_was_there_before_is_read() -> None:
    """Addresses, links and routes that are older than the source are in its first state."""
    ip(*PAIR, "addr add 203.0.113.2/24 dev wan", "route add default via 203.0.113.1")
    async with watching() as watched:
        assert watched.changes[0] == NetworkChange(everything=True)
        held = entry(watched, "203.0.113.2")
        assert held is not None
        assert (held.prefix, held.device, held.usable) == (24, "wan", True)
        assert watched.network.links["wan"].up
        assert watched.network.defaults == (DefaultRoute(family=4, device="wan", metric=0, alive=True),)


async def test_an_ipv4_address_comes_and_goes() -> None:
    """Each is told once, and `state` has it already when it is told."""
    ip(*PAIR)
    async with watching() as watched:
        watched.forget()
        before = asyncio.get_running_loop().time()
        ip(f"addr add {VIP}/24 dev wan")
        await watched.until(lambda: VIP in watched.network.addresses)
        held = entry(watched, str(VIP))
        assert held is not None
        assert before <= held.since <= asyncio.get_running_loop().time()
        ip(f"addr del {VIP}/24 dev wan")
        await watched.until(lambda: VIP not in watched.network.addresses)
        mine = [at for at, change in enumerate(watched.changes) if VIP in change.addresses]
        assert not any(watched.changes[at].everything for at in mine)
        assert [VIP in _addresses(watched.states[at]) for at in mine] == [True, False]


async def test_a_network_that_was_given_out_never_changes() -> None:
    """Whoever keeps a snapshot over an event still has the old one; the new one is another object."""
    ip(*PAIR)
    async with watching() as watched:
        old = watched.network
        assert watched.network is old
        ip(f"addr add {VIP}/24 dev wan")
        await watched.until(lambda: VIP in watched.network.addresses)
        assert VIP not in old.addresses


async def test_an_address_that_returns_is_a_new_one() -> None:
    """`since` is that of its latest arrival; a refreshed lifetime is no arrival and is not even told."""
    ip(*PAIR, f"addr add {VIP}/24 dev wan")
    async with watching() as watched:
        first = entry(watched, str(VIP))
        watched.changes.clear()
        ip(f"addr change {VIP}/24 dev wan valid_lft 1000 preferred_lft 1000", "addr add 203.0.113.99/24 dev wan")
        await watched.until(lambda: entry(watched, "203.0.113.99"))
        assert entry(watched, str(VIP)) == first
        assert not [change for change in watched.changes if VIP in change.addresses]
        ip(f"addr del {VIP}/24 dev wan", f"addr add {VIP}/24 dev wan")
        assert first is not None
        await watched.until(lambda: (now := entry(watched, str(VIP))) is not None and now.since > first.since)


async def test_an_ipv6_address_is_usable_only_after_duplicate_detection() -> None:
    """Tentative first (seen, not usable), then usable with the same `since`."""
    ip(*PAIR)
    async with watching() as watched:
        ip(f"addr add {VIP6}/64 dev wan")
        await watched.until(lambda: entry(watched, str(VIP6)))
        tentative = entry(watched, str(VIP6))
        assert tentative is not None
        assert not tentative.usable
        await watched.until(lambda: (now := entry(watched, str(VIP6))) is not None and now.usable)
        usable = entry(watched, str(VIP6))
        assert usable is not None
        assert usable.since == tentative.since
        assert [VIP6 in change.addresses for change in watched.changes].count(True) == 2


async def test_a_duplicate_ipv6_address_is_never_usable() -> None:
    """The neighbour has it: duplicate detection fails, the kernel keeps it on the device, and it is not usable."""
    ip(*PAIR, f"addr add {VIP6}/64 dev far nodad")
    async with watching() as watched:
        ip(f"addr add {VIP6}/64 dev wan")
        await watched.until(lambda: _shown_as_failed("wan"))
        await watched.until(lambda: VIP6 in watched.network.addresses)
        ours = [held for held in watched.network.addresses[VIP6] if held.device == "wan"]
        assert [held.usable for held in ours] == [False]
        await watched.until(lambda: any(held.usable for held in watched.network.addresses[VIP6]))


async def test_one_address_on_two_devices_is_two_entries() -> None:
    """A VIP of keepalived may be on a macvlan while somebody left it on the device too."""
    ip(*PAIR, "link add vrrp.51 link wan type macvlan mode private", "link set vrrp.51 up")
    async with watching() as watched:
        ip(f"addr add {VIP}/32 dev vrrp.51", f"addr add {VIP}/24 dev wan")
        await watched.until(lambda: len(watched.network.addresses.get(VIP, ())) == 2)
        assert {held.device for held in watched.network.addresses[VIP]} == {"wan", "vrrp.51"}
        ip(f"addr del {VIP}/24 dev wan")
        await watched.until(lambda: len(watched.network.addresses[VIP]) == 1)
        held = entry(watched, str(VIP))
        assert held is not None
        assert held.device == "vrrp.51"


async def test_a_macvlan_names_the_device_below_it() -> None:
    """The shape of ``use_vmac``: kind macvlan, parent the device; when the device loses carrier it is down too."""
    ip(*PAIR)
    async with watching() as watched:
        ip("link add vrrp.51 link wan type macvlan mode private", "link set vrrp.51 up")
        await watched.until(lambda: "vrrp.51" in watched.network.links and watched.network.links["vrrp.51"].up)
        macvlan = watched.network.links["vrrp.51"]
        assert (macvlan.kind, macvlan.parent) == ("macvlan", "wan")
        assert (watched.network.links["wan"].kind, watched.network.links["wan"].parent) == ("veth", None)
        assert watched.network.links["lo"].kind is None
        ip("link set far down")
        await watched.until(lambda: not watched.network.links["vrrp.51"].up and not watched.network.links["wan"].up)
        assert {"wan", "vrrp.51"} <= {device for change in watched.changes for device in change.devices}


async def test_a_device_with_carrier_that_must_not_send_yet_is_not_up() -> None:
    """Carrier alone is not enough: a dormant one (802.1X not done) is up only when its operational state says so."""
    ip("link add wan type veth peer name far", "link set wan mode dormant", "link set far up", "link set wan up")
    async with watching() as watched:
        await watched.until(lambda: watched.network.links["far"].up)
        assert "LOWER_UP" in shown("link", "show", "wan")[0]["flags"]
        assert not watched.network.links["wan"].up
        ip("link set wan state up")
        await watched.until(lambda: watched.network.links["wan"].up)


async def test_a_renamed_device_takes_its_addresses_along() -> None:
    """Addresses follow the index, not the name; both names are told. Of IPv6 ones the kernel says nothing then."""
    ip("link add wan type veth peer name far", f"addr add {VIP}/24 dev wan", f"addr add {VIP6}/64 dev wan nodad")
    async with watching() as watched:
        watched.changes.clear()
        ip("link set wan name outside")
        await watched.until(lambda: (held := entry(watched, str(VIP))) is not None and held.device == "outside")
        assert "wan" not in watched.network.links
        told = [change for change in watched.changes if "outside" in change.devices]
        assert "wan" in told[0].devices
        assert {VIP, VIP6} <= told[0].addresses
        assert [held.device for held in watched.network.addresses[VIP6]] == ["outside"]


async def test_a_deleted_device_takes_all_along() -> None:
    """Its addresses, its link and its default routes are gone."""
    ip(*PAIR, f"addr add {VIP}/24 dev wan", f"addr add {VIP6}/64 dev wan nodad", "route add default via 203.0.113.1")
    async with watching() as watched:
        assert watched.network.defaults
        ip("link del wan")
        await watched.until(lambda: "wan" not in watched.network.links and not watched.network.defaults)
        assert not {VIP, VIP6} & watched.network.addresses.keys()


async def test_a_port_that_leaves_a_bridge_is_still_a_device() -> None:
    """The bridge says "deleted" about the port, not about the device: its address never goes, nobody is told so."""
    ip(*PAIR, "link add br0 type bridge", "link set br0 up", "link set far master br0", f"addr add {VIP}/24 dev far")
    async with watching() as watched:
        watched.forget()
        ip("link set far nomaster", "addr add 203.0.113.3/24 dev far")
        await watched.until(lambda: entry(watched, "203.0.113.3"))
        assert watched.network.links["far"].kind == "veth"
        assert entry(watched, str(VIP))
        assert not [change for change in watched.changes if VIP in change.addresses]


async def test_the_facts_equal_what_ip_shows() -> None:
    """After a mixture of changes the state has exactly what `ip -j addr` lists, and its devices' kinds."""
    ip(*PAIR)
    async with watching() as watched:
        ip(
            "link add vrrp.51 link wan type macvlan",
            *(f"addr add 10.{n}.0.1/24 dev wan" for n in range(50)),
            *(f"addr add 2001:db8:{n}::1/64 dev vrrp.51 nodad" for n in range(50)),
            "addr add 192.0.2.1 peer 192.0.2.2/32 dev wan",
            "addr add 192.0.2.1 peer 192.0.2.3/32 dev wan",
            *(f"addr del 10.{n}.0.1/24 dev wan" for n in range(0, 50, 3)),
            "link set vrrp.51 up",
        )
        await watched.until(lambda: watched.addresses() == shown_addresses())
        kinds = {link["ifname"]: link.get("linkinfo", {}).get("info_kind") for link in shown("-d", "link")}
        assert {name: link.kind for name, link in watched.network.links.items()} == kinds


def _addresses(state: Known[Network] | Unknown[Network]) -> Mapping[IPAddress, object]:
    assert isinstance(state, Known)
    return state.value.addresses


def _shown_as_failed(device: str) -> bool:
    return any(
        address.get("dadfailed") for link in shown("addr", "show", "dev", device) for address in link["addr_info"]
    )


async def test_what_came_while_watching_is_told_from_what_was_there() -> None:
    """An address that was there when reading began may have been left behind; one that arrived was put there.

    Broken by: ``Table.watched`` being True from the start.
    """
    ip(*PAIR, "addr add 203.0.113.2/24 dev wan")
    async with watching() as watched:
        ip(f"addr add {VIP}/24 dev wan")
        await watched.until(lambda: VIP in watched.network.addresses)

        assert [getattr(entry(watched, each), "watched", None) for each in ("203.0.113.2", str(VIP))] == [False, True]
