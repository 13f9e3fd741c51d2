"""The passive VRRP listener: hears our own adverts leave and other routers' arrive, and says neither.

It takes no part in VRRP and sends nothing. It needs CAP_NET_RAW; without it everything is Unknown, for one reason.
"""

import asyncio
import errno
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from swanherd.core.evidence import Heard
from swanherd.core.facts import Absent, Known, Network, Unknown
from swanherd.core.intent import IPAddress
from swanherd.core.rhythm import until_tick_s
from swanherd.world.vrrp.adverts import Ignored, claimed, is_claim, read_advert
from swanherd.world.vrrp.clock import KernelClock
from swanherd.world.vrrp.ear import Ear, Frame
from swanherd.world.vrrp.instance import Instance, Place, Watched
from swanherd.world.vrrp.macs import OwnMacs

SLICE_PACKETS: Final = 64
"""Handled before other work of the loop gets its turn: about 1 ms."""

FLOODED_PAUSE_S: Final = 0.005
"""After a full slice of what others send. What does not fit into the queue meanwhile is dropped by the kernel, counted;
a flood so costs a fifth of a processor, and never a packet of our own, which have a queue to themselves."""

TICK_S: Final = 1.0
"""How often lost packets are counted, and a socket that could not be had is tried again."""

DROPPED: Final = "dropped"
"""The counter of packets that found the queue full."""

HEARD: Final = "heard"
"""The counter of other routers' adverts with nothing wrong; whether one changes anything is not decided here."""

_NO_PERMISSION: Final = frozenset({errno.EPERM, errno.EACCES, errno.EAFNOSUPPORT})
"""No CAP_NET_RAW, or systemd's RestrictAddressFamilies= without AF_PACKET: neither comes by waiting."""
_NO_DEVICE: Final = frozenset({errno.ENODEV, errno.ENXIO})


class _Post:
    """The two ears on one device."""

    def __init__(self, device: str, index: int, vips: frozenset[IPAddress], clock: KernelClock) -> None:
        self.device, self.index, self.vips = device, index, vips
        self.own = Ear(device, outgoing=True, vips=vips, clock=clock)
        try:
            self.others = Ear(device, outgoing=False, vips=vips, clock=clock)
        except BaseException:  # whatever ends this, the socket is not left open
            self.own.close()
            raise
        self.resume: asyncio.TimerHandle | None = None
        """Set while the others are not listened to, after a full slice."""


class VrrpListener:
    """Hears one VRRP instance for each watched interface of the settings. Made inside a running loop.

    *on_change* is called on the loop with the names of interfaces whose `heard` changed in a way that can change a
    judgement: an advert of ours that comes in its time only moves ``own_at`` and is not told.
    """

    def __init__(self, *, on_change: Callable[[frozenset[str]], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_change = on_change
        self._clock = KernelClock()
        self._macs = OwnMacs()
        self._network: Network | None = None
        self._places: dict[str, Place] = {}
        self._instances: dict[str, Instance] = {}
        self._by_instance: dict[tuple[str, int, int], list[str]] = {}
        self._by_vip: dict[tuple[str, IPAddress], list[str]] = {}
        self._vrids: dict[str, frozenset[int]] = {}
        self._posts: dict[str, _Post] = {}
        self._states: dict[str, Known[None] | Unknown[None]] = {}
        """By device: since when it is listened to, or why not."""
        self._started_at = self._loop.time()
        self._running = False
        self._refused = False
        self.trouble = ""
        """What keeps the listener from hearing anything, in one line for people; empty: nothing does."""
        self.counters: Counter[str] = Counter({reason.value: 0 for reason in Ignored} | {DROPPED: 0, HEARD: 0})
        """Adverts that changed nothing by reason, those with nothing wrong, and packets that were dropped unheard."""

    def watch(self, interfaces: Mapping[str, Watched]) -> None:
        """Listen for *interfaces*, by name, and no others; what was heard of an unchanged instance stays known."""
        former, self._instances = self._instances, {}
        for name, watched in interfaces.items():
            self._instances[name] = instance = Instance(watched)
            if (known := former.get(name)) is not None and _same(known.watched, watched):
                instance.continues(known)
        self._by_instance, self._by_vip = {}, {}
        vrids: dict[str, set[int]] = {}
        for name, watched in interfaces.items():
            self._by_instance.setdefault((watched.device, watched.vrid, watched.family), []).append(name)
            vrids.setdefault(watched.device, set()).add(watched.vrid)
            for vip in watched.vips:
                self._by_vip.setdefault((watched.vip_device or watched.device, vip), []).append(name)
        self._vrids = {device: frozenset(known) for device, known in vrids.items()}
        self._refused = False
        self._settle()

    def network_changed(self, network: Network) -> None:
        """This is the host's network now: who is we, and which devices there are."""
        if self._network is None or network.links is not self._network.links:
            self._macs.follow(network.links)
        self._network = network
        self._places.clear()
        self._settle()

    def heard(self, name: str) -> Known[Heard] | Unknown[Heard] | Absent:
        """What was heard for the interface *name*; Absent: it is not watched.

        Known since listening on its device began. Unknown: ``not-read`` before that, ``no-permission``, ``no-device``
        or ``failed``, with what was heard before.
        """
        instance = self._instances.get(name)
        if instance is None:
            return Absent()
        state = self._states.get(instance.watched.device)
        if isinstance(state, Known):
            return Known(instance.heard, state.since)
        if state is None:
            return Unknown(self._started_at, "not-read", instance.heard)
        return Unknown(state.since, state.why, instance.heard)

    async def run(self) -> None:
        """Listen until cancelled."""
        self._running = True
        try:
            self._settle()
            while True:
                await asyncio.sleep(until_tick_s(self._loop.time(), TICK_S))
                self._tick()
        finally:
            self._running = False
            for device in list(self._posts):
                self._leave(device)
            self._states.clear()

    def _tick(self) -> None:
        for post in self._posts.values():
            self.counters[DROPPED] += post.own.dropped() + post.others.dropped()
        if any(isinstance(state, Unknown) and state.why == "failed" for state in self._states.values()):
            self._settle()

    # --- where to listen -----

    def _settle(self) -> None:
        """Listen on exactly the devices that are watched and there."""
        if not self._running or self._network is None:
            return
        wanted = {instance.watched.device for instance in self._instances.values()} | {on for on, _ in self._by_vip}
        for device in set(self._posts) | set(self._states):
            if device not in wanted:
                self._leave(device)
                self._states.pop(device, None)
        changed = [device for device in sorted(wanted) if self._settle_device(device, self._network)]
        if changed:
            self._on_change(frozenset(self._names_on(changed)))

    def _settle_device(self, device: str, network: Network) -> bool:
        """Whether it is another state of things now."""
        link = network.links.get(device)
        vips = frozenset(vip for on, vip in self._by_vip if on == device)
        post = self._posts.get(device)
        if link is None:
            self._leave(device)
            return self._not_heard(device, "no-device")
        if post is not None and post.index == link.index:
            if post.vips != vips:
                post.own.hear_claims_of(vips)
                post.others.hear_claims_of(vips)
                post.vips = vips
            return False
        self._leave(device)
        if self._refused:
            return self._not_heard(device, "no-permission")
        return self._listen(device, link.index, vips)

    def _listen(self, device: str, index: int, vips: frozenset[IPAddress]) -> bool:
        try:
            post = _Post(device, index, vips, self._clock)
        except OSError as error:
            return self._cannot_listen(device, error)
        self.trouble = ""
        self._posts[device] = post
        self._loop.add_reader(post.own, self._hear, post)
        self._loop.add_reader(post.others, self._hear, post)
        self._states[device] = Known(None, self._loop.time())
        return True

    def _cannot_listen(self, device: str, error: OSError) -> bool:
        if error.errno in _NO_PERMISSION:
            self._refused = True
            self.trouble = f"VRRP adverts cannot be heard, CAP_NET_RAW or AF_PACKET is not allowed: {error.strerror}"
            return self._not_heard(device, "no-permission")
        if error.errno in _NO_DEVICE:
            return self._not_heard(device, "no-device")
        self.trouble = f"VRRP adverts cannot be heard on {device}: {error.strerror}"
        return self._not_heard(device, "failed")

    def _not_heard(self, device: str, why: str) -> bool:
        state = self._states.get(device)
        if isinstance(state, Unknown) and state.why == why:
            return False
        self._states[device] = Unknown(self._loop.time(), why)
        return True

    def _leave(self, device: str) -> None:
        post = self._posts.pop(device, None)
        if post is None:
            return
        if post.resume is not None:
            post.resume.cancel()
        for ear in (post.own, post.others):
            self._loop.remove_reader(ear)
            self._loop.run_in_executor(None, ear.close)

    def _names_on(self, devices: Iterable[str]) -> Iterable[str]:
        return (name for name, instance in self._instances.items() if instance.watched.device in devices)

    # --- what is heard -----

    def _hear(self, post: _Post) -> None:
        """The reader callback: one slice. Our own first, so that nobody is told of another's advert without them."""
        news: set[str] = set()
        try:
            for frame in post.own.take(SLICE_PACKETS):
                self._take_in(post, frame, news, outgoing=True)
            frames = post.others.take(SLICE_PACKETS) if post.resume is None else []
        except OSError as error:
            self._lose(post, error)
            return
        for frame in frames:
            self._take_in(post, frame, news, outgoing=False)
        if len(frames) == SLICE_PACKETS:
            self._pause(post)
        if news:
            self._on_change(frozenset(news))

    def _pause(self, post: _Post) -> None:
        self._loop.remove_reader(post.others)
        post.resume = self._loop.call_later(FLOODED_PAUSE_S, self._resume, post)

    def _resume(self, post: _Post) -> None:
        post.resume = None
        self._loop.add_reader(post.others, self._hear, post)

    def _lose(self, post: _Post, error: OSError) -> None:
        self._leave(post.device)
        self._cannot_listen(post.device, error)
        self._on_change(frozenset(self._names_on([post.device])))

    def _take_in(self, post: _Post, frame: Frame, news: set[str], *, outgoing: bool) -> None:
        if is_claim(frame.packet, frame.ethertype):
            self._claim(post, frame, news, outgoing=outgoing)
            return
        advert = read_advert(frame.packet, frame.ethertype)
        if isinstance(advert, Ignored):
            self.counters[advert] += 1
            return
        names = self._by_instance.get((post.device, advert.vrid, advert.family))
        if not names:
            known = advert.vrid in self._vrids.get(post.device, ())
            self.counters[Ignored.FAMILY if known else Ignored.VRID] += 1
            return
        place = self._place(post.device)
        if outgoing and (place.is_own(advert.source) or self._macs.has(frame.mac, self._clock.now)):
            news.update(name for name in names if self._instances[name].own_advert(advert.priority, frame.at))
            return
        for name in names:
            instance = self._instances[name]
            if refused := instance.refuses(advert, place):
                self.counters[refused] += 1
                continue
            self.counters[HEARD] += 1
            if instance.other_advert(advert.source, frame.at, place.arrived(instance.watched.vips)):
                news.add(name)

    def _claim(self, post: _Post, frame: Frame, news: set[str], *, outgoing: bool) -> None:
        vip = claimed(frame.packet, frame.ethertype)
        names = self._by_vip.get((post.device, vip)) if vip is not None else None
        if not names:
            return
        own_mac = self._macs.has(frame.mac, self._clock.now)
        place = self._place(post.device)
        for name in names:
            instance = self._instances[name]
            if outgoing and own_mac:
                instance.own_claim(frame)
            elif instance.claim(frame, place.arrived(instance.watched.vips), own_mac=own_mac):
                news.add(name)

    def _place(self, device: str) -> Place:
        place = self._places.get(device)
        if place is None:
            place = self._places[device] = Place(self._network or Network(), device)
        return place


def _same(one: Watched, other: Watched) -> bool:
    """Whether both are about the same VRRP instance."""
    return (one.device, one.vrid, one.family) == (other.device, other.vrid, other.family)
