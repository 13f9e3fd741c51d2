"""The steps of one connection's lane, from what is there to what was decided.

The order is the safety:

* Release comes before acquire: traps, then the configuration, then the SAs, then a read-back. An unload alone closes
  nothing, and a trap survives it.
* Nothing is loaded before the ownership record covers it, and nothing is initiated before it is loaded from an
  address that is rightfully here.
* Whatever prefix of a plan was carried out, deciding again on what is then there gives a plan for the rest.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from swanherd.core.decision import Decision, Goal
from swanherd.core.facts import Known, Unknown, shape
from swanherd.core.intent import Child, Connection, IPAddress
from swanherd.core.view import View
from swanherd.core.words import Start


@dataclass(frozen=True, slots=True)
class LoadSecret:
    """Put the connection's secret into charon under its own id, so that an older version is replaced; or its key."""

    connection: Connection
    version: str
    sources: tuple[IPAddress, ...]
    """Every address that the connection may run from: a local identity that follows the source is one of them."""


@dataclass(frozen=True, slots=True)
class Load:
    """``load-conn`` with one literal source; what is loaded alike already is not disturbed."""

    connection: Connection
    source: IPAddress


@dataclass(frozen=True, slots=True)
class Install:
    """Install a child's trap policy."""

    connection: Connection
    child: Child


@dataclass(frozen=True, slots=True)
class Initiate:
    """Begin a handshake for children, through the window, and wait for its end or the slot's deadline."""

    connection: Connection
    source: IPAddress
    children: tuple[Child, ...]
    digest: str


@dataclass(frozen=True, slots=True)
class Uninstall:
    """Take a child's trap policy away."""

    name: str
    child: str


@dataclass(frozen=True, slots=True)
class Unload:
    """``unload-conn``; SAs stay."""

    name: str


@dataclass(frozen=True, slots=True)
class Terminate:
    """Force-terminate IKE_SAs at once: those with these unique ids, or all of the name."""

    name: str
    unique_ids: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class TerminateChildren:
    """Close CHILD_SAs by unique id; their IKE_SA stays."""

    name: str
    unique_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ReadBack:
    """Read what charon has of the name, after every older command has been answered; fails while anything is left."""

    name: str


@dataclass(frozen=True, slots=True)
class UnloadSecret:
    """Take a secret of ours away."""

    shared_id: str


@dataclass(frozen=True, slots=True)
class UnloadKey:
    """Take a private key of ours away that no connection has any more."""

    name: str
    key_id: str


Step = (
    LoadSecret
    | Load
    | Install
    | Initiate
    | Uninstall
    | Unload
    | Terminate
    | TerminateChildren
    | ReadBack
    | UnloadSecret
    | UnloadKey
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What one lane should do; an empty plan asks for nothing."""

    name: str
    goal: Goal
    key: tuple[object, ...]
    """Plans with equal keys want the same: a lane that is busy with one lets it run."""
    steps: tuple[Step, ...]
    priority: int = 0

    @property
    def urgent(self) -> bool:
        """Whether it takes a right away: it pre-empts whatever the lane awaits, and waits for nothing."""
        return self.goal is Goal.RELEASE


def plan(decision: Decision, view: View) -> Plan:
    """Steps towards *decision*. What the ownership record on disk does not cover is not loaded yet."""
    digest = view.digests.get(decision.source) if decision.source is not None else None
    # What runs from an address to which the right is lost goes at once, whatever the lane is waiting for.
    key: tuple[object, ...] = (decision.goal, decision.source, digest, view.secret_version, decision.forfeited)
    match decision.goal:
        case Goal.HOLD:
            steps: tuple[Step, ...] = ()
        case Goal.RELEASE:
            steps = tuple(_release(view))
            key = (decision.goal,)
        case Goal.RUN:
            steps = tuple(_run(decision, view))
    priority = view.connection.priority if view.connection is not None else 0
    return Plan(decision.name, decision.goal, key, steps, priority)


def _release(view: View) -> Iterator[Step]:
    """Everything that could run goes; the secret of a connection that is still wanted stays (and is made ready)."""
    if isinstance(view.charon, Unknown) and view.charon.why == "gone":
        return  # nobody is there who could run it; a new charon has nothing of ours
    here = view.here
    secret = view.connection is None and (view.lane.secret_sent or here.secret is not None)
    if view.lane.touched or not here.empty or (secret and view.lane.secret_sent):
        for child in sorted(here.traps):
            yield Uninstall(view.name, child)
        # Even where the listing shows nothing: what was sent a moment ago may not be in it yet.
        yield Unload(view.name)
        yield Terminate(view.name)
        yield ReadBack(view.name)
    if view.connection is None:
        if view.entry is not None and secret:
            yield UnloadSecret(view.entry.shared_id)
    elif isinstance(view.charon, Known):
        yield from _secret(view)
    yield from _keys(view)


def _secret(view: View) -> Iterator[Step]:
    if view.connection is None or view.entry is None or view.entry.shared_id != view.connection.shared_id:
        return
    if not view.recorded:
        return  # not in the record on disk yet: a run that ends now would leave a secret that nobody knows
    if view.connection.certificates is not None and view.secret_version not in view.entry.keys:
        return
    if view.secret_version not in (None, view.proof):
        yield LoadSecret(view.connection, str(view.secret_version), tuple(view.digests))
    if view.connection.auth == "certificate" and view.here.secret is not None:
        yield UnloadSecret(view.connection.shared_id)


def _keys(view: View) -> Iterator[Step]:
    for key_id in sorted(view.stray_keys):
        yield UnloadKey(view.name, key_id)


def _run(decision: Decision, view: View) -> Iterator[Step]:
    connection, source = view.connection, decision.source
    if connection is None or source is None or not isinstance(view.charon, Known):
        return
    yield from _secret(view)
    digest = view.digests.get(source)
    if digest is None or not view.recorded or view.entry is None or digest not in view.entry.digests:
        return  # the record is being written; its outcome brings the next pass
    trapped = {child.name for child in connection.children if connection.start_of(child) is Start.ON_DEMAND}
    kept = view.here.traps & trapped if _same_as_far_as_seen(view, digest) else frozenset[str]()
    for child_name in sorted(view.here.traps - kept):
        yield Uninstall(view.name, child_name)
    if view.here.config is None or view.here.config.digest != digest:
        yield Load(connection, source)
    yield from _keys(view)
    # After the load: a peer that answers the deletion by calling at once must meet today's settings. Before anything
    # is initiated: an SA that is still there counts as contact.
    if decision.terminate:
        yield Terminate(view.name, decision.terminate)
    if decision.terminate_children:
        yield TerminateChildren(view.name, decision.terminate_children)
    for child in connection.children:
        if child.name in trapped and child.name not in kept:
            yield Install(connection, child)
    if decision.initiate and not _cut(view, source):
        yield Initiate(connection, source, decision.initiate, digest)


def _same_as_far_as_seen(view: View, digest: str) -> bool:
    """Whether traps that are there have what is wanted: a trap keeps what was loaded when it was installed.

    What another run of the agent loaded is only known by its shape; its traps stay, or a restart would open a gap.
    """
    config = view.here.config
    if config is None:
        return False  # somebody unloaded it, so nothing tells what its traps have
    return config.digest == digest or (config.digest.endswith(".?") and shape(config.digest) == shape(digest))


def _cut(view: View, source: IPAddress) -> bool:
    """Whether the wire of *source* is still cut by a fence of before.

    A first packet that the firewall refuses would be sent again only after charon's first retransmission (4 s). A
    table that cannot be read stops nothing: a takeover never waits for the firewall.
    """
    if not isinstance(view.wire, Known) or view.wire.value is None:
        return False
    wire = view.wire.value
    own = view.entry.pairs if view.entry is not None else frozenset()
    return source in wire.fenced or any(pair.source == source and pair in own for pair in wire.fenced_pairs)
