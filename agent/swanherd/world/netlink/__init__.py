"""By netlink: addresses, links and default routes of this host (`source`), and the route to one address (`paths`)."""

from swanherd.world.netlink.paths import PathSource
from swanherd.world.netlink.source import Counters, NetworkSource

__all__ = ["Counters", "NetworkSource", "PathSource"]
