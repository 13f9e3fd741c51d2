"""How values are written: addresses, endpoints, selectors, names.

Each function returns the value in its one normal form or raises ValueError with the rule; a rule may quote the value,
so no secret comes through here.
"""

import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"
"""Names of connections, children and interfaces: they are names in charon, labels of metrics and keys of TOML, so
they have no dot, blank or quote; 63 leaves room for ``swanherd-`` and more below vici's limit of 255."""

NAME_RULE = "a name has letters, digits, '-' and '_' only, at most 63, and begins with a letter or digit"

_MAPPED = IPv6Network("::ffff:0:0/96")

DEVICE_MAX = 15
"""Bytes in a device name (the kernel's IFNAMSIZ less its NUL)."""

PROTOCOLS = {
    "icmp": 1, "igmp": 2, "ipip": 4, "tcp": 6, "udp": 17, "ipv6": 41, "gre": 47, "esp": 50, "ah": 51, "icmpv6": 58,
    "ipv6-icmp": 58, "eigrp": 88, "ospf": 89, "pim": 103, "vrrp": 112, "l2tp": 115, "sctp": 132,
}  # fmt: skip
"""Names of IP protocols that people route through tunnels, by IANA's registry."""

_ICMP = (1, 58)

ANY_INTERFACE = "any"
"""In a connection's interfaces: whatever own address the default route gives. No interface can be called that."""

ANY_REMOTE = frozenset({"0.0.0.0", "::"})

_HOSTNAME = re.compile(
    r"^(?=.{1,253}\.?$)([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.?$"
)
_SELECTOR = re.compile(r"(?P<net>[^\[\]]+)(\[(?P<protocol>[^/\]]+)(/(?P<port>[^/\]]+))?\])?")
_NFT_NAME = r"[A-Za-z][A-Za-z0-9/\\_.-]{0,127}"
_CHAIN = re.compile(rf"(?P<family>inet|ip|ip6) +(?P<table>{_NFT_NAME}) +(?P<chain>{_NFT_NAME})")
OUR_TABLE = "swanherd"
_PORTS = re.compile(r"(?P<low>\d{1,5})(-(?P<high>\d{1,5}))?|opaque")


def is_name(text: str) -> bool:
    """Whether *text* can be the name of a connection, a child or an interface."""
    return re.fullmatch(NAME, text) is not None


def address(text: str) -> str:
    """An IPv4 or IPv6 address without prefix or zone."""
    try:
        value = ip_address(text)
    except ValueError:
        raise ValueError(f"'{text}' is not an IP address") from None
    if "%" in text:
        raise ValueError(f"'{text}' has a zone; the interface's device says which link it is")
    _refuse_mapped(ip_network(value), text)
    return str(value)


def _refuse_mapped(value: IPv4Network | IPv6Network, text: str) -> None:
    """No packet has such an address, and charon takes its dots for IPv4 (Python writes it with dots from 3.13 on)."""
    if isinstance(value, IPv6Network) and value.subnet_of(_MAPPED):
        raise ValueError(f"'{text}' is an IPv4 address in IPv6's notation, which no packet has: write it as IPv4")


def vip(text: str) -> str:
    """An address that can be a source."""
    value = ip_address(address(text))
    if value.is_unspecified or value.is_multicast or value.is_loopback:
        raise ValueError(f"'{text}' cannot be a virtual IP address")
    return str(value)


def device(text: str) -> str:
    """A name that the kernel takes for a network device."""
    if not 0 < len(text.encode()) <= DEVICE_MAX or re.search(r"[/\s]", text) or text in {".", ".."}:
        raise ValueError(f"'{text}' is not a device name (at most {DEVICE_MAX} bytes, no blank, no '/')")
    return text


def chain(text: str) -> str:
    """A chain of the user's in nft's words: family, table, chain."""
    match = _CHAIN.fullmatch(text)
    if match is None:
        raise ValueError(
            f"'{text}' is not a chain: write family (inet, ip or ip6), table and chain, as in 'inet filter input'"
        )
    if match["table"] == OUR_TABLE and match["family"] == "inet":
        raise ValueError(f"'{text}' is in swanherd's own table; the rule belongs where your policy of drop is")
    return " ".join(match.groups())


def is_address(text: str) -> bool:
    """Whether *text* is an address, not a hostname."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def endpoint(text: str) -> str:
    """A remote address, a hostname, or ``0.0.0.0`` / ``::`` for a peer that can be anywhere."""
    if is_address(text):
        return address(text)
    if re.fullmatch(r"[0-9.]+", text) or not _HOSTNAME.fullmatch(text):
        raise ValueError(f"'{text}' is neither an IP address nor a hostname")
    return text.lower().removesuffix(".")


def network(text: str) -> str:
    """A network as routes lead to: an address with a prefix, no bit beyond it."""
    try:
        value = ip_network(text)
    except ValueError:
        raise ValueError(f"'{text}' is not a network (as 10.60.0.0/16 or 172.31.0.2/32)") from None
    _refuse_mapped(value, text)
    return str(value)


def is_loopback(text: str) -> bool:
    """Whether *text* is an address of this machine only."""
    return ip_address(text).is_loopback


def _network(text: str, whole: str) -> str:
    if text == "dynamic":
        return text
    if "-" in text:
        ends = [ip_address(address(end.strip())) for end in text.split("-", 1)]
        if ends[0].version != ends[1].version or int(ends[0]) > int(ends[1]):
            raise ValueError(f"'{whole}' is not a range from a lower to a higher address")
        return f"{ends[0]}-{ends[1]}"
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"'{whole}' is not a network, an address, a range or 'dynamic'") from None
    if "/" in text and ip_address(text.split("/", maxsplit=1)[0]) != network.network_address:
        raise ValueError(f"'{whole}' has bits beyond its prefix; the network is {network}")
    _refuse_mapped(network, whole)
    return str(network)


def selector(text: str) -> str:
    """A traffic selector in swanctl's notation: a network, address or range, with ``[protocol/port]`` if wanted.

    The protocol becomes its number: charon knows names from /etc/protocols only, which not every host has.
    """
    match = _SELECTOR.fullmatch(text)
    if match is None:
        raise ValueError(f"'{text}' is not a traffic selector (as 10.1.0.0/24 or 10.1.0.0/24[tcp/443])")
    net = _network(match["net"], text)
    if match["protocol"] is None:
        return net
    port, protocol = match["port"], _protocol(match["protocol"])
    return f"{net}[{protocol}{f'/{_ports(port, protocol)}' if port else ''}]"


def _protocol(text: str) -> int:
    number = PROTOCOLS.get(text.lower()) or (int(text) if re.fullmatch(r"[0-9]{1,3}", text) else 0)
    if not 0 < number < 256:
        raise ValueError(f"no protocol is called '{text}'; its number from 1 to 255 will do")
    return number


def _ports(text: str, protocol: int) -> str:
    """A port, or a range of them; of ICMP the type in the upper byte, and the code in the lower one (0: any).

    A number below 256 is a type alone, as charon takes it.
    """
    match = _PORTS.fullmatch(text)
    if match is None or match["low"] is None:
        if text == "opaque":
            return text
        raise ValueError(f"'{text}' is not a port, a range of ports or 'opaque'")
    low, high = int(match["low"]), int(match["high"] or match["low"])
    if protocol in _ICMP:
        low, high = (end << 8 if end < 256 else end for end in (low, high))
    if not low <= high < 65536:
        raise ValueError(f"'{text}' is not a range from a lower to a higher port below 65536")
    return str(low) if low == high else f"{low}-{high}"


def families(selector_text: str) -> frozenset[int]:
    """The IP families that a selector can be of; ``dynamic`` follows the endpoints."""
    net = selector_text.split("[", maxsplit=1)[0]
    if net == "dynamic":
        return frozenset({4, 6})
    return frozenset({6 if ":" in net else 4})


def socket_path(text: str) -> str:
    """An absolute path that fits into the address of a Unix socket."""
    if not text.startswith("/") or len(text.encode()) > 107:
        raise ValueError(f"'{text}' is not an absolute path of at most 107 bytes")
    return text


def directory(text: str) -> str:
    """An absolute path."""
    if not text.startswith("/") or "\0" in text:
        raise ValueError(f"'{text}' is not an absolute path")
    return text


def listen(text: str) -> str:
    """``ADDRESS:PORT``, ``[ADDRESS]:PORT`` or ``off``."""
    if text == "off":
        return text
    host, _, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    bracketed = host.startswith("[") and host.endswith("]")
    if not is_address(bare) or (":" in bare) != bracketed or not re.fullmatch(r"[0-9]{1,5}", port):
        raise ValueError(f"'{text}' is not ADDRESS:PORT, [ADDRESS]:PORT or 'off'")
    if not 0 < int(port) < 65536:
        raise ValueError(f"'{text}' has no port between 1 and 65535")
    return text
