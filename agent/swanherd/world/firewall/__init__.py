"""The tables ``inet swanherd`` and ``arp swanherd``: the guard that holds without us, and the fence that we set."""

from swanherd.world.firewall.errors import FirewallError
from swanherd.world.firewall.firewall import Firewall
from swanherd.world.firewall.openings import OpeningRules

__all__ = ["Firewall", "FirewallError", "OpeningRules"]
