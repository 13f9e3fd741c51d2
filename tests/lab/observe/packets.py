"""What one captured Ethernet frame is: IKE, ESP, AH, VRRP, ARP, numbered traffic, or something in clear.

Pure: bytes in, a frozen `Packet` out. A frame may be cut short (the capture keeps only its head) and may be garbage:
what cannot be read is `Other`, never an exception.

Sources: RFC 7296 section 3.1 (IKE header), RFC 2408 section 3.1 (IKEv1 header, the same layout), RFC 3948 (UDP
encapsulation), RFC 4302/4303 (AH, ESP), RFC 5798 and RFC 3768 (VRRP 3 and 2), RFC 826, RFC 4861 section 4.4.
"""

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

IKE_PORT = 500
IKE_NAT_PORT = 4500
NUMBERED_PORT = 4242
"""UDP port of the lab's numbered traffic, at the client and at the server."""

NUMBERED = struct.Struct("!4sBxHIQ")
"""Payload of a numbered packet: magic, kind, stream, sequence number, CLOCK_MONOTONIC nanoseconds at the sender."""
NUMBERED_MAGIC = b"swN1"
REQUEST, ECHO = 0, 1

IKE_SA_INIT, IKE_AUTH, CREATE_CHILD_SA, INFORMATIONAL = 34, 35, 36, 37
IKEV1_QUICK_MODE = 32
EXCHANGES = {
    2: "MAIN_MODE", 4: "AGGRESSIVE", 5: "INFORMATIONAL_V1", 6: "TRANSACTION", 32: "QUICK_MODE",
    34: "IKE_SA_INIT", 35: "IKE_AUTH", 36: "CREATE_CHILD_SA", 37: "INFORMATIONAL", 43: "IKE_INTERMEDIATE",
}  # fmt: skip

_ETH_IPV4, _ETH_ARP, _ETH_IPV6 = 0x0800, 0x0806, 0x86DD
_UDP, _ESP, _AH, _ICMPV6, _VRRP = 17, 50, 51, 58, 112
_FRAGMENT_V6 = 44
_EXTENSIONS_V6 = {0, 43, 60}  # hop-by-hop, routing, destination options: next header, length in 8 octets less one
_IKE_HEADER = struct.Struct("!8s8sBBBBII")
_FLAG_INITIATOR, _FLAG_RESPONSE = 0x08, 0x20
_ENCRYPTED_FRAGMENT = 53
_NEIGHBOUR_ADVERTISEMENT = 136
_NON_ESP_MARKER = b"\0\0\0\0"


@dataclass(frozen=True, slots=True)
class Ike:
    """An IKE message; the SPIs are hexadecimal as `swanctl -l` prints them."""

    initiator_spi: str
    responder_spi: str
    version: int
    exchange: int
    message_id: int
    response: bool
    """Always False for IKEv1, whose header does not tell."""
    from_initiator: bool
    fragment: int = 0
    """Number of the fragment (RFC 7383), 0 for a whole message: fragments share all the rest of the header."""

    @property
    def begins_tunnel(self) -> bool:
        """Whether this exchange authenticates or brings the first CHILD_SA: IKE_AUTH, in IKEv1 quick mode."""
        return self.exchange == (IKE_AUTH if self.version == 2 else IKEV1_QUICK_MODE)

    @property
    def name(self) -> str:
        """The exchange in the RFC's word."""
        return EXCHANGES.get(self.exchange, f"EXCHANGE_{self.exchange}")


@dataclass(frozen=True, slots=True)
class Esp:
    """An ESP packet, raw or in UDP 4500; the SPI is hexadecimal as `swanctl -l` prints it."""

    spi: str
    sequence: int
    in_udp: bool


@dataclass(frozen=True, slots=True)
class Ah:
    """An AH packet."""

    spi: str
    sequence: int


@dataclass(frozen=True, slots=True)
class Keepalive:
    """A NAT keepalive (one octet 0xFF to UDP 4500): it says that somebody keeps state, it carries nothing."""


@dataclass(frozen=True, slots=True)
class Vrrp:
    """A VRRP advertisement. Priority 0 means "I leave"."""

    version: int
    vrid: int
    priority: int
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Arp:
    """An ARP message about `sender`, at `sender_mac`; gratuitous where it asks for or announces its own address."""

    request: bool
    sender: str
    sender_mac: str
    target: str

    @property
    def gratuitous(self) -> bool:
        """Whether it announces the sender's own address, as a new VRRP master does."""
        return self.sender == self.target


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An IPv6 neighbour advertisement for `target`."""

    target: str


@dataclass(frozen=True, slots=True)
class Numbered:
    """A packet of the lab's numbered traffic, in clear; `sent_ns` is the sender's CLOCK_MONOTONIC."""

    stream: int
    sequence: int
    sent_ns: int
    echo: bool


@dataclass(frozen=True, slots=True)
class Fragment:
    """A later fragment of a datagram: its ports are in the first one."""

    protocol: int


@dataclass(frozen=True, slots=True)
class Other:
    """Anything else; `protocol` is the IP protocol, or the EtherType where there is no IP."""

    protocol: int


Content = Ike | Esp | Ah | Keepalive | Vrrp | Arp | Neighbour | Numbered | Fragment | Other


@dataclass(frozen=True, slots=True)
class Packet:
    """One frame, seen at one port of the lab's switch."""

    at: float
    """Kernel receive time, seconds of CLOCK_MONOTONIC (what asyncio's `loop.time()` shows on Linux)."""
    port: str
    """The switch's end of the link, e.g. `a-wan1`: so the host is known whatever addresses it claims."""
    leaving: bool
    """True: sent by the host behind the port; False: on its way to that host."""
    mac: str
    """Source MAC."""
    source: str
    destination: str
    """IP addresses; "" where there is no IP header."""
    content: Content

    @property
    def is_ipsec(self) -> bool:
        """IKE, ESP or AH: what only the gateway that runs the connection may send. Keepalives stand apart."""
        return isinstance(self.content, Ike | Esp | Ah)


def read_packet(frame: bytes, *, at: float, port: str, leaving: bool) -> Packet:
    """Decode the head of an Ethernet frame."""
    mac = frame[6:12].hex(":")
    source = destination = ""
    content: Content
    try:
        (ether_type,) = struct.unpack_from("!H", frame, 12)
        if ether_type == _ETH_IPV4:
            source, destination = str(IPv4Address(frame[26:30])), str(IPv4Address(frame[30:34]))
            content = _ipv4(frame[14:])
        elif ether_type == _ETH_IPV6:
            source, destination = str(IPv6Address(frame[22:38])), str(IPv6Address(frame[38:54]))
            content = _ipv6(frame[14:])
        elif ether_type == _ETH_ARP:
            content = _arp(frame[14:])
        else:
            content = Other(ether_type)
    except (struct.error, ValueError, IndexError):  # cut short: ValueError is ipaddress's word for it
        content = Other(int.from_bytes(frame[12:14], "big"))
    return Packet(at, port, leaving, mac, source, destination, content)


def _ipv4(data: bytes) -> Content:
    protocol, offset = data[9], int.from_bytes(data[6:8], "big") & 0x1FFF
    if offset:
        return Fragment(protocol)
    return _payload(protocol, data[(data[0] & 0x0F) * 4 :], address_size=4)


def _ipv6(data: bytes) -> Content:
    following, data = data[6], data[40:]
    while following in _EXTENSIONS_V6:
        following, data = data[0], data[(data[1] + 1) * 8 :]
    if following == _FRAGMENT_V6:
        if int.from_bytes(data[2:4], "big") & 0xFFF8:
            return Fragment(data[0])
        following, data = data[0], data[8:]
    return _payload(following, data, address_size=16)


def _payload(protocol: int, data: bytes, *, address_size: int) -> Content:
    if protocol == _UDP:
        return _udp(data)
    if protocol == _ESP:
        return Esp(*_spi_and_sequence(data, 0), in_udp=False)
    if protocol == _AH:
        return Ah(*_spi_and_sequence(data, 4))
    if protocol == _VRRP:
        return _vrrp(data, address_size)
    if protocol == _ICMPV6 and data[0] == _NEIGHBOUR_ADVERTISEMENT:
        return Neighbour(str(IPv6Address(data[8:24])))
    return Other(protocol)


def _spi_and_sequence(data: bytes, offset: int) -> tuple[str, int]:
    spi, sequence = struct.unpack_from("!4sI", data, offset)
    return spi.hex(), sequence


def _udp(data: bytes) -> Content:
    source, destination, length = struct.unpack_from("!HHH", data)
    payload, ports = data[8:], {source, destination}
    if IKE_NAT_PORT in ports:
        if length == 9 and payload[:1] == b"\xff":
            return Keepalive()
        if payload[:4] == _NON_ESP_MARKER:
            return _ike(payload[4:])
        return Esp(*_spi_and_sequence(payload, 0), in_udp=True)
    if IKE_PORT in ports:
        return _ike(payload)
    if NUMBERED_PORT in ports and payload[:4] == NUMBERED_MAGIC:
        _, kind, stream, sequence, sent_ns = NUMBERED.unpack_from(payload)
        return Numbered(stream, sequence, sent_ns, kind == ECHO)
    return Other(_UDP)


def _ike(data: bytes) -> Content:
    initiator, responder, following, version, exchange, flags, message_id, _ = _IKE_HEADER.unpack_from(data)
    major = version >> 4
    fragment = int.from_bytes(data[32:34], "big") if following == _ENCRYPTED_FRAGMENT else 0
    return Ike(
        initiator_spi=initiator.hex(),
        responder_spi=responder.hex(),
        version=major,
        exchange=exchange,
        message_id=message_id,
        response=major == 2 and bool(flags & _FLAG_RESPONSE),
        from_initiator=major == 2 and bool(flags & _FLAG_INITIATOR),
        fragment=fragment,
    )


def _vrrp(data: bytes, address_size: int) -> Content:
    kind, vrid, priority, count = data[:4]
    # One fixed part of 8 octets in both versions (2: authentication type and interval, 3: interval; then the checksum).
    found = [data[8 + i * address_size :][:address_size] for i in range(count)]
    family = IPv4Address if address_size == 4 else IPv6Address
    addresses = tuple(str(family(raw)) for raw in found if len(raw) == address_size)
    return Vrrp(kind >> 4, vrid, priority, addresses)


def _arp(data: bytes) -> Content:
    (operation,) = struct.unpack_from("!H", data, 6)
    sender, target = IPv4Address(data[14:18]), IPv4Address(data[24:28])
    return Arp(operation == 1, str(sender), data[8:14].hex(":"), str(target))
