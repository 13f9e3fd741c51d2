"""The tables ``[connections.NAME]``: Phase 1."""

from typing import Annotated, Literal

from pydantic import Field

from swanherd.settings.about import About
from swanherd.settings.authentication import AuthenticationFields
from swanherd.settings.child import ChildTable
from swanherd.settings.fields import (
    Chain,
    IkeProposals,
    Lifetime,
    Name,
    Start,
)
from swanherd.settings.gre import GreInterfaceTable
from swanherd.settings.ways import WaysFields
from swanherd.settings.xfrm import XfrmInterfaceTable


class ConnectionTable(AuthenticationFields, WaysFields):
    """A Phase 1: with whom, from where and how."""

    children: Annotated[
        dict[Name, ChildTable],
        Field(min_length=1),
        About(
            text="The Phase 2 entries, each a table with a name of its own.",
            example='children.net = { local = ["10.10.0.0/24"], remote = ["10.20.0.0/24"] }',
            manual="Phase 2",
            strongswan="children",
        ),
    ]
    ip_version: Annotated[
        Literal[4, 6] | None,
        About(
            text="The IP family of the tunnel's outside.",
            example="ip_version = 4",
            default="the family of the first address in remote, else 4",
            manual="IP Type",
        ),
    ] = None
    ike_version: Annotated[
        Literal[1, 2],
        About(
            text="The version of IKE; 1 in main mode. With 1 each child has one network on each side.",
            example="ike_version = 2",
            manual="IKE Type",
            strongswan="version",
        ),
    ] = 2
    mode: Annotated[
        Literal["tunnel", "transport"],
        About(
            text="Encrypt packets whole, or their payload only. transport has one child, between the two endpoints: "
            "dynamic, with [protocol/port] if wanted, as dynamic[gre].",
            example='mode = "tunnel"',
            manual="Connection Type",
            strongswan="children.NAME.mode",
        ),
    ] = "tunnel"
    encryption: Annotated[
        Literal["esp", "ah"],
        About(
            text="Encrypt and authenticate, or authenticate only. AH cannot pass a NAT: where one is found the "
            "connection is torn down, and waits with the reason ah-behind-nat.",
            example='encryption = "esp"',
            manual="Encryption Type",
            strongswan="children.NAME.esp_proposals, ah_proposals",
        ),
    ] = "esp"
    start: Annotated[
        Start,
        About(
            text="connect: initiate, and keep it up; on-demand: the first packet initiates; responder-only: only the "
            "peer initiates.",
            example='start = "responder-only"',
            manual="Init Type, Responder Only",
            strongswan="children.NAME.start_action",
        ),
    ] = "connect"
    xfrm_interface: Annotated[
        XfrmInterfaceTable | None,
        About(
            text="Make an XFRM interface, through which this connection's traffic goes: what is routed into it. "
            "Connections whose networks do not overlap may share one, each with the same table.",
            example='xfrm_interface = { name = "ipsec-branch", if_id = 42 }',
            manual="Interface",
            strongswan="if_id_in, if_id_out",
        ),
    ] = None
    gre_interface: Annotated[
        GreInterfaceTable | None,
        About(
            text="Make a GRE device between this connection's source and the endpoint in force. Transport mode, whose "
            "one child is for GRE, encrypts what goes through it.",
            example='gre_interface = { name = "gre-branch", addresses = ["172.31.0.1"] }',
            manual="GRE over IPSec",
        ),
    ] = None
    proposals: Annotated[
        IkeProposals,
        About(
            text="Algorithms, any number of combinations.",
            example='proposals = ["aes256gcm16-prfsha384-ecp384", "aes256-sha256-modp2048"]',
            default="charon's own",
            manual="Phase 1 Algorithms",
            strongswan="proposals",
        ),
    ] = ()
    rekey_s: Annotated[
        Lifetime,
        About(
            text="The age at which this end rekeys the IKE_SA, up to a tenth of it earlier; with IKEv1 it "
            "authenticates anew, by a handshake of its own, which responder-only leaves to the peer.",
            unit="s",
            example="rekey_s = 14400",
            manual="Lifetime",
            strongswan="rekey_time",
        ),
    ] = 14400
    rekey: Annotated[
        bool,
        About(
            text="Whether this end starts a rekey, of the IKE_SA and of its children. If not, only the peer does, and "
            "a child that nobody has rekeyed after its own rekey_s ends and is made anew.",
            example="rekey = true",
            manual="Rekey",
            strongswan="rekey_time",
        ),
    ] = True
    firewall_rule: Annotated[
        Chain | None,
        About(
            text="The chain of your own nftables ruleset, as family, table and chain, in which a rule of ours lets "
            "this connection's IPsec in while this gateway has its source address: IKE from its endpoints, ESP or AH. "
            "It stands at the head of the chain, with our comment, and goes with the connection; your rules never "
            "change, and a ruleset that you load anew has it again at once. What comes through the tunnel is not "
            "let in: that is your policy (meta ipsec exists). A chain that iptables manages is none of yours.",
            example='firewall_rule = "inet filter input"',
            manual="Associate Firewall Rule",
        ),
    ] = None
    nat_traversal: Annotated[
        Literal["auto", "force", "off"],
        About(
            text="UDP encapsulation: auto, where a NAT is found; force, always; off, never: then the connection does "
            "not run where a NAT is found, and waits with the reason nat-found.",
            example='nat_traversal = "force"',
            manual="NAT-T",
            strongswan="encap",
        ),
    ] = "auto"
    mobike: Annotated[
        bool,
        About(
            text="Let charon and the peer move the tunnel between addresses. On an interface with a VIP the old master "
            "would take the tunnel along when it loses the VIP; so while any such connection is set, no IPsec leaves "
            "this gateway but that of swanherd's own connections, whether the agent runs or not.",
            example="mobike = false",
            manual="MOBIKE",
            strongswan="mobike",
        ),
    ] = False
    split: Annotated[
        bool,
        About(
            text="An IKE_SA of its own for each child, for peers that need it; each is a connection NAME-CHILD in "
            "charon and in the status. They are begun one after another, so that each child's start must be connect; "
            "their over_time differs by a second: charon would merge equal ones.",
            example="split = false",
            manual="Split Connection",
        ),
    ] = False
    dpd_delay_s: Annotated[
        int,
        Field(ge=0, le=86400),
        About(
            text="Ask the peer whether it lives after this long without a sign of it; 0: never.",
            unit="s",
            example="dpd_delay_s = 30",
            manual="Dead Peer Detection, DPD Delay",
            strongswan="dpd_delay",
        ),
    ] = 30
    dpd_timeout_s: Annotated[
        int | None,
        Field(ge=1, le=86400),
        About(
            text="Restart the connection when the peer has owed an answer for this long; counted from the question "
            "that dpd_delay_s of silence brought.",
            unit="s",
            example="dpd_timeout_s = 150",
            default="charon's retransmission schedule (165 s)",
            manual="DPD Timeout",
            strongswan="dpd_timeout",
        ),
    ] = None
    when_down: Annotated[
        Literal["drop", "pass"],
        About(
            text="What becomes of traffic between the children's networks while it has no tunnel here. drop: it never "
            "leaves in clear by an interface of this connection, on master and standby alike, whether swanherd runs or "
            "not (other ways, by the LAN or another uplink, are yours). pass: your firewall and routes decide.",
            example='when_down = "pass"',
        ),
    ] = "drop"
    priority: Annotated[
        int,
        Field(ge=-1000, le=1000),
        About(text="Takeovers go by priority, highest first.", example="priority = 10"),
    ] = 0
