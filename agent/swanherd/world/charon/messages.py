"""What the settings ask for, as charon's ``load-conn`` and ``load-shared`` want it.

Whatever is loaded must be safe with the agent dead: no action of charon's own (start, close, dead peer) ever brings a
connection up, and the source is one literal address, so that charon cannot run it from another one.
"""

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final

from swanherd.core.intent import Child, Connection, IPAddress
from swanherd.core.words import Start
from swanherd.world.charon.codec import Outgoing

ANYBODY: Final = "%any"
"""Charon's word for every identity."""
ANYWHERE: Final = {"0.0.0.0": "0.0.0.0/0", "::": "::/0"}
"""The settings' words for a peer that may call from anywhere, as charon's. It can answer such a peer, not call it."""
JITTER: Final = 10
"""A rekey comes up to a tenth of its time early, so that thousands do not come at once. Charon's own share."""
GRACE_MIN_S: Final = 60
"""At least this long an SA whose rekey is not answered lives on. Charon's own tenth is nothing for a short lifetime:
with one of 5 s the SA ended in the middle of its rekey (measured)."""
_SHARED_PREFIX: Final = "swanherd-"
"""How ``Connection.shared_id`` begins."""


def is_ours(shared_id: str) -> bool:
    """Whether a shared secret of this id is one that swanherd loads."""
    return shared_id.startswith(_SHARED_PREFIX)


def connection_of(shared_id: str) -> str:
    """The name of the connection that the secret *shared_id* is of."""
    return shared_id.removeprefix(_SHARED_PREFIX)


def load_conn(connection: Connection, source: IPAddress) -> Outgoing:
    """The ``load-conn`` message for *connection* from *source*."""
    return {
        connection.name: {
            "version": str(connection.ike_version),
            "local_addrs": [str(source)],
            "remote_addrs": remote_addrs(connection),
            **({"proposals": connection.proposals} if connection.proposals else {}),
            # MOBIKE would move the tunnel to this gateway's own address 100 ms after the VIP has left (measured).
            "mobike": connection.mobike,
            "encap": connection.encap,
            "dpd_delay": f"{connection.dpd_delay_s}s",
            **_dpd_timeout(connection),
            "rekey_time": f"{rekey_s(connection)}s",
            "rand_time": f"{rekey_s(connection) // JITTER}s",
            # Parts of a split connection differ in this alone: charon would let equal ones share an IKE_SA.
            "over_time": f"{_grace_s(connection.rekey_s) + (connection.part.number if connection.part else 0)}s",
            # One attempt: the agent tries again, with its own backoff and the right source.
            "keyingtries": 1,
            # "no" sends INITIAL_CONTACT, with which the peer drops the other gateway's SA at once; "never" would not.
            "unique": "no",
            **({"if_id_in": connection.if_id, "if_id_out": connection.if_id} if connection.if_id else {}),
            "local": _local(connection, source),
            "remote": _remote(connection),
            "children": {child.name: _child(child, connection) for child in connection.children},
        }
    }


def _local(connection: Connection, source: IPAddress) -> Outgoing:
    if connection.auth == "psk":
        return {"auth": "psk", "id": local_id(connection, source)}
    own: Outgoing = {"certs": connection.certificates.chain} if connection.certificates is not None else {}
    # Without an identity of its own charon takes the certificate's subject.
    named: Outgoing = {"id": connection.local_id.value} if connection.local_id.value else {}
    return {"auth": "pubkey", **named, **own}


def _remote(connection: Connection) -> Outgoing:
    if connection.auth == "psk":
        return {"auth": "psk", "id": remote_id(connection)}
    # Charon keeps every CA that it was ever given: what counts is which ones are pinned here.
    pinned: Outgoing = {"cacerts": connection.certificates.cas} if connection.certificates is not None else {}
    return {"auth": "pubkey", "id": remote_id(connection), **pinned}


def _child(child: Child, connection: Connection) -> Outgoing:
    proposals: Outgoing = {}
    if child.ah_proposals:
        proposals = {"ah_proposals": child.ah_proposals}
    elif child.esp_proposals:
        proposals = {"esp_proposals": child.esp_proposals}
    return {
        "local_ts": child.local_ts,
        "remote_ts": child.remote_ts,
        **proposals,
        "mode": child.mode,
        **_child_lifetime(child, connection),
        # With "restart" an SA whose connection was unloaded comes back by itself (measured): the agent restarts.
        "dpd_action": "clear",
        "close_action": "none",
        "start_action": "none",
    }


def _dpd_timeout(connection: Connection) -> Outgoing:
    """Charon heeds it in IKEv1 only, and counts it from the last sign of life (measured), not from the question.

    The agent counts it in both; charon comes a second behind, for the case that there is no agent.
    """
    if connection.ike_version != 1 or connection.dpd_timeout_s is None:
        return {}
    return {"dpd_timeout": f"{connection.dpd_delay_s + connection.dpd_timeout_s + 1}s"}


def _child_lifetime(child: Child, connection: Connection) -> Outgoing:
    if not connection.rekey:
        # Charon would let one that it does not rekey live for ever.
        return {"rekey_time": "0s", "life_time": f"{child.rekey_s}s"}
    return {
        "rekey_time": f"{child.rekey_s}s",
        "rand_time": f"{child.rekey_s // JITTER}s",
        "life_time": f"{child.rekey_s + _grace_s(child.rekey_s)}s",
    }


def _grace_s(age_s: int) -> int:
    """How long an SA of that age may live on while its rekey is under way."""
    return max(GRACE_MIN_S, age_s // JITTER)


def load_shared(connection: Connection, secret: bytes, sources: Iterable[IPAddress]) -> Outgoing:
    """The ``load-shared`` message for *connection*'s pre-shared key.

    Charon takes the key whose owners fit both identities best, so both sides are named, ``%any`` too: a key for one
    peer then always wins over a key for anybody. Where our identity follows the source, each of *sources* is an owner,
    since the secret is loaded before it is known which one it will be.
    """
    own = [connection.local_id.value] if connection.local_id.value else [str(source) for source in sources]
    owners = [*(own or [ANYBODY]), remote_id(connection)]
    return {"id": connection.shared_id, "type": "IKE", "data": secret, "owners": owners}


def local_id(connection: Connection, source: IPAddress) -> str:
    """Our identity: as set, else the source address."""
    return connection.local_id.value or str(source)


def remote_id(connection: Connection) -> str:
    """The peer's identity: as set, else the first endpoint's address.

    A peer without an address that is known now (anywhere, or a hostname) may be anybody; charon then sends no
    INITIAL_CONTACT.
    """
    if connection.remote_id is not None:
        return connection.remote_id
    first = connection.remote[0]
    return first if first not in ANYWHERE and _is_address(first) else ANYBODY


def rekey_s(connection: Connection) -> int:
    """The age at which charon rekeys the IKE_SA; 0: never.

    In IKEv1 it would begin a handshake of its own, as the responder too (measured): where only the peer initiates, it
    is the peer that authenticates anew.
    """
    waits = all(connection.start_of(child) is Start.RESPOND for child in connection.children)
    return connection.rekey_s if connection.rekey and not (connection.ike_version == 1 and waits) else 0


def remote_addrs(connection: Connection) -> list[str]:
    """The endpoints in order: charon calls the first and answers all."""
    return [ANYWHERE.get(endpoint, endpoint) for endpoint in connection.remote]


def _is_address(endpoint: str) -> bool:
    try:
        ip_address(endpoint)
    except ValueError:
        return False
    return True
