"""Full collections visit what is new, and everything now and then; each test in a process of its own."""

import subprocess
import sys

COUNTED = """
import gc
from swanherd.runtime.garbage import SURVIVORS
class Node: pass
def cycle():
    node = Node()
    node.itself = node
    return node
SURVIVORS.keep()
"""


def _run(then: str) -> str:
    return subprocess.run([sys.executable, "-c", COUNTED + then], check=True, capture_output=True, text=True).stdout


def test_what_survived_one_is_not_visited_by_the_next() -> None:
    """Objects that stay are visited once. Broken by: ``_collected`` not setting them aside."""
    made, old, new = _run("""
made = gc.get_freeze_count() // 50
kept = [cycle() for _ in range(made)]
before = len(gc.get_objects(0)) + len(gc.get_objects(1)) + len(gc.get_objects(2))
gc.collect()
print(made, before, len(gc.get_objects(2)))
""").split()
    assert int(old) >= int(made) > 100
    assert int(new) < int(made)


def test_what_dies_before_the_first_is_collected() -> None:
    """A cycle that nobody holds any more goes with the next full collection, and counts as collected."""
    assert int(_run("cycle(); print(gc.collect())")) >= 1


def test_a_reload_has_everything_visited_once_more() -> None:
    """What was set aside and died in a cycle is found then, and not before."""
    kept, found = _run("""
import weakref
node = cycle()
gone = weakref.ref(node)
gc.collect()
del node
gc.collect()
print(gone() is not None)
SURVIVORS.look_again()
gc.collect()
print(gone() is None)
""").split()
    assert (kept, found) == ("True", "True")


def test_what_was_set_aside_and_died_in_a_cycle_goes_some_day() -> None:
    """When what is set aside has grown by a tenth since all of it was visited. Broken by: ``GROWN`` of a million."""
    found, others = _run("""
import weakref
made = gc.get_freeze_count() // 50
def under_way():
    nodes = [cycle() for _ in range(made)]
    gc.collect()
    return weakref.ref(nodes[0])
gone = [under_way() for _ in range(20)]
print(sum(each() is None for each in gone), len(gone))
""").split()
    assert int(others) > int(found) >= int(others) // 2


def test_what_is_not_needed_any_more_is_given_back() -> None:
    """Pages in the midst of the C library's heap, which it gives back only when it is told to.

    Broken by: ``trim`` not called. Where the C library is another one, nothing is done, and nothing raised.
    """
    before, after = _run("""
from swanherd.runtime.garbage import give_back
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1])
small = [bytearray(1000) for _ in range(50_000)]  # too large for Python's own heap, too small for maps of their own
kept = small[::500]
del small
before = resident()
give_back()
print(before, resident())
""").split()
    assert int(after) < int(before) * 0.8


def test_no_full_collection_comes_of_its_own_accord() -> None:
    """It comes when much is made, which is in a takeover. Broken by: ``keep`` not setting the threshold."""
    own, asked = _run("""
seen = []
gc.callbacks.append(lambda phase, info: seen.append(info["generation"]) if phase == "stop" else None)
kept = [cycle() for _ in range(500_000)]
print(seen.count(2))
SURVIVORS.collect()
print(seen.count(2))
""").split()
    assert (int(own), int(asked) >= 1) == (0, True)
