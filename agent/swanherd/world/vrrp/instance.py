"""What was heard of one watched VRRP instance, and which adverts count for it."""

from collections import deque
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, Literal

from swanherd.core.evidence import VOUCH_INTERVALS, Heard
from swanherd.core.facts import Network
from swanherd.core.intent import IPAddress, IPNetwork
from swanherd.world.vrrp.adverts import TTL, Advert, Ignored, intact
from swanherd.world.vrrp.ear import Frame

PAUSE_INTERVALS: Final = 3.0
"""A backup takes over after so many missed adverts: a longer pause of ours may have made another router the master."""

REPEAT_INTERVALS: Final = 0.5
"""News that repeats is told again after so much of an advert interval, however often it comes."""

REFLECTED_S: Final = 0.05
"""A claim from a virtual router's MAC, which both have, is our own come back if we sent the same so shortly before."""

REMEMBERED_CLAIMS: Final = 16
"""Our own latest claims, against which one that may have come back is held."""

_LINK_LOCAL: Final = IPv6Network("fe80::/10")
_VIRTUAL_ROUTER_MACS: Final = {4: bytes.fromhex("00005e0001"), 6: bytes.fromhex("00005e0002")}


@dataclass(frozen=True, slots=True)
class Watched:
    """A VRRP instance whose adverts tell about one interface of the settings."""

    device: str
    """Where its adverts are."""
    vrid: int
    family: Literal[4, 6]
    """Of the instance's adverts."""
    vips: tuple[IPAddress, ...] = ()
    """Addresses whose claims by others are told."""
    unicast_peers: tuple[IPAddress, ...] = ()
    """Routers whose unicast adverts count; empty: multicast ones on the link do."""
    advert_interval_s: float = 1.0
    vip_device: str = ""
    """Where the VIPs are; empty: where the adverts are, too."""


class Place:
    """What the network of this host says about one device: who is we, and who is on the link."""

    def __init__(self, network: Network, device: str) -> None:
        self.network = network
        self.device = device

    def is_own(self, address: IPAddress) -> bool:
        """Whether *address* is one of this host."""
        return address in self.network.addresses

    def is_on_link(self, address: IPAddress) -> bool:
        """Whether *address* can be a neighbour. Where the device has no prefix, the TTL alone must tell."""
        prefixes = [each for each in self._prefixes if each.version == address.version]
        if address.version == 6:
            prefixes.append(_LINK_LOCAL)
        return not prefixes or any(address in prefix for prefix in prefixes)

    def arrived(self, vips: tuple[IPAddress, ...]) -> float | None:
        """When the latest of *vips* came that are here; None: none is."""
        held = [entry.since for vip in vips for entry in self.network.addresses.get(vip, ())]
        return max(held, default=None)

    @cached_property
    def _prefixes(self) -> list[IPNetwork]:
        """Prefixes of the device and of the macvlans above it, but for those of a single address."""
        devices = {self.device} | {link.name for link in self.network.links.values() if link.parent == self.device}
        found = {
            ip_network((held.ip, held.prefix), strict=False)
            for entries in self.network.addresses.values()
            for held in entries
            if held.device in devices and held.prefix < held.ip.max_prefixlen
        }
        return [each for each in found if isinstance(each, IPv4Network | IPv6Network)]


class _Repeats:
    """News of one kind that comes again and again: when it was told last, and whether it is time to tell it again."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._told_at: float | None = None

    def again(self, at: float) -> bool:
        """It is told in any case."""
        self._told_at = at
        return True

    def due(self, at: float) -> bool:
        """Whether it is told now."""
        return (self._told_at is None or at - self._told_at >= self._every_s) and self.again(at)


class Instance:
    """One watched instance. The methods that take news in answer whether it can change a judgement."""

    def __init__(self, watched: Watched) -> None:
        self.watched = watched
        self._heard: Heard | None = Heard()
        self._own_at: float | None = None
        self._own_last: float | None = None
        """As `_own_at`, but still known after we said that we leave."""
        self._own_resumed_at: float | None = None
        self._other_at: float | None = None
        self._other = ""
        self._claimed_at: float | None = None
        self._own_claims: deque[tuple[float, bytes]] = deque(maxlen=REMEMBERED_CLAIMS)
        repeat_s = REPEAT_INTERVALS * watched.advert_interval_s
        self._own_repeats, self._other_repeats, self._claim_repeats = (_Repeats(repeat_s) for _ in range(3))

    @property
    def heard(self) -> Heard:
        """What was heard so far; the same object until more is."""
        if self._heard is None:
            self._heard = Heard(
                own_at=self._own_at,
                own_resumed_at=self._own_resumed_at,
                other_at=self._other_at,
                other=self._other,
                claimed_at=self._claimed_at,
            )
        return self._heard

    def continues(self, former: "Instance") -> None:
        """Take over what *former* heard of the same instance, under other settings."""
        for name in (
            "_own_at", "_own_last", "_own_resumed_at", "_other_at", "_other", "_claimed_at", "_own_claims",
        ):  # fmt: skip
            setattr(self, name, getattr(former, name))
        self._heard = None

    def refuses(self, advert: Advert, place: Place) -> Ignored | None:
        """Why another router's *advert*, of our VRID and family, does not count; None: it counts.

        As keepalived judges: in multicast TTL 255 and a sender on the link; in unicast the TTL says nothing.
        """
        if place.is_own(advert.source):
            return Ignored.OWN_ADDRESS
        if self.watched.unicast_peers:
            refused = self._refuses_unicast(advert, place)
        else:
            refused = self._refuses_multicast(advert, place)
        if refused is None and not intact(advert):
            refused = Ignored.CHECKSUM
        if refused is None and advert.priority == 0:
            refused = Ignored.PRIORITY_0
        return refused

    def _refuses_multicast(self, advert: Advert, place: Place) -> Ignored | None:
        if advert.ttl != TTL:
            return Ignored.TTL
        if not advert.destination.is_multicast:
            return Ignored.NOT_MULTICAST
        return None if place.is_on_link(advert.source) else Ignored.OFF_LINK

    def _refuses_unicast(self, advert: Advert, place: Place) -> Ignored | None:
        if advert.destination.is_multicast:
            return Ignored.NOT_UNICAST
        if advert.source not in self.watched.unicast_peers:
            return Ignored.NOT_A_PEER
        return None if place.is_own(advert.destination) else Ignored.NOT_FOR_US

    def own_advert(self, priority: int, at: float) -> bool:
        """Our own advert left. Priority 0 takes back what the ones before it vouched for."""
        before = self._own_at
        if priority == 0:
            self._own_at = self._heard = None
            return before is not None
        last, interval_s = self._own_last, self.watched.advert_interval_s
        if last is not None and at < last:
            return False
        if last is not None and at - last > PAUSE_INTERVALS * interval_s:
            self._own_resumed_at = at
        self._own_at = self._own_last = at
        self._heard = None
        if before is None or at - before > VOUCH_INTERVALS * interval_s:
            return self._own_repeats.again(at)
        # A master answers whoever has less priority at once, so forged adverts can make ours come often.
        contested = self._other_at is not None and at - self._other_at <= PAUSE_INTERVALS * interval_s
        return contested and self._own_repeats.due(at)

    def other_advert(self, source: IPAddress, at: float, arrived: float | None) -> bool:
        """Another router's advert came; *arrived* is when a VIP of ours came that is here."""
        before = self._other_at
        if before is not None and at < before:
            return False
        if before is None or str(source) != self._other:
            self._other = str(source)
        self._other_at = at
        self._heard = None
        if before is None or (arrived is not None and before <= arrived < at):
            return self._other_repeats.again(at)
        if arrived is None:
            # A router that is heard in its time, and holds what is not here, is no news.
            return at - before > VOUCH_INTERVALS * self.watched.advert_interval_s
        return self._other_repeats.due(at)

    def claim(self, frame: Frame, arrived: float | None, *, own_mac: bool) -> bool:
        """A frame that is none of ours says that its sender has a VIP; *own_mac*: its MAC is one of this host.

        A virtual router's MAC (``use_vmac``) is on both routers, so it tells nothing by itself.
        """
        at = frame.at
        if own_mac and (not self._is_virtual(frame.mac) or self._reflects(frame)):
            return False
        before = self._claimed_at
        if before is not None and at < before:
            return False
        self._claimed_at = at
        self._heard = None
        if arrived is None:
            return False
        if before is None or before <= arrived < at:
            return self._claim_repeats.again(at)
        return self._claim_repeats.due(at)

    def own_claim(self, frame: Frame) -> None:
        """We claimed a VIP ourselves."""
        self._own_claims.append((frame.at, frame.packet))

    def _is_virtual(self, mac: bytes) -> bool:
        return mac == _VIRTUAL_ROUTER_MACS[self.watched.family] + bytes([self.watched.vrid])

    def _reflects(self, frame: Frame) -> bool:
        # The same packet: a kernel that holds the VIP too *answers* the other router's announcement at once.
        return any(packet == frame.packet and abs(frame.at - at) <= REFLECTED_S for at, packet in self._own_claims)
