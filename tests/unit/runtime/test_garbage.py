"""Full collections visit what is new, and after a reload everything once more; in a process of its own each."""

import subprocess
import sys

COUNTED = """
import gc
from swanherd.runtime import garbage
class Node: pass
def cycle():
    node = Node()
    node.itself = node
    return node
garbage.keep_survivors()
"""


def _run(then: str) -> str:
    return subprocess.run([sys.executable, "-c", COUNTED + then], check=True, capture_output=True, text=True).stdout


def test_what_survived_one_is_not_visited_by_the_next() -> None:
    """Ten thousand objects that stay are visited once."""
    old, new = _run("""
kept = [cycle() for _ in range(10_000)]
before = len(gc.get_objects(0)) + len(gc.get_objects(1)) + len(gc.get_objects(2))
gc.collect()
print(before, len(gc.get_objects(2)))
""").split()
    assert int(old) > 10_000
    assert int(new) < 100


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
garbage.look_again()
gc.collect()
print(gone() is None)
""").split()
    assert (kept, found) == ("True", "True")
