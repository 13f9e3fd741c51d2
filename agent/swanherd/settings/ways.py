"""The part of ``[connections.NAME]`` that says which ways there are: out of this gateway, and in at the peer."""

from typing import Annotated, Literal

from pydantic import Field

from swanherd.settings.about import About
from swanherd.settings.fields import Endpoints, Names, Table


class WaysFields(Table):
    """Where a connection may leave from, and where it may go."""

    interfaces: Annotated[
        Names,
        Field(min_length=1),
        About(
            text="The interfaces it may leave by. Of several, the one that the default route leaves by is used (see "
            "source_by); `any` alone: whatever own address (never a VIP) the default route gives.",
            example='interfaces = ["wan"]',
            manual="Interfaces",
            strongswan="local_addrs",
        ),
    ]
    source_by: Annotated[
        Literal["default-route", "route-to-endpoint"],
        About(
            text="Which route says by which of several interfaces it leaves. default-route: the default route of the "
            "main table. route-to-endpoint: the one that the kernel takes to the endpoint that is called now, by all "
            "of its rules and tables (policy routing). It is asked without a source, since that is what is sought, "
            "and without a mark, port or protocol: rules for those have no say.",
            example='source_by = "default-route"',
            manual="Interfaces",
            strongswan="local_addrs = %any",
        ),
    ] = "default-route"
    remote: Annotated[
        Endpoints,
        Field(min_length=1),
        About(
            text="The peer's endpoints, in the order in which they are tried: addresses and hostnames; 0.0.0.0 or :: "
            "alone where it can be anywhere. The tunnel stays with the one that works. Whoever calls from any of them "
            "is answered; where one is a hostname, from anywhere: a peer that has moved may call before DNS tells.",
            example='remote = ["203.0.113.20", "branch.example.net"]',
            manual="Remote Endpoints",
            strongswan="remote_addrs",
        ),
    ]
    attempt_s: Annotated[
        float,
        Field(ge=1, le=165, allow_inf_nan=False),
        About(
            text="How long one of several endpoints may take to answer before the next one has its turn. Charon sends "
            "its first message again after 4 s, and then ever more rarely.",
            unit="s",
            example="attempt_s = 10.0",
        ),
    ] = 6.0
    prefer_first: Annotated[
        bool,
        About(
            text="Return to the first endpoint as soon as it lives again: it is asked every few seconds, and when it "
            "answers the tunnel returns, the new SA made before the old one is taken away. If not, the tunnel stays "
            "where it works.",
            example="prefer_first = true",
        ),
    ] = False
    move_hold_s: Annotated[
        float,
        Field(ge=0, le=3600, allow_inf_nan=False),
        About(
            text="After the tunnel has moved to another way, it stays there for this long as long as that way works, "
            "however often the better one comes and goes. The first move is not held back, nor is one off a way that "
            "has died, nor ever a fence.",
            unit="s",
            example="move_hold_s = 30.0",
        ),
    ] = 10.0
