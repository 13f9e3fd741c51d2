"""keepalived: what it says of its VRRP instances, whether it lives, and when to look.

bus         one connection to the message bus, and keepalived on it; dbus-fast stops here
instances   the states of the instances, read after signals and by time
process     its processes, by pidfd
fifo        its notify FIFO: each line only means "look"
hints       the datagrams of `swanherd notify`; the same
counters    for metrics
keepalived  the facade: all that the rest of the agent sees
"""

from swanherd.world.keepalived.counters import Counters
from swanherd.world.keepalived.keepalived import Keepalived

__all__ = ["Counters", "Keepalived"]
