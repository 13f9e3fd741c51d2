"""XFRM interfaces and GRE devices in the kernel: made, kept as they should be, taken away; ours have our alias.

The only module that knows pyroute2. It waits for the kernel, milliseconds at a time: to be called in a thread.
"""

# ruff: noqa: ANN401 - pyroute2 has no types

import errno
import socket
from collections.abc import Iterable, Mapping
from ipaddress import ip_network
from typing import Any, Final

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from swanherd.core.intent import IPNetwork
from swanherd.core.links import GreLink, Link, XfrmLink

ALIAS: Final = "swanherd"
"""The alias of every device of ours."""
DRAFT: Final = "swanherd~"
"""How a device is called until it has its alias: the kernel takes none with a new device. One that a killed run left
behind is taken away."""
ROUTE_PROTOCOL: Final = 213
"""Of our routes; free in iproute2's table of them."""
BEHIND: Final = 4_000_000_000
"""The metric of the routes that refuse what must not go another way: worse than any that a person writes."""
GRE_TTL: Final = 64
"""Of the packets around: a copy of the inner one would not get far with routing protocols, which send with 1."""
_NO_LIMIT: Final = 0x1
"""IP6_TNL_F_IGN_ENCAP_LIMIT: no destination option before the GRE, which costs eight bytes and says how many tunnels
more may be around it (none, where the kernel is told nothing)."""
_KINDS: Final = frozenset({"xfrm", "gre", "ip6gre"})
_MAIN: Final = 254
_UNREACHABLE: Final = "unreachable"


class Links:
    """Brings the kernel to what is wanted."""

    def apply(self, wanted: Mapping[str, Link]) -> dict[str, str]:
        """Make every device as *wanted*, take other ones of ours away; what could not be done, by device."""
        troubles: dict[str, str] = {}
        try:
            with IPRoute() as kernel:
                found = {_name(each): each for each in kernel.get_links()}
                for name, each in found.items():
                    if _is_ours(each) and name not in wanted:
                        kernel.link("del", index=each["index"])
                for link in wanted.values():
                    try:
                        _one(kernel, link, found.get(link.name))
                    except NetlinkError as error:
                        troubles[link.name] = _words(error)
                _routes(kernel, wanted, troubles)
        except (OSError, NetlinkError) as error:
            return dict.fromkeys(wanted or ("all",), _words(error))
        return troubles

    def if_ids(self) -> frozenset[int]:
        """The numbers of the XFRM interfaces of ours that are there; OSError where that cannot be read."""
        try:
            with IPRoute() as kernel:
                ours = [each for each in kernel.get_links() if _is_ours(each) and _kind(each) == "xfrm"]
        except NetlinkError as error:
            raise OSError(_words(error)) from error
        return frozenset(int(_data(each, "IFLA_XFRM_IF_ID")) for each in ours)

    def remove(self) -> str:
        """Take every device and route of ours away; what could not be done, "" if nothing is left."""
        return "; ".join(self.apply({}).values())


def _one(kernel: Any, link: Link, found: Any) -> None:
    if found is not None and not _is_ours(found):
        raise NetlinkError(
            errno.EEXIST, f"a device of this name is there, and it is not swanherd's ({_kind(found) or 'hardware'})"
        )
    if found is not None and link.kind is not None and not _becomes(kernel, found, link.kind):
        kernel.link("del", index=found["index"])
        found = None
    if found is None and link.kind is None:
        return
    index = found["index"] if found is not None else _made(kernel, link)
    if link.mtu is not None and (found is None or found.get_attr("IFLA_MTU") != link.mtu):
        kernel.link("set", index=index, mtu=link.mtu)
    have = {_address(each): each["prefixlen"] for each in kernel.get_addr(index=index)}
    want = {str(address): address.max_prefixlen for address in link.addresses}
    for address, prefix in want.items():
        if have.get(address) != prefix:
            kernel.addr("add", index=index, address=address, prefixlen=prefix)
    for address, prefix in have.items():
        if address not in want and not address.startswith("fe80:"):
            kernel.addr("del", index=index, address=address, prefixlen=prefix)
    is_up = found is not None and bool(found["flags"] & 1)
    if link.up is not None and is_up != link.up:
        kernel.link("set", index=index, state="up" if link.up else "down")


def _becomes(kernel: Any, found: Any, kind: XfrmLink | GreLink) -> bool:
    """Whether *found* is such a device, or could be made one without taking it away."""
    if _is_such(found, kind):
        return True
    if isinstance(kind, XfrmLink) or _kind(found) != _gre(kind):
        return False
    kernel.link("set", index=found["index"], **_spec_of(kind))
    return True


def _is_such(found: Any, kind: XfrmLink | GreLink) -> bool:
    """Whether a device has what the kernel lets one alone have: its if_id, or its ends."""
    if isinstance(kind, XfrmLink):
        return _kind(found) == "xfrm" and bool(_data(found, "IFLA_XFRM_IF_ID") == kind.if_id)
    if _kind(found) != _gre(kind):
        return False
    have = tuple(_data(found, f"IFLA_{_gre(kind).upper()}_{end}") for end in ("LOCAL", "REMOTE"))
    return have == (str(kind.local), str(kind.remote))


def _spec_of(kind: XfrmLink | GreLink) -> dict[str, Any]:
    """What the kernel must be told to make such a device."""
    if isinstance(kind, XfrmLink):
        return {"kind": "xfrm", "xfrm_if_id": kind.if_id}
    spec: dict[str, Any] = {"local": str(kind.local), "remote": str(kind.remote), "ttl": GRE_TTL}
    if kind.local.version == 6:
        spec["flags"] = _NO_LIMIT
    return {"kind": _gre(kind), **{f"{_gre(kind)}_{name}": value for name, value in spec.items()}}


def _gre(kind: GreLink) -> str:
    """What such a device is called: by the kernel, and by pyroute2 in the names of its attributes."""
    return "gre" if kind.local.version == 4 else "ip6gre"


def _made(kernel: Any, link: Link) -> int:
    for stale in kernel.link_lookup(ifname=DRAFT):
        kernel.link("del", index=stale)
    if link.kind is None:
        raise ValueError("a device of nothing that is known")
    try:
        kernel.link("add", ifname=DRAFT, **_spec_of(link.kind))
    except NetlinkError as error:
        if error.code == errno.EEXIST:
            raise NetlinkError(error.code, _taken(kernel, link.kind)) from error
        raise
    (index,) = kernel.link_lookup(ifname=DRAFT)
    kernel.link("set", index=index, IFLA_IFALIAS=ALIAS)
    kernel.link("set", index=index, ifname=link.name)
    return int(index)


def _taken(kernel: Any, kind: XfrmLink | GreLink) -> str:
    """Who has what a new device would have."""
    what = f"if_id {kind.if_id}" if isinstance(kind, XfrmLink) else f"the way from {kind.local} to {kind.remote}"
    have = [_name(each) for each in kernel.get_links() if _is_such(each, kind)]
    return f"{what} is taken by the device {', '.join(have) or '(gone now)'}"


def _routes(kernel: Any, wanted: Mapping[str, Link], troubles: dict[str, str]) -> None:
    """Our routes: into devices that are up, and behind them those that refuse."""
    indexes = {_name(each): each["index"] for each in kernel.get_links() if _is_ours(each)}
    want: dict[tuple[IPNetwork, int], str] = {}
    for link in wanted.values():
        if link.name in indexes and link.up:
            want |= {(network, indexes[link.name]): link.name for network in link.routes}
        want |= {(network, 0): link.name for network in link.guarded}
    have = set(_ours(kernel))
    for route in have - want.keys():
        kernel.route("del", **_spec(*route))
    for route in want.keys() - have:
        try:
            kernel.route("add", **_spec(*route))
        except NetlinkError as error:
            troubles.setdefault(want[route], f"route to {route[0]}: {_words(error)}")


def _ours(kernel: Any) -> Iterable[tuple[IPNetwork, int]]:
    for family in (socket.AF_INET, socket.AF_INET6):
        for route in kernel.get_routes(family=family, proto=ROUTE_PROTOCOL):
            if route["proto"] == ROUTE_PROTOCOL:
                everything = "0.0.0.0" if family == socket.AF_INET else "::"
                network = f"{route.get_attr('RTA_DST') or everything}/{route['dst_len']}"
                refuses = route.get_attr("RTA_PRIORITY") == BEHIND
                yield ip_network(network), 0 if refuses else route.get_attr("RTA_OIF")


def _spec(network: IPNetwork, index: int) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "dst": str(network),
        "family": socket.AF_INET if network.version == 4 else socket.AF_INET6,
        "proto": ROUTE_PROTOCOL,
        "table": _MAIN,
    }
    return {**spec, "oif": index} if index else {**spec, "type": _UNREACHABLE, "priority": BEHIND}


def _is_ours(link: Any) -> bool:
    return link.get_attr("IFLA_IFALIAS") == ALIAS and _kind(link) in _KINDS


def _kind(link: Any) -> str | None:
    info = link.get_attr("IFLA_LINKINFO")
    kind: str | None = info.get_attr("IFLA_INFO_KIND") if info is not None else None
    return kind


def _data(link: Any, attribute: str) -> Any:
    data = link.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_DATA")
    return data.get_attr(attribute) if data is not None else None


def _name(link: Any) -> str:
    return str(link.get_attr("IFLA_IFNAME"))


def _address(entry: Any) -> str:
    return str(entry.get_attr("IFA_ADDRESS"))


def _words(error: BaseException) -> str:
    return str(error.args[1]) if isinstance(error, NetlinkError) and len(error.args) > 1 else str(error)
