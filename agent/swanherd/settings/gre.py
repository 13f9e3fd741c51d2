"""The tables ``[connections.NAME.gre_interface]``."""

from typing import Annotated

from pydantic import Field

from swanherd.settings.about import About
from swanherd.settings.fields import Addresses, Device, Networks, Table


class GreInterfaceTable(Table):
    """A GRE device between the connection's own ends: made by swanherd, up while the connection runs here."""

    name: Annotated[Device, About(text="The device's name.", example='name = "gre-branch"')]
    addresses: Annotated[
        Addresses, About(text="The device's own addresses.", example='addresses = ["172.31.0.1"]')
    ] = ()
    mtu: Annotated[
        int | None,
        Field(ge=576, le=65535),
        About(
            text="The device's MTU. What the kernel takes leaves no room for IPsec around the GRE.",
            unit="bytes",
            example="mtu = 1400",
            default="the kernel's",
        ),
    ] = None
    routes: Annotated[
        Networks,
        About(
            text="Networks to route into the device while the connection runs here, the peer's end of it among them. "
            "Behind each stands a route that refuses, unless when_down is pass.",
            example='routes = ["172.31.0.2/32", "10.60.0.0/16"]',
        ),
    ] = ()
