"""Examples of docs/examples on the ring's pair, as they are shipped, with what each needs at the peer.

with examples_on(pair, "on-demand", "xfrm-interface"): ...
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
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
_SHIPPED: Final = Path(__file__).parents[2] / "docs/examples"
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
"""By file."""


def of_files(*files: str) -> tuple[Example, ...]:
    """The connections of these files."""
    return tuple(example for name in files for example in EXAMPLES[name])


@contextmanager
def examples_on(pair: Pair, *files: str) -> Iterator[None]:
    """Both gateways and the peer have the examples *files*; afterwards nobody has, and gw-a is master, with traffic."""
    pair.lab.peer.run("ip", "-batch", "-", text_in=_put(files) + (_THEIR_GRE if "gre-interface" in files else ""))
    load_at_peer(pair, *files)
    more = {f"{_CONF_D}/{name}.toml": (_SHIPPED / f"{name}.toml").read_text() for name in files}
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
        if "gre-interface" in files:
            undone = f"link del gre-branch\nrule del from {INSIDE_GRE} lookup 60\n"
            pair.lab.peer.run("ip", "-batch", "-", text_in=undone)
        pair.wait_for_master(pair.a, within_s=UP_S)
        pair.wait_for_traffic(within_s=UP_S)


def load_at_peer(pair: Pair, *files: str) -> None:
    """Give the peer's charon its ends of them: at first, and after it was started anew."""
    with vici_session(pair.lab.peer.path(VICI)) as session:
        for example in of_files(*files):
            ids = f"sun-{example.word}.example", f"moon-{example.word}.example"
            session.load_shared({"id": example.name, "type": "IKE", "data": SECRET, "owners": list(ids)})
            ends = {"local": {"auth": "psk", "id": ids[0]}, "remote": {"auth": "psk", "id": ids[1]}}
            conf = {
                "local_addrs": [address("peer", "wan1", example.outside)],
                **ends,
                "children": dict(example.children),
            }
            session.load_conn({example.name: conf})


def _put(files: tuple[str, ...]) -> str:
    return "".join(f"address replace {_alone(host)} dev lo\n" for each in of_files(*files) for host in each.hosts)
