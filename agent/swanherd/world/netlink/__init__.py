"""Addresses, links and default routes of this host, by netlink (see `source`)."""

from swanherd.world.netlink.source import Counters, NetworkSource

__all__ = ["Counters", "NetworkSource"]
