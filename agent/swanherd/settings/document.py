"""The settings as a whole, all files merged."""

from typing import Annotated

from pydantic import Field

from swanherd.settings.about import About
from swanherd.settings.agent import Options
from swanherd.settings.connection import ConnectionTable
from swanherd.settings.fields import Name, Table
from swanherd.settings.interface import InterfaceTable


class Document(Table):
    """Settings of swanherd: the main file and the files in conf.d beside it, merged."""

    agent: Annotated[Options, About(text="What concerns the agent as a whole.", example='agent.on_stop = "leave"')] = (
        Options()
    )
    interfaces: Annotated[
        dict[Name, InterfaceTable],
        Field(default_factory=dict),
        About(text="The ways out, by name.", example='interfaces.wan = { device = "wan1", vips = ["203.0.113.10"] }'),
    ]
    connections: Annotated[
        dict[Name, ConnectionTable],
        Field(default_factory=dict),
        About(text="The connections, by name; the names are those in charon.", example="connections = {}"),
    ]
