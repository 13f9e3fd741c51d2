"""A pair with two uplinks, set up as ``docs/examples`` say: the peer is beyond both, where default routes lead."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from tests.lab.charon import Tunnel
from tests.lab.hosts import Host
from tests.lab.keepalived import LAN, WAN, WAN_2, Vrrp
from tests.lab.lab import Lab
from tests.lab.observe import Observer, Timeline
from tests.lab.pair import Pair
from tests.lab.peer import SECRET, as_seen_by_peer, gateway_tunnel
from tests.lab.runner import Agent
from tests.lab.told import Told
from tests.lab.topology import NETS, place

EXAMPLES: Final = Path(__file__).resolve().parents[2] / "docs" / "examples"
NAME: Final = "branch"
"""What the examples call their connection."""
FAR_PEER: Final[Mapping[int, str]] = {4: "192.0.2.20", 6: "2001:db8:9::20"}
"""The peer's address that no uplink is on-link with."""
FIRST, SECOND = place("wan1", 20), place("wan1", 21)
"""Two addresses of the peer on one net; the examples call them."""
BOTH: Final = Vrrp(instances=(WAN, WAN_2, LAN))
"""All VIPs move together: one sync group."""


def peer_end(*, options: Mapping[str, str] | None = None, **changes: str) -> Tunnel:
    """The peer's side of the examples' connection; it answers at every address of its own."""
    return replace(
        as_seen_by_peer(gateway_tunnel()),
        options=options or {"dpd_delay": "1s"},
        **{"local_addrs": "%any", **changes},  # type: ignore[arg-type]
    )


@contextmanager
def uplink_pair(
    example: str,
    *,
    more: str = "",
    vrrp: Vrrp = BOTH,
    charon: Mapping[str, str] | None = None,
    peer_addresses: Iterable[str] = (),
    changes: Mapping[str, str] | None = None,
    alone: bool = False,
    prepare: Callable[[Pair], None] = lambda _: None,
) -> Iterator[Pair]:
    """A pair that runs by ``docs/examples/EXAMPLE``, up and carrying traffic.

    *more* is merged into it as a file of ``conf.d``; *charon* are options of the peer's and gw-a's strongswan.conf;
    *peer_addresses* the peer has too; *changes* are replaced in the example's text; *alone*: ``gw-b`` stays off;
    *prepare* is called when the hosts stand and the peer's charon runs.
    """
    text = (EXAMPLES / example).read_text()
    for old, new in (changes or {}).items():
        assert old in text
        text = text.replace(old, new)
    files = {"/etc/swanherd/secrets/branch.psk": f"{SECRET}\n", "/etc/swanherd/conf.d/90-lab.toml": more}
    with Lab() as lab:
        pair = Pair(lab, lambda host: Agent(host, text, files=files), vrrp)
        for host in (pair.a, pair.peer):
            host.charon.options |= charon or {}
        for address in (*FAR_PEER.values(), *peer_addresses):
            lab.peer.run("ip", "address", "add", address, "dev", _device(address), *_nodad(address))
        pair.peer.charon.start()
        pair.peer.load(peer_end())
        prepare(pair)
        for gateway in (pair.a,) if alone else pair.gateways:
            gateway.boot()
        if not alone:
            pair.wait_for_master(pair.a)
        pair.wait_for_traffic()
        yield pair


def _device(address: str) -> str:
    """Where the peer has an address of its own. Neighbours are answered for an IPv6 address by its device alone."""
    return next((net for net in ("wan1", "wan2") if ":" in address and address.startswith(NETS[net][1])), "lo")


def _nodad(address: str) -> tuple[str, ...]:
    return ("nodad",) if ":" in address else ()


def set_default(host: Host, net: str, *, metric: int, family: int = 4) -> None:
    """Have a default route of *host* by *net* with this metric, beside what is there."""
    gateway = place(net, 1, family)
    host.run("ip", f"-{family}", "route", "add", "default", "via", gateway, "dev", net, "metric", str(metric))


def drop_default(host: Host, net: str, *, metric: int, family: int = 4) -> None:
    """Take that one away."""
    gateway = place(net, 1, family)
    host.run("ip", f"-{family}", "route", "del", "default", "via", gateway, "dev", net, "metric", str(metric))


@contextmanager
def silent(pair: Pair, *addresses: str) -> Iterator[None]:
    """Nothing gets to these addresses of the peer, and nothing comes from them."""
    families = {address: "ip6" if ":" in address else "ip" for address in addresses}
    rules = "".join(f"{family} daddr {address} drop; " for address, family in families.items())
    back = "".join(f"{family} saddr {address} drop; " for address, family in families.items())
    table = (
        f"table inet dead {{\nchain i {{ type filter hook input priority -10; {rules} }}\n"
        f"chain o {{ type filter hook output priority -10; {back} }}\n}}\n"
    )
    pair.peer.host.run("nft", "-f", "-", text_in=table)
    try:
        yield
    finally:
        pair.peer.host.run("nft", "delete", "table", "inet", "dead")


def wait_for_endpoint(pair: Pair, seen: Observer, address: str, *, by: str = "gw-a") -> None:
    """Wait until the tunnel leads to *address* and nowhere else, as gateway and peer have it, and carries traffic."""
    Told((pair.a if by == "gw-a" else pair.b).agent).wait_for(NAME, reason="up", endpoint=address, within_s=30)

    def alone() -> bool:
        readings = seen.sas(by, "peer")
        return {sa.remote for sa in readings[by].up} == {sa.local for sa in readings["peer"].up} == {address}

    seen.wait_for(alone, f"SAs with {address} only", within_s=20)
    seen.wait_through(by=by, after=seen.mark(f"at {address}"))


def verdict(seen: Observer, scenario: str, *, since: str) -> Timeline:
    """The timeline since a mark; printed too (``pytest -s``), for the table in ``docs/ways.md``."""
    timeline = seen.timeline(since=since)
    print(f"figures | {scenario} | {timeline.outage_ms:.0f} ms | {timeline.lost} |")
    return timeline
