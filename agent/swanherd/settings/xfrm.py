"""The tables ``[connections.NAME.xfrm_interface]``."""

from typing import Annotated

from pydantic import Field

from swanherd.settings.about import About
from swanherd.settings.fields import Addresses, Device, Table


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
            "you make the routes.",
            example="install_routes = true",
        ),
    ] = False
