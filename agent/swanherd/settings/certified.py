"""The credentials of a connection with ``auth = "certificate"``, and whether they fit together."""

from functools import partial
from pathlib import Path

from swanherd.core.intent import Certificates
from swanherd.settings import certificates, secrets
from swanherd.settings.credentials import Reading
from swanherd.settings.identities import identity_kind
from swanherd.settings.secrets import Secret

_REQUIRED = {
    "certificate_file": "the file with this pair's certificate",
    "key_file": "the file with the certificate's private key",
    "ca_files": "the CAs that the peer's certificate must come from; charon forgets none, so they are pinned",
}


def certified(reading: Reading) -> tuple[Secret, Certificates] | None:
    """The private key and the certificates; None where anything is wrong, which is among the problems then."""
    connection = reading.connection
    for unused in ("psk", "psk_file"):
        if getattr(connection, unused) is not None:
            reading.problem("means nothing where auth is 'certificate'", unused)
    for required, what in _REQUIRED.items():
        if not getattr(connection, required):
            reading.problem(f"is required where auth is 'certificate': {what}", required)
    cas = [
        reading.attempt(partial(certificates.authorities, reading.public(file)), "ca_files", position)
        for position, file in enumerate(connection.ca_files)
    ]
    if not connection.certificate_file or not connection.key_file:
        return None
    own = reading.attempt(partial(certificates.chain, reading.public(connection.certificate_file)), "certificate_file")
    if own:
        _check_identity(reading, own)
    secret = _key(reading, reading.private(connection.key_file), own)
    if secret is None or not own or not cas or None in cas:
        return None
    return secret, certificates.of_connection(own, tuple(ca for file in cas for ca in file or ()))


def _key(reading: Reading, file: Path, own: certificates.Chain | None) -> Secret | None:
    passphrase_file = reading.connection.key_passphrase_file
    passphrase = None
    if passphrase_file is not None:
        passphrase = reading.attempt(partial(secrets.read, reading.private(passphrase_file)), "key_passphrase_file")
        if passphrase is None:
            return None
    key = reading.attempt(partial(certificates.private_key, file, passphrase.value if passphrase else None), "key_file")
    if key and reading.connection.ike_version == 1:
        reading.attempt(partial(certificates.usable_in_ikev1, key, file), "key_file")
    return reading.attempt(partial(certificates.matched, own, key, file), "key_file") if own and key else None


def _check_identity(reading: Reading, own: certificates.Chain) -> None:
    kind, identity = identity_kind(reading.connection.local_id or "")
    if kind in {"fqdn", "email", "ip"} and not certificates.confirms(own[0], kind, identity):
        known = ", ".join(certificates.names(own[0]))
        reading.problem(f"is not confirmed by the certificate, which names: {known}", "local_id")
