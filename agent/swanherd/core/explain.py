"""Why a connection leaves from where it does, and calls whom it calls: every candidate, each fact used, won or lost.

The same functions that decide are asked again here, candidate by candidate, so that the answer cannot be another story.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from swanherd.core import aims
from swanherd.core.decision import Decision
from swanherd.core.facts import Absent, Answer, DefaultRoute, Network, Unknown, relied_on
from swanherd.core.intent import Connection, Interface, IPAddress
from swanherd.core.moves import endpoint_of
from swanherd.core.routes import WayOut, best_defaults, is_tunnel, way_out
from swanherd.core.source import ANY_INTERFACE, by_route, holding
from swanherd.core.view import Memory, Target, View
from swanherd.core.words import Reason, Role


@dataclass(frozen=True, slots=True)
class Candidate:
    """One of several, and what became of it."""

    what: str
    won: bool
    because: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """One connection, now."""

    name: str
    role: Role
    reason: Reason
    detail: str
    source: IPAddress | None
    endpoint: IPAddress | None
    """None: the peer calls, or nobody knows where to call it."""
    routes: tuple[Candidate, ...] = ()
    """Those that were looked at; none where no route chooses."""
    sources: tuple[Candidate, ...] = ()
    endpoints: tuple[Candidate, ...] = ()


def explain(
    view: View, decision: Decision, memory: Memory, answers: Mapping[str, Answer | None], now: float
) -> Explanation:
    """Explain *decision*, which was taken about *view* with *memory*; *answers* are those for its hostnames."""
    told = Explanation(
        view.name,
        decision.role,
        decision.reason,
        decision.detail,
        decision.source,
        endpoint_of(view.connection) if view.connection is not None else None,
    )
    network = relied_on(view.network, now)
    if view.connection is None or network is None:
        return told
    connection = view.connection
    return Explanation(
        told.name,
        told.role,
        told.reason,
        told.detail,
        told.source,
        told.endpoint,
        tuple(_routes(view, connection, network)) if by_route(connection) else (),
        tuple(_sources(view, connection, decision, memory, network, now)),
        tuple(_endpoints(view, connection, memory, answers, now)),
    )


def _routes(view: View, connection: Connection, network: Network) -> Iterator[Candidate]:
    asked = _asked(view, network)
    if asked is not None:
        yield asked
        if asked.won or not way_out(connection, network, view.path).devices:
            return  # the default routes have no say
    best = best_defaults(network, connection.ip_version)
    mine = [route for route in network.defaults if route.family == connection.ip_version]
    for route in mine:
        yield Candidate(f"{route.device} metric {route.metric}", route in best, (_verdict(route, best, network),))
    if not mine:
        yield Candidate("none", won=False, because=(f"the main table has no IPv{connection.ip_version} default route",))


def _asked(view: View, network: Network) -> Candidate | None:
    """What the kernel said of the route to the endpoint; None where it is not asked."""
    if isinstance(view.path, Absent):
        return None
    unknown = isinstance(view.path, Unknown)
    trouble = (f"it cannot be asked now: {view.path.why}",) if isinstance(view.path, Unknown) else ()
    told = view.path.last if isinstance(view.path, Unknown) else view.path.value
    if told is None:
        return Candidate("to the endpoint", won=False, because=trouble)
    what = f"to {told.to}"
    if told.device is None:
        return Candidate(what, won=False, because=("there is none, or one that rejects", *trouble))
    what += f" by {told.device} table {told.table}"
    if is_tunnel(told.device, network):
        return Candidate(
            what, won=False, because=("leaves by a tunnel device: never counts, the default route decides", *trouble)
        )
    said = "what the kernel said last" if unknown else "what the kernel says, for a packet without mark and source"
    return Candidate(what, won=True, because=(said, *trouble))


def _verdict(route: DefaultRoute, best: tuple[DefaultRoute, ...], network: Network) -> str:
    if route in best:
        return "the lowest metric of those that live" + (", shared with others" if len(best) > 1 else "")
    if is_tunnel(route.device, network):
        return "leaves by a tunnel device: never counts"
    return "a higher metric" if route.alive else "dead: its link is down, or its next hop is gone"


def _sources(
    view: View, connection: Connection, decision: Decision, memory: Memory, network: Network, now: float
) -> Iterator[Candidate]:
    vips = frozenset(vip for interface in view.interfaces.values() for vip in interface.vips)
    way = way_out(connection, network, view.path)
    everywhere = connection.interfaces == (ANY_INTERFACE,)
    if everywhere:
        devices = dict.fromkeys([*way.devices, *(route.device for route in network.defaults)])
        interfaces = [Interface(name=ANY_INTERFACE, device=device) for device in devices]
    else:
        interfaces = [view.interfaces[name] for name in connection.interfaces if name in view.interfaces]
    for interface in interfaces:
        held = holding(interface, connection.ip_version, network, vips, view.situation)
        won = held.rightful is not None and held.rightful == decision.source
        because = [f"held: {held.detail}" if held.rightful is not None else f"not held: {held.detail}"]
        if everywhere or len(interfaces) > 1:
            because.append(_by_route(interface, way))
        if won and memory.moved_at is not None and now < memory.moved_at + connection.move_hold_s:
            left_s = memory.moved_at + connection.move_hold_s - now
            because.append(f"the tunnel has just moved here, and stays while this way works ({left_s:.0f} s left)")
        if any(sa.established and sa.local == held.rightful for sa in view.here.sas if held.rightful is not None):
            because.append("a live SA runs from it")
        name = f"{interface.name} {held.rightful}" if held.rightful is not None else interface.name
        yield Candidate(name, won, tuple(because))


def _by_route(interface: Interface, way: WayOut) -> str:
    shared = len(way.devices) > 1 and interface.device in way.devices
    return way.looked_at + ("; of a shared one the interface listed first counts" if shared else "")


def _endpoints(
    view: View, connection: Connection, memory: Memory, answers: Mapping[str, Answer | None], now: float
) -> Iterator[Candidate]:
    aim = endpoint_of(connection)
    targets = view.targets or ((Target(str(aim), 0, aim),) if aim is not None else ())
    for target in targets:
        because = [_origin(target, answers), *_standing(view, connection, memory, target, aim, now)]
        what = str(target.address) if target.endpoint == str(target.address) else f"{target.endpoint} {target.address}"
        yield Candidate(what, target.address == aim, tuple(because))
    for name in view.unresolved:
        answer = answers.get(name)
        why = f" ({answer.trouble})" if answer is not None and answer.trouble else ""
        yield Candidate(name, won=False, because=(f"no IPv{connection.ip_version} address is known{why}",))
    if any(each in {"0.0.0.0", "::"} for each in connection.remote):
        yield Candidate("anywhere", won=False, because=("whoever proves its identity may call; it is never called",))


def _origin(target: Target, answers: Mapping[str, Answer | None]) -> str:
    if not aims.is_name(target.endpoint):
        return "as it is set"
    answer = answers.get(target.endpoint)
    if answer is None:
        return "a name"
    origin = {"hosts": "from /etc/hosts", "dns": "from DNS", "kept": "from DNS, in an earlier run"}[answer.origin]
    return f"{origin}; now nobody answers: {answer.trouble}" if answer.trouble else origin


def _standing(
    view: View, connection: Connection, memory: Memory, target: Target, aim: IPAddress | None, now: float
) -> Iterator[str]:
    if target.address == aim:
        yield "it is called"
    elif len(view.targets) > 1:
        yield "in the list behind the one that is called"
    if any(sa.established and sa.remote == target.address for sa in view.here.sas):
        yield "a live SA leads to it"
    wanted = aims.preferred(view, connection, memory)
    if target.address in wanted:
        yield "it answers probes" if target.address in view.answering else "it is probed, and does not answer"
        earliest = max(memory.not_back_before, memory.aimed_at + connection.move_hold_s)
        if now < earliest:
            yield f"no return to it for {earliest - now:.0f} s"
    if target.address == aim and memory.failure is not None:
        yield f"the latest attempt failed: {memory.failure.reason}"
