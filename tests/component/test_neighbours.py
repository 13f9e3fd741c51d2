"""What waits in a kernel for a neighbour's MAC is dropped, on the devices named; the wire is the judge."""

import socket
from collections.abc import Iterator

import pytest

from swanherd.world.neighbours import drop_waiting
from tests.lab.lab import Lab
from tests.lab.namespaces import call_in
from tests.lab.observe import Observer
from tests.lab.observe.packets import Packet
from tests.lab.topology import address, port
from tests.lab.waiting import wait_until

PACKETS = 5
IKE_PORT = 500
HEADER = bytes(16) + bytes.fromhex("2120220800000000") + (28).to_bytes(4)
"""Of an IKE message that nobody answers."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """The lab's hosts and wires, with nothing running on them."""
    with Lab() as built:
        yield built


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(("devices", "leave"), [(("wan2", "nowhere"), PACKETS), (("wan2", "wan1"), 0)])
def test_what_waits_is_dropped(lab: Lab, family: int, devices: tuple[str, ...], leave: int) -> None:
    """The neighbour answers at last: what had waited for it leaves, unless it was dropped.

    Broken by: deleting nothing; deleting on every device.
    """
    to = address("peer", "wan1", family)
    at_peer = (f"{to}/{24 if family == 4 else 64}", "dev", "wan1")
    with Observer(lab, traffic=False) as seen:
        lab.peer.run("ip", "address", "del", *at_peer)
        try:
            lab.gw_a.run("ip", "neigh", "flush", "dev", "wan1")
            call_in(lab.gw_a.netns, lambda: _send(to, family))
            shown = ("ip", "neigh", "show", "to", to, "nud", "incomplete")
            wait_until(lambda: "INCOMPLETE" in lab.gw_a.run(*shown).stdout, "packets wait")
            assert call_in(lab.gw_a.netns, lambda: drop_waiting(devices)) == ""
        finally:
            lab.peer.run("ip", "address", "add", *at_peer, *(["nodad"] if family == 6 else []))
        # What is sent behind it, and answered, has left behind it.
        lab.gw_a.run("ping", "-c", "1", "-W", "5", to)
        assert len(_ike(seen, to)) == leave


def _send(to: str, family: int) -> None:
    with socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        for _ in range(PACKETS):
            sock.sendto(HEADER, (to, IKE_PORT))


def _ike(seen: Observer, to: str) -> list[Packet]:
    leaving = seen.packets(port=port("gw-a", "wan1"), leaving=True)
    return [packet for packet in leaving if packet.destination == to and packet.is_ipsec]
