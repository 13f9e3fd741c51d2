"""The store: in which order what is due is decided."""

from dataclasses import replace

from swanherd.core.facts import CharonIdentity
from swanherd.core.intent import Intent
from swanherd.core.record import Entry, Record
from swanherd.runtime.sources import Sources
from swanherd.runtime.stall import StallWatch
from swanherd.runtime.store import Store
from tests.unit.core.settings import ALPHA, INTERFACES
from tests.unit.runtime.model import ModelCharon, ModelFirewall, ModelNetwork

MANY = tuple(f"c{number}" for number in range(100))


def test_equal_takeovers_go_in_the_order_of_the_settings() -> None:
    """By priority, and equal ones as the settings have them; before all comes who left the settings.

    Broken by: leaving equal ones to the order of a set, which differs from run to run.
    """
    store = Store(Sources(ModelNetwork(), ModelCharon(), ModelFirewall()), StallWatch(now=0.0, on_stall=lambda _: None))
    known = {name: replace(ALPHA, name=name) for name in (*MANY, "urgent")}
    known["urgent"] = replace(ALPHA, name="urgent", priority=ALPHA.priority + 1)
    store.adopt(Intent(INTERFACES, known), {})
    store.recorded(Record(None, {"gone": Entry(frozenset(), "swanherd-gone", frozenset())}))

    assert tuple(sorted(store.take_due(), key=store.rank)) == ("gone", "urgent", *MANY)


def test_a_record_under_another_charons_name_is_news_to_all() -> None:
    """The same entries written again for the charon that is here now: what waited for that is due.

    Broken by: ``Store.recorded`` comparing the entries only.
    """
    store = Store(Sources(ModelNetwork(), ModelCharon(), ModelFirewall()), StallWatch(now=0.0, on_stall=lambda _: None))
    store.adopt(Intent(INTERFACES, {"alpha": ALPHA}), {})
    entries = {"alpha": Entry(frozenset(), "swanherd-alpha", frozenset())}
    store.recorded(Record(None, entries))
    store.take_due()
    store.recorded(Record(None, entries))
    assert store.take_due() == set()

    store.recorded(Record(CharonIdentity(1, 1), entries))

    assert store.take_due() == {"alpha"}
