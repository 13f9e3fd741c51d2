"""A model of the world of one gateway: what the kernel, charon, the peer and somebody else do."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final

from swanherd.core.facts import CharonIdentity, DefaultRoute, Failure, HeldAddress, Link, Network, Wire
from swanherd.core.intent import IPAddress
from swanherd.core.record import Record
from swanherd.core.words import Reason
from tests.unit.core.charon import Charon, CharonStep, Command, Loaded, Sa
from tests.unit.core.settings import OWN, VIP_WAN

GIVES_UP_S: Final = 165.0
"""After this long charon stops retransmitting a first message."""


@dataclass(slots=True)
class World:
    """One gateway and its peer. Time only moves when it is told to."""

    now: float = 100.0
    addresses: dict[tuple[IPAddress, str], bool] = field(default_factory=lambda: {(OWN, "eth2"): True})
    """(address, device) to whether it is usable."""
    links: dict[str, bool] = field(default_factory=lambda: {"eth0": True, "eth1": True, "eth2": True})
    defaults: dict[str, int] = field(default_factory=lambda: {"eth0": 10, "eth1": 20})
    """Device to metric."""
    path: str | None = "eth0"
    """The device by which the kernel would send to BETA's endpoint."""
    mute: bool = False
    """The kernel tells no route when it is asked for one."""
    blind_since: float | None = None
    """Since when the kernel's network cannot be read."""
    charon: Charon | None = None
    wire: Wire | None = None
    nft_broken: bool = False
    disk: Record = field(default_factory=Record)
    """The ownership record's file."""
    peer: str = "answers"
    """answers, silent, auth (it refuses us) or closes (it lets us in and deletes the SA at once)."""
    _pids: int = 100

    def __post_init__(self) -> None:
        self.start_charon()

    # --- kernel ---

    def network(self) -> Network:
        """Addresses, links and default routes as the kernel would list them."""
        addresses: dict[IPAddress, tuple[HeldAddress, ...]] = {}
        for (ip, device), usable in self.addresses.items():
            addresses[ip] = (*addresses.get(ip, ()), HeldAddress(ip, 24, device, usable, 0.0))
        links = {name: Link(name, index, up) for index, (name, up) in enumerate(self.links.items(), start=1)}
        routes = sorted(self.defaults.items(), key=lambda route: route[1])
        return Network(
            addresses, links, tuple(DefaultRoute(4, device, metric, self.links[device]) for device, metric in routes)
        )

    def reachable(self, local: IPAddress) -> bool:
        """Whether a packet from *local* leaves and its answer comes back."""
        return any(usable and self.links[device] for (ip, device), usable in self.addresses.items() if ip == local)

    # --- charon ---

    def start_charon(self) -> None:
        """A new process, if there is none."""
        if self.charon is None:
            self._pids += 1
            self.charon = Charon(CharonIdentity(self._pids, self._pids))

    def kill_charon(self) -> None:
        """Everything in it is gone, and what it was sent is lost."""
        self.charon = None

    def send(self, step: CharonStep, run: int) -> Command:
        """Send *step*; it is carried out at once unless charon is frozen or slow."""
        assert self.charon is not None
        command = Command(step, run, self.now)
        self.charon.under_way.append(command)
        if not (self.charon.frozen or self.charon.slow):
            self.deliver(command)
        return command

    def deliver(self, command: Command) -> None:
        """Have charon carry out one of the commands that are under way."""
        if self.charon is not None and command in self.charon.under_way:
            self.charon.under_way.remove(command)
            command.error = self.charon.run(command.step, self.now)
            command.done = True

    def orphan(self, run: int) -> None:
        """The *run* is over: a charon that answers has done what it was sent before the next one asks."""
        if self.charon is not None and not self.charon.frozen:
            for command in [command for command in self.charon.under_way if command.run <= run]:
                self.deliver(command)

    def deliver_all(self, *, backwards: bool = False) -> None:
        """Have charon carry out all that is under way, in one order or the other."""
        if self.charon is not None:
            for command in self.charon.under_way[:: -1 if backwards else 1]:
                self.deliver(command)

    def load_all(self) -> None:
        """Somebody else's ``swanctl --load-all``: what is not in swanctl.conf goes, live SAs and traps stay."""
        if self.charon is not None and not self.charon.frozen:
            self.charon.configs = {
                name: loaded for name, loaded in self.charon.configs.items() if loaded.connection is None
            }
            self.charon.secrets = {"their-secret": "t"}

    # --- the peer ---

    def peer_acts(self) -> None:
        """The peer answers what waits for it."""
        charon = self.charon
        if charon is None or charon.frozen:
            return
        for sa in [sa for sa in charon.sas.values() if sa.ours]:
            answers = self.reachable(sa.local) and self.peer != "silent"
            if not answers:
                if sa.state == "CONNECTING" and self.now - sa.begun >= GIVES_UP_S:
                    del charon.sas[sa.unique_id]
            elif sa.state == "CONNECTING" and self.peer == "auth":
                del charon.sas[sa.unique_id]
                charon.failures[sa.name] = Failure(Reason.AUTH_FAILED, "AUTH_FAILED", self.now)
            elif sa.state == "ESTABLISHED" and self.peer == "closes":
                del charon.sas[sa.unique_id]
            else:
                self._establish(charon, sa)

    def peer_calls(self, name: str) -> None:
        """The peer initiates: charon answers only what is loaded, from an address that is here."""
        charon = self.charon
        loaded = charon.configs.get(name) if charon is not None else None
        if charon is None or charon.frozen or loaded is None or loaded.connection is None:
            return
        if self.peer == "silent" or not self.reachable(loaded.source):
            return
        sa = Sa(charon.new_id(), name, loaded.source, ip_address("203.0.113.20"), self.now, initiator=False)
        # INITIAL_CONTACT: what the peer had with us before is gone.
        charon.sas = {key: old for key, old in charon.sas.items() if old.name != name} | {sa.unique_id: sa}
        sa.asked = {child.name for child in loaded.connection.children}
        self._establish(charon, sa)

    def peer_deletes(self, name: str, *, only_child: bool = False) -> None:
        """The peer deletes the SAs of *name*, or one CHILD_SA of each."""
        for sa in self._live(name):
            if not only_child and self.charon is not None:
                del self.charon.sas[sa.unique_id]
            elif sa.children:
                del sa.children[min(sa.children)]

    def closing(self, name: str) -> None:
        """Somebody deletes the SAs of *name* without force: they stay in DELETING."""
        for sa in self._live(name):
            sa.state = "DELETING"

    def _live(self, name: str) -> Iterator[Sa]:
        if self.charon is not None and not self.charon.frozen:
            yield from [sa for sa in self.charon.of(name) if sa.ours and sa.state == "ESTABLISHED"]

    def _establish(self, charon: Charon, sa: Sa) -> None:
        if sa.state == "DELETING":
            return
        if sa.state == "CONNECTING":
            sa.state, sa.since = "ESTABLISHED", self.now
        for child in sorted(sa.asked):
            sa.children.setdefault(child, charon.new_id())
        sa.asked.clear()
        charon.failures.pop(sa.name, None)

    # --- somebody else ---

    def foreign(self, name: str) -> None:
        """Somebody loads a connection of their own under *name*, which is free."""
        if self.charon is not None and not self.charon.frozen and not self.charon.holds(name):
            self.charon.configs[name] = Loaded("foreign", VIP_WAN)
            key = self.charon.new_id()
            self.charon.sas[key] = Sa(key, name, VIP_WAN, ip_address("203.0.113.98"), self.now, ours=False)

    def foreign_leaves(self, name: str) -> None:
        """They take it away again, with its SAs."""
        if self.charon is not None and not self.charon.ours_under(name):
            del self.charon.configs[name]
            self.charon.sas = {key: sa for key, sa in self.charon.sas.items() if sa.name != name}
