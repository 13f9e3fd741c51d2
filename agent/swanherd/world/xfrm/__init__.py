"""The kernel's own IPsec: what a dead charon left in it, which goes on sending and which no new charon lists."""

from swanherd.world.xfrm.leftovers import KernelIpsec, KernelIpsecError

__all__ = ["KernelIpsec", "KernelIpsecError"]
