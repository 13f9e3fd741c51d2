"""The lab's network: who is where, and how it is wired. Everybody who reads a capture or a log needs these names.

Hosts ``gw-a``, ``gw-b`` (the pair), ``peer``, ``client`` (behind the pair), ``server`` (behind the peer), and
``switch``, which holds the bridges ``wan1``, ``wan2``, ``lan``, ``far``. A host's device has the name of its net; the
other end of its cable is a port of the bridge: ``a-wan1``, ``b-wan1``, ``p-wan1``, ``c-lan``, ``s-far`` ... The ports
stay the same devices over power cycles.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

GATEWAYS: Final = ("gw-a", "gw-b")
HOSTS: Final = (*GATEWAYS, "peer", "client", "server")
SWITCH: Final = "switch"

SHORT: Final[Mapping[str, str]] = MappingProxyType(
    {"gw-a": "a", "gw-b": "b", "peer": "p", "client": "c", "server": "s"}
)
"""What a host is called in the name of a bridge port."""

NETS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "wan1": ("203.0.113.", "2001:db8:1::"),
        "wan2": ("198.51.100.", "2001:db8:2::"),
        "lan": ("10.10.0.", "fd00:10::"),
        "far": ("10.20.0.", "fd00:20::"),
    }
)
"""The prefixes of each net, IPv4 (/24) and IPv6 (/64)."""

PLACES: Final[Mapping[tuple[str, str], tuple[int, ...]]] = MappingProxyType(
    {
        ("gw-a", "wan1"): (2,),
        ("gw-a", "wan2"): (2,),
        ("gw-a", "lan"): (2,),
        ("gw-b", "wan1"): (3,),
        ("gw-b", "wan2"): (3,),
        ("gw-b", "lan"): (3,),
        # .20 is the IPsec peer; .1 plays the internet, to which both gateways have their default routes.
        ("peer", "wan1"): (20, 1),
        ("peer", "wan2"): (20, 1),
        ("peer", "far"): (1,),
        # .100 goes by the VIP, .101 by gw-a's own address, .102 by gw-b's: a ghost always has something to encrypt.
        ("client", "lan"): (100, 101, 102),
        ("server", "far"): (100,),
    }
)
"""Which last parts of an address a host has in a net; the first one is its own, also for sending."""

VIP_PLACES: Final[Mapping[str, tuple[int, ...]]] = MappingProxyType(
    {"wan1": (10, 11), "wan2": (10, 11), "lan": (1, 11)}
)
"""The last parts of each net's virtual addresses; most pairs have the first one only."""

NET_OF_FAMILY: Final[Mapping[int, int]] = MappingProxyType({4: 24, 6: 64})


def address(host: str, net: str, family: int = 4) -> str:
    """A host's own address in a net."""
    return place(net, PLACES[host, net][0], family)


def vip(net: str, family: int = 4, *, number: int = 0) -> str:
    """A net's virtual address, the first one or another."""
    return place(net, VIP_PLACES[net][number], family)


def vips(net: str, family: int = 4) -> tuple[str, ...]:
    """All of a net's virtual addresses."""
    return tuple(place(net, last, family) for last in VIP_PLACES[net])


def place(net: str, last: int, family: int = 4) -> str:
    """The address with the last part *last* in a net; written alike in both families (``.100`` and ``::100``)."""
    return f"{NETS[net][0 if family == 4 else 1]}{last}"


def subnet(net: str, family: int = 4) -> str:
    """A net's prefix, e.g. as a traffic selector."""
    return f"{NETS[net][0]}0/24" if family == 4 else f"{NETS[net][1]}/64"


def port(host: str, net: str) -> str:
    """The bridge's end of a host's cable, a device in the switch."""
    return f"{SHORT[host]}-{net}"


def nets_of(host: str) -> tuple[str, ...]:
    """The nets to which a host has a cable; its devices have the same names."""
    return tuple(net for at, net in PLACES if at == host)


def mac(host: str, net: str) -> str:
    """The fixed MAC of a host's device: 02:5a:00:00:(host):(net), counted from 1; easy to read in a capture."""
    return f"02:5a:00:00:{HOSTS.index(host) + 1:02x}:{list(NETS).index(net) + 1:02x}"


# --- what `ip -batch` reads ---------------------------------------------------------------------------------------


def switch_batch(pids: Mapping[str, int]) -> str:
    """Bridges and cables; *pids* are the hosts' first processes as seen by whoever runs it."""
    lines = []
    for net in NETS:
        # No snooping: it would hold back VRRP adverts and neighbour discovery until somebody asks.
        lines += [f"link add {net} type bridge mcast_snooping 0", f"link set {net} up"]
    for host, net in PLACES:
        end = port(host, net)
        lines += [
            f"link add {end} type veth peer name {net} address {mac(host, net)} netns {pids[host]}",
            f"link set {end} master {net} up",
        ]
    return "\n".join(lines) + "\n"


def host_batch(host: str, family: int) -> str:
    """Addresses, routes and rules of a host whose devices are there; for ``ip -4`` or ``ip -6``."""
    lines = []
    bits = f"{NET_OF_FAMILY[family]}" + (" nodad" if family == 6 else "")
    for net in nets_of(host):
        lines.append(f"link set {net} up")
        lines += [f"address add {place(net, last, family)}/{bits} dev {net}" for last in PLACES[host, net]]
    return "\n".join(lines + _routes(host, family)) + "\n"


def _routes(host: str, family: int) -> list[str]:
    lines = []
    if host in GATEWAYS:
        lines += [
            f"route add default via {place('wan1', 1, family)} dev wan1 metric 100",
            f"route add default via {place('wan2', 1, family)} dev wan2 metric 200",
        ]
    elif host == "client":
        lines.append(f"route add default via {vip('lan', family)} dev lan")
        for last, gateway in ((101, "gw-a"), (102, "gw-b")):
            lines += [
                f"route add default via {address(gateway, 'lan', family)} dev lan table {last}",
                f"rule add from {place('lan', last, family)} lookup {last}",
            ]
    elif host == "server":
        lines.append(f"route add default via {address('peer', 'far', family)} dev far")
    return lines


def forwards(host: str) -> bool:
    """Whether a host is a router."""
    return host in {*GATEWAYS, "peer"}


def peer_ruleset(*, has_xfrm: bool) -> str:
    """The peer's table ``inet lab``: what comes from a WAN in clear is counted and never reaches the far net.

    Decrypted packets pass: with userland ESP they come in by charon's own device, with XFRM they have a security path.
    """
    clear = " meta ipsec missing" if has_xfrm else ""
    return f"""\
table inet lab {{
    counter clear {{ }}
    chain forward {{
        type filter hook forward priority 0; policy accept;
        iifname {{ "wan1", "wan2" }} oifname "far"{clear} counter name "clear" drop
    }}
}}
"""
