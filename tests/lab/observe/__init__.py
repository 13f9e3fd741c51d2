"""The observer: what really happened in a lab, from wires and kernels, never from swanherd."""

from tests.lab.observe.observer import Observer, VoidObservationError
from tests.lab.observe.running import Between, Running
from tests.lab.observe.timeline import Timeline

__all__ = ["Between", "Observer", "Running", "Timeline", "VoidObservationError"]
