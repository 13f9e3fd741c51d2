"""The part of ``[connections.NAME]`` that says who both ends are and how they prove it."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from swanherd.settings.about import About
from swanherd.settings.fields import Identity, Paths, Table

PathText = Annotated[str, Field(min_length=1, max_length=4096)]


class AuthenticationFields(Table):
    """Identities, secrets and certificates of a connection."""

    auth: Annotated[
        Literal["psk", "certificate"],
        About(
            text="How both ends prove who they are.",
            example='auth = "psk"',
            manual="Authentication Method",
            strongswan="local.auth, remote.auth",
        ),
    ] = "psk"
    psk_file: Annotated[
        PathText | None,
        About(
            text="The file with the pre-shared key, without its last line break; 0x... is hexadecimal and 0s... "
            "Base64, as in swanctl.conf. A relative path is looked up in $CREDENTIALS_DIRECTORY (systemd's "
            "LoadCredential), then in secrets/ beside the main file. Not readable by others.",
            example='psk_file = "branch.psk"',
            manual="Pre Shared Key",
            strongswan="secrets.ike.secret",
        ),
    ] = None
    psk: Annotated[
        SecretStr | None,
        About(
            text="The pre-shared key itself; only with agent.allow_inline_secrets.",
            example='psk = "..."',
            manual="Pre Shared Key",
            strongswan="secrets.ike.secret",
        ),
    ] = None
    certificate_file: Annotated[
        PathText | None,
        About(
            text="This pair's certificate, with its intermediates behind it: PEM, or DER. A relative path is "
            "looked up in certs/ beside the main file.",
            example='certificate_file = "moon.pem"',
            manual="Certificate",
            strongswan="local.certs",
        ),
    ] = None
    key_file: Annotated[
        PathText | None,
        About(
            text="The certificate's private key, RSA, ECDSA or Ed25519, as PKCS#1, PKCS#8 or SEC1, PEM or DER. "
            "Looked up as psk_file is; not readable by others.",
            example='key_file = "moon.key"',
            manual="Certificate",
            strongswan="private",
        ),
    ] = None
    key_passphrase_file: Annotated[
        PathText | None,
        About(
            text="The file with the passphrase of an encrypted key; looked up as psk_file is.",
            example='key_passphrase_file = "moon.pass"',
            manual="Certificate",
            strongswan="secrets.private.secret",
        ),
    ] = None
    ca_files: Annotated[
        Paths,
        About(
            text="The CAs that the peer's certificate must come from, pinned to this connection: charon keeps every "
            "CA that it was given, so without a pin a peer with a certificate of an old CA would be let in. Required "
            "with certificates. Looked up as certificate_file is.",
            example='ca_files = ["ca.pem"]',
            manual="CA",
            strongswan="remote.cacerts",
        ),
    ] = ()
    local_id: Annotated[
        Identity | None,
        About(
            text="Who this pair is, in strongSwan's notation: an address, a name, an e-mail address, a distinguished "
            "name, or with a prefix fqdn:, email:, asn1dn:, keyid:.",
            example='local_id = "moon.example"',
            default="the source address in force (My IP Address); with a certificate, its subject",
            manual="Local Identifier",
            strongswan="local.id",
        ),
    ] = None
    remote_id: Annotated[
        Identity | None,
        About(
            text='Who the peer is; "any" accepts whoever has the secret, and makes a failover at the peer slow.',
            example='remote_id = "peer.example"',
            default="the endpoint's address (Peer IP Address)",
            manual="Remote Identifier",
            strongswan="remote.id",
        ),
    ] = None
