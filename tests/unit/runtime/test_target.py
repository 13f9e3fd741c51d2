"""What the firewall tables should hold, pass after pass."""

from swanherd.core.facts import CharonIdentity
from swanherd.core.intent import Intent
from swanherd.core.record import Entry, Record
from swanherd.runtime.sources import Sources
from swanherd.runtime.stall import StallWatch
from swanherd.runtime.store import Store
from swanherd.runtime.target import WireTarget
from tests.unit.core.settings import ALPHA, INTERFACES
from tests.unit.runtime.model import ModelCharon, ModelFirewall, ModelNetwork


def test_a_write_of_the_record_does_not_compute_the_leak_guard_anew() -> None:
    """The record is written several times in a takeover; the leak guard is of the settings and the devices alone.

    With a thousand connections it would stop the loop for a tenth of a second each time, in the middle of a fence.
    Broken by: ``WireTarget._leaks`` asking for the entries too.
    """
    store = Store(Sources(ModelNetwork(), ModelCharon(), ModelFirewall()), StallWatch(now=0.0, on_stall=lambda _: None))
    store.adopt(Intent(INTERFACES, {"alpha": ALPHA}), {})
    target = WireTarget(store)
    before = target.now(store.situation(0.0), None)
    assert before.leaks

    store.recorded(Record(CharonIdentity(1, 1), {"alpha": Entry(frozenset(), "swanherd-alpha", frozenset())}))

    assert target.now(store.situation(0.0), before).leaks is before.leaks

    store.adopt(Intent(INTERFACES, {}), {})
    assert target.now(store.situation(0.0), before).leaks == frozenset()
