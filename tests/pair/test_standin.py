"""The stand-in's own test: it must be a ghost that nothing but a firewall silences."""

from tests.lab.lab import Lab
from tests.lab.observe import Observer
from tests.lab.observe.packets import Esp, Packet
from tests.lab.standin import StandIn, is_stand_in
from tests.lab.topology import address, port, vip

ENOUGH = 50
"""Packets of one kind: a quarter of a second of sending."""


def test_the_stand_in_sends_from_an_address_that_is_not_here() -> None:
    """Without a table of ours, raw ESP and ESP in UDP from a VIP that the host does not have leave by its WAN.

    Broken by: leaving out ``IP_TRANSPARENT`` (all is refused: no route from an address that is not here).
    """
    with Lab() as lab, Observer(lab, traffic=False) as seen:
        with StandIn(lab.gw_a, address("peer", "wan1"), source=vip("wan1")) as ghost:

            def left(*, in_udp: bool) -> list[Packet]:
                packets = seen.packets(port=port("gw-a", "wan1"), leaving=True, content=Esp)
                return [
                    packet
                    for packet in packets
                    if is_stand_in(packet) and isinstance(packet.content, Esp) and packet.content.in_udp is in_udp
                ]

            seen.wait_for(lambda: min(len(left(in_udp=flag)) for flag in (False, True)) >= ENOUGH, "its packets")
        assert ghost.refused == 0
        assert {packet.source for packet in left(in_udp=False) + left(in_udp=True)} == {vip("wan1")}
        assert seen.holders(vip("wan1")) == set()
