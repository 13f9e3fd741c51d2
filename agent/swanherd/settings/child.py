"""The tables ``[connections.NAME.children.NAME]``: Phase 2."""

from typing import Annotated

from pydantic import Field

from swanherd.settings.about import About
from swanherd.settings.fields import ChildProposals, Lifetime, Selectors, Start, Table


class ChildTable(Table):
    """A Phase 2: which traffic goes through the tunnel."""

    local: Annotated[
        Selectors,
        Field(min_length=1),
        About(
            text="The networks behind this pair, each with [protocol/port] if wanted.",
            example='local = ["10.10.0.0/24"]',
            manual="Phase 2: local network",
            strongswan="children.NAME.local_ts",
        ),
    ]
    remote: Annotated[
        Selectors,
        Field(min_length=1),
        About(
            text="The networks behind the peer.",
            example='remote = ["10.20.0.0/24", "10.21.0.0/24[tcp/443]"]',
            manual="Phase 2: remote network",
            strongswan="children.NAME.remote_ts",
        ),
    ]
    proposals: Annotated[
        ChildProposals,
        About(
            text='Algorithms, any number of combinations; one with a key exchange asks for PFS. With encryption = "ah" '
            "they have no cipher.",
            example='proposals = ["aes256gcm16-ecp384", "aes256gcm16"]',
            default="charon's own",
            manual="Phase 2: algorithms",
            strongswan="children.NAME.esp_proposals, ah_proposals",
        ),
    ] = ()
    rekey_s: Annotated[
        Lifetime,
        About(
            text="The age at which this end rekeys the CHILD_SA.",
            unit="s",
            example="rekey_s = 3600",
            manual="Phase 2: lifetime",
            strongswan="children.NAME.rekey_time",
        ),
    ] = 3600
    start: Annotated[
        Start | None,
        About(
            text="How this child comes up, if not as its connection does.",
            example='start = "connect"',
            default="the connection's start",
            strongswan="children.NAME.start_action",
        ),
    ] = None
