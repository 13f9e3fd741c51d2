"""What several ports have seen is one list in the order of time, however late a port is read."""

from dataclasses import dataclass, field
from typing import Final, cast

from hypothesis import given
from hypothesis import strategies as st

from tests.lab.observe.capture import PortCapture
from tests.lab.observe.packets import Other, Packet
from tests.lab.observe.recording import Recording

PORTS: Final = ("a-wan1", "b-wan1", "peer-wan1")
TIMES: Final = st.lists(st.integers(0, 50), max_size=5)


@dataclass
class Port:
    """One that has been read so far."""

    name: str
    seen: list[Packet] = field(default_factory=list)

    def packets(self, start: int) -> list[Packet]:
        """As of a capture."""
        return self.seen[start:]

    def sees(self, at: float) -> None:
        """Read a packet that came at that time."""
        self.seen.append(Packet(at, self.name, leaving=True, mac="", source="", destination="", content=Other(0)))


@given(st.lists(st.fixed_dictionaries(dict.fromkeys(PORTS, TIMES)), max_size=5), st.integers(0, 50))
def test_in_the_order_of_time(reads: list[dict[str, list[int]]], start: int) -> None:
    """Each call has all that was read until then, once and in order; a port may be read long after the others.

    Broken by: ``packets`` appending what is fresh (a late port's packets come last); ``bisect_right`` in ``since``.
    """
    ports = {name: Port(name) for name in PORTS}
    recording = Recording(cast("dict[str, PortCapture]", ports))
    for read in reads:
        for name, times in read.items():
            for at in times:
                ports[name].sees(float(at))
        everything = [packet for port in ports.values() for packet in port.seen]
        found = recording.packets()
        assert [packet.at for packet in found] == sorted(packet.at for packet in everything)
        assert sorted(map(id, found)) == sorted(map(id, everything))
        assert recording.since(start) == [packet for packet in found if packet.at >= start]
