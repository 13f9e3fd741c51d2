"""What the user wants, as the core sees it: validated, frozen, free of secrets.

``swanherd.settings`` makes these from TOML; nothing here validates. Durations are in seconds and end in ``_s``.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from types import MappingProxyType
from typing import Final, Literal

from swanherd.core.words import Start

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network


IKE_AGREED: Final = (
    "local_id", "remote_id", "ip_version", "ike_version", "auth", "proposals", "mobike", "encap",
    "if_id",
)  # fmt: skip
"""Fields of a connection that a live IKE_SA keeps; with others than today's it is replaced (see also ``remote``)."""

CHILD_AGREED: Final = ("local_ts", "remote_ts", "esp_proposals", "ah_proposals", "mode")
"""Fields of a child that a live CHILD_SA keeps; with others than today's it alone is replaced."""


class EvidenceSource(StrEnum):
    """Where VRRP evidence for a VIP can come from; what is not declared never decides."""

    DBUS = "dbus"
    FIFO = "fifo"
    ADVERTS = "adverts"
    PROCESS = "process"


@dataclass(frozen=True, slots=True)
class VrrpDeclaration:
    """Which VRRP instance moves an interface's VIPs, and which evidence exists for it."""

    instance: str | None = None
    vrid: int | None = None
    evidence: frozenset[EvidenceSource] = frozenset()
    advert_interval_s: float = 1.0
    device: str | None = None
    """Where the instance speaks; None: on the interface's own device."""
    family: Literal[4, 6] | None = None
    """IP version of the instance's adverts; None: that of the interface's first VIP (excluded ones may differ)."""
    unicast_peers: tuple[IPAddress, ...] = ()
    """Routers whose unicast adverts count; empty: the instance uses multicast."""


@dataclass(frozen=True, slots=True)
class Interface:
    """A named way out: a device plus the address that is the IKE source.

    Without ``vips`` the device's own address is the source and is held while the device has one.
    """

    name: str
    device: str
    vips: tuple[IPAddress, ...] = ()
    vrrp: VrrpDeclaration | None = None


@dataclass(frozen=True, slots=True, order=True)
class ChainName:
    """A chain of somebody else's nftables table."""

    family: Literal["inet", "ip", "ip6"]
    table: str
    chain: str

    def __str__(self) -> str:
        return f"{self.family} {self.table} {self.chain}"


@dataclass(frozen=True, slots=True)
class Child:
    """One CHILD_SA configuration ("Phase 2"). Proposals are in strongSwan's notation; selectors in swanctl's."""

    name: str
    local_ts: tuple[str, ...]
    remote_ts: tuple[str, ...]
    esp_proposals: tuple[str, ...] = ()
    ah_proposals: tuple[str, ...] = ()
    mode: Literal["tunnel", "transport"] = "tunnel"
    rekey_s: int = 3600
    start: Start | None = None
    """None: as the connection."""
    agreed: str = field(init=False, repr=False, compare=False)
    """A print of what a CHILD_SA of this child has agreed with the peer, and keeps through every rekey."""

    def __post_init__(self) -> None:
        """Made once: it is asked for in every decision."""
        object.__setattr__(self, "agreed", _print(self, CHILD_AGREED))


@dataclass(frozen=True, slots=True)
class Identity:
    """An IKE identity in strongSwan's notation; None as ``value`` follows the source ("My IP Address")."""

    value: str | None = None


@dataclass(frozen=True, slots=True)
class Certificates:
    """What a connection proves itself by, and what the peer must prove itself by. All of it is public."""

    chain: tuple[bytes, ...] = field(repr=False)
    """Ours, in DER: the end entity first, its intermediates behind it."""
    cas: tuple[bytes, ...] = field(repr=False)
    """The CAs, in DER, one of which the peer's certificate must come from."""
    key_id: str
    """Of our private key, as charon calls it: the SHA-1 of its public key, in hexadecimal."""
    not_before: float = 0.0
    not_after: float = float("inf")
    """When the chain becomes valid and when it expires; seconds since the epoch."""

    @property
    def print(self) -> str:
        """Changes with every byte of them."""
        whole = hashlib.sha256()
        for one in (*self.chain, b"|", *self.cas):
            whole.update(hashlib.sha256(one).digest())
        return whole.hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class XfrmInterface:
    """A device of our own through which a connection's traffic goes; connections may share one."""

    name: str
    if_id: int
    addresses: tuple[IPAddress, ...] = ()
    mtu: int | None = None
    """None: the kernel's."""
    install_routes: bool = False
    """Route the children's remote networks into it while a connection of it runs."""
    routes: tuple[IPNetwork, ...] = ()
    """Networks that are routed into it then, too."""


@dataclass(frozen=True, slots=True)
class GreInterface:
    """A GRE device of our own between a connection's source and its endpoint; one connection's alone."""

    name: str
    addresses: tuple[IPAddress, ...] = ()
    mtu: int | None = None
    """None: the kernel's."""
    routes: tuple[IPNetwork, ...] = ()
    """Networks that are routed into it while the connection runs."""


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of a split connection a connection is: each has one child, and an IKE_SA of its own."""

    of: str
    """The connection's name in the settings."""
    number: int
    """From 0 on."""


@dataclass(frozen=True, slots=True)
class Connection:
    """One IKE configuration ("Phase 1")."""

    name: str
    interfaces: tuple[str, ...]
    """Names of interfaces; more than one: a route chooses (``source_by``)."""
    remote: tuple[str, ...]
    """Endpoints in order: addresses, hostnames, or ``0.0.0.0`` / ``::`` for any."""
    children: tuple[Child, ...]
    local_id: Identity = Identity()
    remote_id: str | None = None
    """None: the endpoint's address; ``%any``: anybody."""
    ip_version: Literal[4, 6] = 4
    ike_version: Literal[1, 2] = 2
    auth: Literal["psk", "certificate"] = "psk"
    certificates: Certificates | None = None
    """None with a pre-shared key, and where the files cannot be read."""
    proposals: tuple[str, ...] = ()
    rekey_s: int = 14400
    rekey: bool = True
    """Whether this end starts a rekey, of the IKE_SA and of its children."""
    start: Start = Start.CONNECT
    mobike: bool = False
    encap: bool = False
    """Encapsulate in UDP although there is no NAT."""
    refuse_nat: bool = False
    """Do not run where a NAT is found on the way: charon finds one in each handshake, and cannot be told not to."""
    dpd_delay_s: int = 30
    dpd_timeout_s: int | None = None
    """How long the peer may owe an answer; None: as long as charon retransmits."""
    attempt_s: float = 6.0
    """How long one of several endpoints may take to answer before the next one has its turn."""
    prefer_first: bool = False
    """Whether it returns to the first endpoint as soon as that lives again."""
    move_hold_s: float = 10.0
    """How long it stays where it has moved to, while that way works."""
    if_id: int = 0
    """Of the XFRM interface that its SAs belong to; 0: none."""
    xfrm: XfrmInterface | None = None
    part: Part | None = None
    """None: it is a connection of the settings, whole."""
    priority: int = 0
    """Takeovers go by priority, highest first; equal ones in the order of the settings."""
    source_by: Literal["default-route", "route-to-endpoint"] = field(default="default-route", repr=False)
    """Which route chooses among several interfaces; charon is told the source alone."""
    firewall_rule: ChainName | None = field(default=None, repr=False)
    """The user's chain in which a rule of ours lets this connection's IPsec in; charon is not told of it."""
    gre: GreInterface | None = field(default=None, repr=False)
    """The GRE device whose packets its child protects; charon is not told of it."""
    when_down: Literal["drop", "pass"] = field(default="drop", repr=False)
    """What becomes of the children's traffic while it has no SA; charon is told nothing of it (see ``fingerprint``)."""
    agreed: str = field(init=False, repr=False, compare=False)
    """A print of what an IKE_SA of this connection has agreed with the peer, and keeps through every rekey."""

    def __post_init__(self) -> None:
        """Made once: it is asked for in every decision."""
        object.__setattr__(self, "agreed", _print(self, IKE_AGREED))

    @property
    def table(self) -> str:
        """The name of its table in the settings."""
        return self.part.of if self.part is not None else self.name

    @property
    def shared_id(self) -> str:
        """The id of this connection's secret in charon (``load-shared``); stable, so that a new one replaces it."""
        return f"swanherd-{self.name}"

    def start_of(self, child: Child) -> Start:
        """How *child* comes up: its own word, else the connection's; a responder never initiates."""
        if self.start is Start.RESPOND:
            return Start.RESPOND
        return child.start or self.start

    def fingerprint(self, source: IPAddress) -> str:
        """Same fingerprint, same ``load-conn``: covers all that is sent to charon, with the source, and no secret.

        What charon is not told is left out of ``repr``, and so out of this.
        """
        certificates = self.certificates.print if self.certificates is not None else ""
        return hashlib.sha256(f"{self!r}|{certificates}|{source}".encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Intent:
    """All that the settings ask for, in the core's words."""

    interfaces: Mapping[str, Interface] = field(default_factory=lambda: MappingProxyType({}))
    connections: Mapping[str, Connection] = field(default_factory=lambda: MappingProxyType({}))
    ike_ports: tuple[int, ...] = (500, 4500)

    @property
    def vips(self) -> frozenset[IPAddress]:
        """Every declared VIP: what the guard watches over."""
        return frozenset(vip for interface in self.interfaces.values() for vip in interface.vips)


def _print(of: object, fields: tuple[str, ...]) -> str:
    text = "|".join(repr(getattr(of, field)) for field in fields)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
