"""VRRP adverts on the wire, our own and other routers', heard without taking part (see `listener`)."""

from swanherd.world.vrrp.adverts import Ignored
from swanherd.world.vrrp.instance import Watched
from swanherd.world.vrrp.listener import VrrpListener

__all__ = ["Ignored", "VrrpListener", "Watched"]
