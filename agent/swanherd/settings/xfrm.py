"""The tables ``[connections.NAME.xfrm_interface]``."""

from typing import Annotated

from pydantic import Field

from swanherd.settings.about import About
from swanherd.settings.fields import Addresses, Device, Networks, Table


class XfrmInterfaceTable(Table):
    """A device for a connection's traffic: made by swanherd, up while the connection runs here, removed with it."""

    name: Annotated[Device, About(text="The interface's name.", example='name = "ipsec-branch"')]
    if_id: Annotated[
        int,
        Field(ge=1, le=0xFFFFFFFF),
        About(text="The interface's id.", example="if_id = 42", strongswan="connections.NAME.if_id_in, if_id_out"),
    ]
    addresses: Annotated[
        Addresses, About(text="The interface's own addresses.", example='addresses = ["169.254.10.1"]')
    ] = ()
    mtu: Annotated[
        int | None,
        Field(ge=576, le=65535),
        About(text="The interface's MTU.", unit="bytes", example="mtu = 1400", default="the kernel's"),
    ] = None
    install_routes: Annotated[
        bool,
        About(
            text="Route the children's remote networks into the interface while the connection runs here. Without it "
            "what goes into it is yours to say: in routes, or by a daemon that makes its own anew when the interface "
            "comes up. The kernel forgets those of an interface that goes down, as it does on the standby.",
            example="install_routes = true",
        ),
    ] = False
    routes: Annotated[
        Networks,
        About(
            text="Networks to route into the interface while the connection runs here, where those of the children are "
            "not what is meant (0.0.0.0/0, say). Behind each stands a route that refuses, unless when_down is pass.",
            example='routes = ["10.20.0.0/16"]',
            manual="Interface (Routes)",
        ),
    ] = ()
