"""How the sources of facts do: which answer, what VRRP evidence says of each interface, and what was counted."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

from swanherd.core.evidence import Heard, VrrpFacts
from swanherd.core.facts import Absent, Known, Unknown
from swanherd.report.published import EvidenceReport, SourceReport, WordReport
from swanherd.runtime.sources import Sources

NEEDED: Final = frozenset({"netlink", "firewall"})
"""What must have been read once before the agent is ready. Charon may be down, and evidence may never come."""

T = TypeVar("T")

_ANSWERS: Final = frozenset({"", "not-read", "overflow"})
"""What is wrong with a source that is there."""


class Gathered:
    """Reports of the sources. *on_return* is called with the name of a source that is there again after it was gone."""

    def __init__(self, sources: Sources, *, clock: Callable[[], float], on_return: Callable[[str], None]) -> None:
        self._sources = sources
        self._clock = clock
        self._on_return = on_return
        self._last: dict[str, SourceReport] = {}

    def sources(self) -> tuple[SourceReport, ...]:
        """Every source, with why it is not well; those of evidence only where it is declared."""
        facts = [self._sources.vrrp.facts(name) for name in self._sources.vrrp.interfaces]
        kernel = (
            ("netlink", self._sources.network.state),
            ("charon", self._sources.charon.state),
            ("firewall", self._sources.firewall.state),
        )
        reports = [self._report(name, state.why if isinstance(state, Unknown) else "") for name, state in kernel]
        if any(not isinstance(one, Absent) for each in facts for one in (each.state, each.process)):
            reports.append(self._report("keepalived", self._of_keepalived(facts)))
            reports.append(self._report("notify", "; ".join(self._sources.vrrp.failures)))
        if any(not isinstance(each.listener, Absent) for each in facts):
            reports.append(self._report("adverts", next(_unknown(each.listener for each in facts), "")))
        return tuple(reports)

    def evidence(self) -> tuple[EvidenceReport, ...]:
        """What is known of each interface's VIPs beside the address."""
        vrrp = self._sources.vrrp
        return tuple(_evidence(name, vrrp.facts(name)) for name in vrrp.interfaces)

    def _of_keepalived(self, facts: list[VrrpFacts]) -> str:
        if any(isinstance(each.process, Known) and not each.process.value for each in facts):
            return "not running"
        ill = [*_unknown(each.process for each in facts), *_unknown(each.state for each in facts)]
        # What was said of one interface and not of another is worse than what was not read yet.
        return next((why for why in ill if why != "not-read"), next(iter(ill), ""))

    def _report(self, name: str, why: str) -> SourceReport:
        last = self._last.get(name)
        if last is None or last.detail != why:
            report = SourceReport(name=name, up=why in _ANSWERS, synced=not why, since=self._clock(), detail=why)
            self._last[name] = report
            if last is not None and report.up and not last.up:
                self._on_return(name)
        return self._last[name]


def _unknown(facts: Iterable[Known[T] | Unknown[T] | Absent]) -> Iterator[str]:
    return (fact.why for fact in facts if isinstance(fact, Unknown))


def _evidence(name: str, facts: VrrpFacts) -> EvidenceReport:
    listener = facts.listener
    heard = None
    if isinstance(listener, Known):
        heard = listener.value
    elif isinstance(listener, Unknown):
        heard = listener.last
    heard = heard or Heard()
    return EvidenceReport(
        interface=name,
        dbus=_word(facts.state, str),
        process=_word(facts.process, lambda alive: "alive" if alive else "dead"),
        adverts=_word(listener, lambda _: "listening"),
        own_advert_at=heard.own_at,
        other_advert_at=heard.other_at,
        other=heard.other,
        claimed_at=heard.claimed_at,
    )


def _word(fact: Known[T] | Unknown[T] | Absent, says: Callable[[T], str]) -> WordReport | None:
    match fact:
        case Known(value, since):
            return WordReport(says(value), known=True, since=since)
        case Unknown(since, why):
            return WordReport(why, known=False, since=since)
        case _:
            return None
