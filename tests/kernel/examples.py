"""Examples of docs/examples on the ring's pair, as they are shipped, with what each needs at the peer.

with examples_on(pair, "on-demand", "xfrm-interface"): ...

And settings of the ring's own, from ``settings/``: what the examples have by IPv4, by IPv6.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from tests.lab.asking import vici_session
from tests.lab.charon import VICI
from tests.lab.pair import Pair
from tests.lab.peer import SECRET
from tests.lab.topology import address, subnet, vip

UP_S: Final = 120.0
"""For all of them to come up, on an emulated machine."""
AH: Final = "10.21.0.17"
RARELY: Final = "10.21.0.11"
ALWAYS: Final = "10.21.0.12"
TUNNEL: Final = "10.21.0.20"
FORCED: Final = "10.21.0.15"
NEVER: Final = "10.21.0.16"
SHARED: Final = "10.21.0.22", "10.21.0.23"
BOTH: Final = "10.21.0.24", "fd00:21::24"
SIX_IN_FOUR: Final = "fd00:21::25"
INSIDE_GRE: Final = "10.60.0.1"
"""Behind the peer's end of the GRE."""
RARELY_6: Final = "fd00:21::61"
TUNNEL_6: Final = "fd00:21::62"
OWN_6: Final = "fd00:9::1"
"""The XFRM interface's own address, on the gateways."""
AH_6: Final = "fd00:21::63"
FORCED_6: Final = "fd00:21::64"
FOUR_IN_SIX: Final = "10.21.0.67"
BOTH_IN_FOUR: Final = "10.21.0.68", "fd00:21::68"
VANS: Final = {"van6": "fd00:21::65", "van4": "10.21.0.66"}
INSIDE_GRE_6: Final = "10.66.0.1", "fd00:66::1"
"""Behind the peer's end of the GRE over IPv6."""
_FOLDERS: Final = Path(__file__).parents[2] / "docs/examples", Path(__file__).parent / "settings"
_CONF_D: Final = "/etc/swanherd/conf.d"
_GRE: Final = {"mode": "transport", "local_ts": ["dynamic[47]"], "remote_ts": ["dynamic[47]"]}
_L2TP: Final = {"mode": "transport", "local_ts": ["dynamic[115]"], "remote_ts": ["dynamic[115]"]}
_THEIR_GRE: Final = f"""\
link add gre-branch type gre local {address("peer", "wan1")} remote {vip("wan1")}
address add 172.31.0.2/32 dev gre-branch
address add {INSIDE_GRE}/32 dev gre-branch
link set gre-branch mtu 1400 up
rule add from {INSIDE_GRE} lookup 60
route add default dev gre-branch table 60
"""
"""The peer's end, which is always up: what answers from behind it goes back through it."""
_THEIR_GRE_6: Final = f"""\
link add gre-six type ip6gre local {address("peer", "wan1", 6)} remote {vip("wan1", 6)} encaplimit none
address add fd00:31::2/128 dev gre-six
address add {INSIDE_GRE_6[0]}/32 dev gre-six
address add {INSIDE_GRE_6[1]}/128 dev gre-six
link set gre-six mtu 1400 up
rule add from {INSIDE_GRE_6[0]} lookup 66
rule add from {INSIDE_GRE_6[1]} lookup 66
route add 0.0.0.0/0 dev gre-six table 66
route add ::/0 dev gre-six table 66
"""
_DEVICES: Final = {
    "gre-interface": (_THEIR_GRE, f"link del gre-branch\nrule del from {INSIDE_GRE} lookup 60\n"),
    "six-gre-interface": (
        _THEIR_GRE_6,
        "link del gre-six\n" + "".join(f"rule del from {inside} lookup 66\n" for inside in INSIDE_GRE_6),
    ),
}
"""The peer's devices, and how they are taken away."""


def _to(*hosts: str, **more: Any) -> dict[str, Any]:
    """The peer's child for traffic to *hosts*."""
    return {"local_ts": list(map(_alone, hosts)), "remote_ts": [subnet("lan", _family(host)) for host in hosts], **more}


def _alone(host: str) -> str:
    return f"{host}/{32 if _family(host) == 4 else 128}"


def _family(host: str) -> int:
    return ip_address(host).version


@dataclass(frozen=True, slots=True)
class Example:
    """What the peer has for one of them."""

    name: str
    """Of the connection, on the gateways and there."""
    word: str
    """What it is called in its identities."""
    children: Mapping[str, Mapping[str, Any]]
    hosts: tuple[str, ...] = ()
    """Addresses of the peer's that it leads to."""
    outside: int = 4
    """IP family."""
    conf: Mapping[str, Any] = field(default_factory=dict)
    """More of the peer's end."""


EXAMPLES: Final[Mapping[str, tuple[Example, ...]]] = {
    "ah": (Example("ah", "ah", {"net": _to(AH, ah_proposals=["sha256"])}, (AH,)),),
    "transport": (Example("transport", "transport", {"l2tp": _L2TP}),),
    "gre-interface": (Example("gre", "gre", {"gre": _GRE}),),
    "on-demand": (Example("on-demand", "demand", {"rarely": _to(RARELY), "always": _to(ALWAYS)}, (RARELY, ALWAYS)),),
    "xfrm-interface": (Example("tunnel", "tunnel", {"net": _to(TUNNEL)}, (TUNNEL,)),),
    "xfrm-shared": (
        Example("depot", "depot", {"net": _to(SHARED[0])}, SHARED[:1]),
        Example("harbour", "harbour", {"net": _to(SHARED[1])}, SHARED[1:]),
    ),
    "nat-traversal": (
        Example("nat-forced", "forced", {"net": _to(FORCED)}, (FORCED,)),
        Example("nat-never", "never", {"net": _to(NEVER)}, (NEVER,)),
    ),
    "ipv6": (
        Example("over-ipv6", "over6", {"both": _to(*BOTH)}, BOTH, outside=6),
        Example("over-ipv4", "over4", {"v6": _to(SIX_IN_FOUR)}, (SIX_IN_FOUR,)),
    ),
}
"""Those of docs/examples, by file."""
OVER_IPV6: Final[Mapping[str, tuple[Example, ...]]] = {
    "six-on-demand": (Example("demand6", "demand6", {"rarely": _to(RARELY_6)}, (RARELY_6,), outside=6),),
    "six-xfrm-interface": (
        Example(
            "tunnel6",
            "tunnel6",
            {"net": _to(TUNNEL_6, remote_ts=[subnet("lan", 6), _alone(OWN_6)])},
            (TUNNEL_6,),
            outside=6,
        ),
    ),
    "six-gre-interface": (Example("gre6", "gre6", {"gre": _GRE}, outside=6),),
    "six-modes": (
        Example(
            "ah6",
            "ah6",
            {"net": _to(AH_6, ah_proposals=["sha512-modp2048"])},
            (AH_6,),
            outside=6,
            conf={"version": "1"},
        ),
        Example("transport6", "transport6", {"l2tp": _L2TP}, outside=6),
        Example("forced6", "forced6", {"net": _to(FORCED_6)}, (FORCED_6,), outside=6),
        Example("four-in-six", "46", {"net": _to(FOUR_IN_SIX)}, (FOUR_IN_SIX,), outside=6),
        Example("transport-all", "all", {"all": {"mode": "transport"}}),
        Example("both-in-four", "both4", {"net": _to(*BOTH_IN_FOUR)}, BOTH_IN_FOUR),
    ),
    "anywhere": tuple(
        Example(name, name, {"net": _to(host)}, (host,), outside=family, conf={"remote_addrs": [vip("wan1", family)]})
        for family, (name, host) in zip((6, 4), VANS.items(), strict=True)
    ),
}
"""The ring's own, by file of ``settings/``."""


def of_files(*files: str) -> tuple[Example, ...]:
    """The connections of these files."""
    return tuple(example for name in files for example in {**EXAMPLES, **OVER_IPV6}[name])


@contextmanager
def examples_on(pair: Pair, *files: str) -> Iterator[None]:
    """Both gateways and the peer have the examples *files*; afterwards nobody has, and gw-a is master, with traffic."""
    _at_peer(pair, _put(files) + "".join(_DEVICES[name][0] for name in files if name in _DEVICES))
    load_at_peer(pair, *files)
    more = {f"{_CONF_D}/{name}.toml": _text_of(name) for name in files}
    more["/etc/swanherd/secrets/branch.psk"] = SECRET
    for gateway in pair.gateways:
        gateway.agent.files |= more
        gateway.agent.install()
        gateway.agent.reload()
    try:
        yield
    finally:
        if not pair.a.keepalived.running:
            pair.a.keepalived.start()
        for gateway in pair.gateways:
            for path in more:
                gateway.agent.files.pop(path, None)
                gateway.host.run("rm", "-f", path)
            gateway.agent.reload()
        with vici_session(pair.lab.peer.path(VICI)) as session:
            for example in of_files(*files):
                session.unload_conn({"name": example.name})
        _at_peer(pair, "".join(_DEVICES[name][1] for name in files if name in _DEVICES))
        pair.wait_for_master(pair.a, within_s=UP_S)
        pair.wait_for_traffic(within_s=UP_S)


def load_at_peer(pair: Pair, *files: str, at: Mapping[str, str] = MappingProxyType({})) -> None:
    """Give the peer's charon its ends of them: at first, and after it was started anew.

    *at* is the peer's address of a connection, where it is not the peer's own.
    """
    with vici_session(pair.lab.peer.path(VICI)) as session:
        for example in of_files(*files):
            ids = f"sun-{example.word}.example", f"moon-{example.word}.example"
            session.load_shared({"id": example.name, "type": "IKE", "data": SECRET, "owners": list(ids)})
            ends = {"local": {"auth": "psk", "id": ids[0]}, "remote": {"auth": "psk", "id": ids[1]}}
            conf = {
                "local_addrs": [at.get(example.name, address("peer", "wan1", example.outside))],
                **ends,
                "children": dict(example.children),
                **example.conf,
            }
            session.load_conn({example.name: conf})


def _at_peer(pair: Pair, text: str) -> None:
    """Have ``ip`` do all of it at the peer, devices first: a rule's family is not told by its addresses."""
    lines = text.splitlines(keepends=True)
    devices = [line for line in lines if line.startswith("link ")]
    for family in ("-4", "-6"):
        rest = [line for line in lines if line not in devices and (":" in line) == (family == "-6")]
        pair.lab.peer.run("ip", family, "-batch", "-", text_in="".join((devices if family == "-4" else []) + rest))


def _put(files: tuple[str, ...]) -> str:
    return "".join(f"address replace {_alone(host)} dev lo\n" for each in of_files(*files) for host in each.hosts)


def _text_of(name: str) -> str:
    """The settings of this name."""
    (file,) = (path for folder in _FOLDERS if (path := folder / f"{name}.toml").exists())
    return file.read_text()
