"""The vocabulary that decisions speak: one word for one thing, in logs, metrics, status, history and tests alike."""

from enum import StrEnum, unique


@unique
class Role(StrEnum):
    """What a connection is on this gateway. A third role (hot standby) is expected: match on all, assume nothing."""

    ACTIVE = "active"
    STANDBY = "standby"


@unique
class Start(StrEnum):
    """How a connection's children come up on the gateway that runs them."""

    CONNECT = "connect"
    """The agent initiates, and initiates again whenever a child is down."""
    ON_DEMAND = "on-demand"
    """A trap policy is installed; the first packet initiates."""
    RESPOND = "responder-only"
    """Only the peer initiates."""


@unique
class Reason(StrEnum):
    """Why a connection is what it is. Each value is stable: people alert on it."""

    # active, and well
    UP = "up"
    """Every child that should be up is up."""
    TRAPPED = "trapped"
    """On demand: the trap is installed and no packet has come yet."""
    WAITING_FOR_PEER = "waiting-for-peer"
    """Responder only: loaded; the peer has not called yet."""

    # active, on its way
    LOADING = "loading"
    """The address has come; the connection is being loaded."""
    QUEUED = "queued"
    """Waits for a free slot in the window of handshakes."""
    CONNECTING = "connecting"
    """The handshake is under way."""
    UNLOADED_BY_OTHER = "unloaded-by-other"
    """Somebody else unloaded our connection (``swanctl --load-all`` does); it is being loaded again."""
    MOVING = "moving"
    """The right is kept; the source or the endpoint changes."""
    SETTINGS_CHANGED = "settings-changed"
    """The SA was made under settings that no longer hold; it is made anew."""
    DISPLACED = "displaced"
    """The SA may have been replaced at the peer while this gateway stood still; it is made anew."""

    # active, and ill: retried until it works
    UNRESOLVED = "unresolved"
    """No endpoint has an address: nobody can be called, but whoever calls is answered."""
    AUTH_FAILED = "auth-failed"
    NO_PROPOSAL = "no-proposal"
    TS_UNACCEPTABLE = "ts-unacceptable"
    NO_ANSWER = "no-answer"
    LOCAL_ERROR = "local-error"
    """Charon could not send (no route, or refused by the firewall)."""
    PEER_CLOSED = "peer-closed"
    """The peer deleted the SA."""
    PEER_SILENT = "peer-silent"
    """The peer has not answered for the connection's DPD timeout; the SA is made anew."""
    NAT_FOUND = "nat-found"
    """A NAT is on the way to the peer, and the connection must not run through one."""
    AH_BEHIND_NAT = "ah-behind-nat"
    """A NAT is on the way to the peer, which AH cannot pass."""
    REJECTED = "rejected"
    """Charon refused the connection or its secret; its text is in the detail."""
    CHARON_GONE = "charon-gone"
    """Nobody answers on the vici socket; everything is loaded when charon is back."""
    CHARON_FROZEN = "charon-frozen"
    """Charon takes calls and does not answer them."""

    # standby
    NO_ADDRESS = "no-address"
    """None of the connection's source addresses is held here."""
    ADDRESS_TENTATIVE = "address-tentative"
    """The address is here, but duplicate address detection has not ended, or failed."""
    LINK_DOWN = "link-down"
    """The address is here, but the link that it is on is down."""
    NO_DEVICE = "no-device"
    """The interface's device does not exist."""
    NO_DEFAULT_ROUTE = "no-default-route"
    """Several interfaces, and no live default route leaves through one of them that is held."""
    NO_ROUTE = "no-route"
    """Several interfaces, and the kernel's route to the endpoint leaves by none of them (``source_by``)."""
    ANOTHER_MASTER = "another-master"
    """The address is here, but another router has taken it over: its adverts are heard, ours are not."""
    KEEPALIVED_GONE = "keepalived-gone"
    """The address is here, but the daemon that put it there is dead, and nobody listens for another router."""
    KEEPALIVED_SILENT = "keepalived-silent"
    """The same with a daemon that lives and says nothing."""
    VRRP_BACKUP = "vrrp-backup"
    """The address is here, and keepalived says that this gateway is backup."""
    VRRP_FAULT = "vrrp-fault"
    """The address is here, and keepalived says that its instance is in fault."""
    WAITING_FOR_VRRP = "waiting-for-vrrp"
    """The address was here before the agent, and nobody has vouched for it yet."""
    NETWORK_UNKNOWN = "network-unknown"
    """The kernel's addresses could not be read for too long: silence gives no right."""
    STARTING = "starting"
    """Not every source has been read since the agent started."""
    STOPPING = "stopping"
    """The agent is being stopped and gives its connections up."""
    REMOVED = "removed"
    """No longer in the settings; what is left of it is being taken away."""
    NAME_TAKEN = "name-taken"
    """Somebody else's connection is loaded under this name; neither is touched."""


@unique
class Notice(StrEnum):
    """What people should know of a connection although it changes no role."""

    TWO_MASTERS = "two-masters"
    """Another router sends adverts for the VIP while our own keepalived says that it is the master."""
    STALE_VIP = "stale-vip"
    """The address was left behind here; it no longer answers for itself, and should be removed."""
    MOBIKE = "mobike"
    """Charon may try to take the tunnel to another address when the VIP leaves; the guard stops it, and more."""


@unique
class Fence(StrEnum):
    """How far this gateway is from being unable to run a connection that it has no right to."""

    NOT_NEEDED = "not-needed"
    """The connection is rightfully run here."""
    PENDING = "fence-pending"
    """The right is lost, and the wire or the state step is not yet verified."""
    FENCED = "fenced"
    """Nothing can leave and nothing is left: read back."""


@unique
class ConfigChange(StrEnum):
    """What a reload does to a live SA of a connection or a child."""

    NOTHING = "nothing"
    NEXT_SA = "next SA"
    """The SA stays as it is, through all its rekeys; the change holds for the next one that is made anew."""
    THIS_CHILD = "this child only"
    """The CHILD_SA is replaced; the IKE_SA and its other children stay."""
    RE_ESTABLISH = "re-establish"
    """The IKE_SA and all its children are replaced."""
    REMOVED = "removed"
    """The SA is taken away."""
    ADDED = "added"
    """There is none yet."""
