"""What was seen of keepalived since the start, for metrics."""

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """Numbers that only grow."""

    reads: int = 0
    """Instances read by D-Bus."""
    silences: int = 0
    """Calls that keepalived did not answer in time while the bus did."""
    bus_losses: int = 0
    """Connections to the bus that ended."""
    deaths: int = 0
    """Processes of keepalived's seen to die."""
    fifo_lines: int = 0
    """Lines read from the notify FIFO; each only meant that there is something to look at."""
    hints: int = 0
    """Datagrams from ``swanherd notify``."""
    fifo_reopens: int = 0
    """Times that the FIFO was another one than the one we had open."""
