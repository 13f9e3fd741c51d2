"""What charon lists, as the core's types. Tolerant: what a newer charon adds or leaves out is no error."""

from collections.abc import Iterable
from math import floor

from swanherd.core.facts import ChildSa, IkeSa
from swanherd.core.intent import IPAddress
from swanherd.core.literal import literal
from swanherd.world.charon.codec import Section, inner, sections, text


def ike_sas(section: Section, now: float) -> list[IkeSa]:
    """The IKE_SAs in one item of ``list-sas``, or in an event that is about one."""
    return [_ike_sa(name, sa, now) for name, sa in sections(section)]


def _ike_sa(name: str, section: Section, now: float) -> IkeSa:
    children = tuple(_child_sa(key, child) for key, child in sections(inner(section, "child-sas")))
    age = text(section, "established")
    return IkeSa(
        name=name,
        unique_id=int(text(section, "uniqueid") or 0),
        state=text(section, "state"),
        local=_address(text(section, "local-host")),
        remote=_address(text(section, "remote-host")),
        initiator=text(section, "initiator") == "yes",
        since=_began(int(age), now) if age.isdigit() else None,
        children=children,
        nat=text(section, "nat-any") == "yes",
    )


def _began(age: int, now: float) -> float:
    """When an SA of that *age* began, at the latest: about a second late at most, and never in the future.

    *now* is when the answer was there, not earlier. Charon counts whole seconds of the monotonic clock, as *now* does:
    what it has had for 3.2 s is 3 old or 4. An SA that looked older than it is would look older than its address, which
    it follows by milliseconds: an agent that starts at the wrong tenth of a second would take it for displaced.
    """
    return min(now, float(floor(now) - age + 1))


def _child_sa(key: str, section: Section) -> ChildSa:
    return ChildSa(
        name=text(section, "name") or key.rpartition("-")[0],
        unique_id=int(text(section, "uniqueid") or 0),
        state=text(section, "state"),
    )


def trapped(items: Iterable[Section]) -> dict[str, frozenset[str]]:
    """The trapped children of each connection in the items of ``list-policies``."""
    traps: dict[str, set[str]] = {}
    for item in items:
        for key, policy in sections(item):
            ike, _, child = key.rpartition("/")
            traps.setdefault(text(policy, "ike") or ike, set()).add(text(policy, "child") or child)
    return {name: frozenset(children) for name, children in traps.items()}


def _address(written: str) -> IPAddress | None:
    """None for "%any", which charon shows until it has chosen a source."""
    return literal(written.partition("%")[0])
