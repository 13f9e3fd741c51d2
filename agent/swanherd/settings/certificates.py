"""Certificates and their keys, read from files: all that knows the ``cryptography`` package.

vici has no field for a passphrase, so keys are decrypted here. Every function raises ValueError with the rule that a
file breaks; no text ever has content of a key in it.
"""

import warnings
from pathlib import Path
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.utils import CryptographyDeprecationWarning

from swanherd.core.intent import Certificates
from swanherd.settings import secrets
from swanherd.settings.secrets import Secret

Chain: TypeAlias = tuple[x509.Certificate, ...]
"""Certificates in the order of their file; of one's own the end entity is the first."""
Key: TypeAlias = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey

FILE_MAX: Final = 60_000
"""Bytes. A chain of ten certificates has half of it, and vici carries 65535 in one value."""
RSA_MIN_BITS: Final = 2048
"""Below this charon's peers of today refuse the signature, and so should everybody."""
_IKEV1_CURVES: Final = frozenset({"secp256r1", "secp384r1", "secp521r1"})
_PEM: Final = b"-----BEGIN "


def chain(file: Path) -> Chain:
    """The certificates in *file*, in order: PEM, or one in DER."""
    try:
        with file.open("rb") as stream:
            content = stream.read(FILE_MAX + 1)
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} cannot be read: {getattr(error, 'strerror', None) or 'not a path'}") from None
    if len(content) > FILE_MAX:
        raise ValueError(f"{file} is longer than {FILE_MAX} bytes")
    try:
        if _PEM in content:
            return tuple(x509.load_pem_x509_certificates(content))
        return (x509.load_der_x509_certificate(content),)
    except (ValueError, TypeError):
        raise ValueError(f"{file} has no certificate in PEM or DER") from None


def authorities(file: Path) -> Chain:
    """The CAs in *file*; a certificate that is no CA is refused: nothing could come from it."""
    found = chain(file)
    for one in found:
        if not _is_ca(one):
            raise ValueError(f"{file}: {one.subject.rfc4514_string()} is no CA")
    return found


def private_key(file: Path, passphrase: bytes | None) -> Key:
    """The private key in *file*: PKCS#1, PKCS#8 or SEC1, in PEM or DER, encrypted or not."""
    content = secrets.read_private(file, limit=FILE_MAX)
    load = serialization.load_pem_private_key if _PEM in content else serialization.load_der_private_key
    try:
        with warnings.catch_warnings():
            # Old ciphers of encrypted keys: the file is the user's, and only read.
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            key = load(content, passphrase)
    except TypeError:
        rule = "is encrypted; key_passphrase_file is required" if passphrase is None else "is not encrypted"
        raise ValueError(f"{file} {rule}") from None
    except (ValueError, UnsupportedAlgorithm):
        if passphrase is not None:
            raise ValueError(f"{file} cannot be decrypted: the passphrase is wrong, or it has no key") from None
        raise ValueError(f"{file} has no private key that can be read (PKCS#1, PKCS#8 or SEC1)") from None
    if not isinstance(key, RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey):
        raise ValueError(f"{file} is neither an RSA, an ECDSA nor an Ed25519 key")  # noqa: TRY004 - a rule for people
    if isinstance(key, RSAPrivateKey) and key.key_size < RSA_MIN_BITS:
        raise ValueError(f"{file} is an RSA key of {key.key_size} bits; {RSA_MIN_BITS} is the least")
    return key


def usable_in_ikev1(key: Key, file: Path) -> None:
    """Refuse what charon fails with in the midst of an IKEv1 handshake: a key that RFC 4754 has no method for."""
    if isinstance(key, RSAPrivateKey):
        return
    curve = key.curve.name if isinstance(key, EllipticCurvePrivateKey) else "Ed25519"
    if curve not in _IKEV1_CURVES:
        raise ValueError(f"{file} is a key of {curve}; IKEv1 has RSA, and ECDSA with P-256, P-384 and P-521 only")


def matched(certificates: Chain, key: Key, file: Path) -> Secret:
    """*key* as charon loads it, if the first of *certificates* is its own."""
    if _spki(certificates[0].public_key()) != _spki(key.public_key()):
        raise ValueError(f"{file} is not the key of the certificate in certificate_file")
    data = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Secret(data, str(file), key_id(certificates[0]))


def key_id(certificate: x509.Certificate) -> str:
    """What charon calls the certificate's key."""
    return x509.SubjectKeyIdentifier.from_public_key(certificate.public_key()).digest.hex()


def of_connection(own: Chain, cas: Chain) -> Certificates:
    """Both, as the core carries them."""
    return Certificates(
        chain=tuple(map(_der, own)),
        cas=tuple(map(_der, cas)),
        key_id=key_id(own[0]),
        not_before=max(one.not_valid_before_utc.timestamp() for one in own),
        not_after=min(one.not_valid_after_utc.timestamp() for one in own),
    )


def confirms(certificate: x509.Certificate, kind: str, identity: str) -> bool:
    """Whether *certificate* names *identity*, which is of *kind* (``fqdn``, ``email`` or ``ip``)."""
    return identity.lower() in _alternatives(certificate)[kind]


def names(certificate: x509.Certificate) -> tuple[str, ...]:
    """Every name that *certificate* confirms, for people: its alternatives and its subject."""
    found = [name for kind in _alternatives(certificate).values() for name in sorted(kind)]
    return (*found, certificate.subject.rfc4514_string())


def _alternatives(certificate: x509.Certificate) -> dict[str, frozenset[str]]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return dict.fromkeys(("fqdn", "email", "ip"), frozenset())
    return {
        "fqdn": frozenset(map(str.lower, extension.get_values_for_type(x509.DNSName))),
        "email": frozenset(map(str.lower, extension.get_values_for_type(x509.RFC822Name))),
        "ip": frozenset(map(str, extension.get_values_for_type(x509.IPAddress))),
    }


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def _spki(key: object) -> bytes:
    encode = getattr(key, "public_bytes", None)
    if encode is None:
        return b""
    content: bytes = encode(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return content
