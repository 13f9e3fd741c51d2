"""Certificates of the tests: made where they are needed, valid while the test runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

PrivateKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Holder:
    """A certificate and its key."""

    key: PrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> str:
        """The certificate."""
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def der(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(Encoding.DER)

    def key_pem(self, style: PrivateFormat = PrivateFormat.PKCS8, *, passphrase: bytes | None = None) -> str:
        """The key; ``PrivateFormat.TraditionalOpenSSL`` is PKCS#1 or SEC1."""
        encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
        return self.key.private_bytes(Encoding.PEM, style, encryption).decode()

    @property
    def key_der(self) -> bytes:
        """The key, as PKCS#8."""
        return self.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def new_key(kind: str) -> PrivateKey:
    """A key: ``rsa``, ``ecdsa`` or ``ed25519``."""
    match kind:
        case "rsa":
            return rsa.generate_private_key(65537, 2048)
        case "ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case _:
            return ec.generate_private_key(ec.SECP256R1())


def issue(
    name: str,
    issuer: Holder | None = None,
    *,
    kind: str = "ecdsa",
    is_ca: bool = False,
    names: Sequence[str] = (),
    valid: tuple[timedelta, timedelta] = (-DAY, 30 * DAY),
    key: PrivateKey | None = None,
) -> Holder:
    """A certificate for ``C=CH, O=Lab, CN=name`` from *issuer* (None: from itself), with the alternative *names*.

    *valid*: from when to when, counted from now.
    """
    key = key or new_key(kind)
    parts = ((NameOID.COUNTRY_NAME, "CH"), (NameOID.ORGANIZATION_NAME, "Lab"), (NameOID.COMMON_NAME, name))
    subject = x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + valid[0])
        .not_valid_after(now + valid[1])
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_alternative(each) for each in names]), False)
    signer = issuer.key if issuer else key
    digest = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return Holder(key, builder.sign(signer, digest))


@cache
def example() -> tuple[Holder, Holder, Holder]:
    """What the examples need: a CA, the pair's certificate (``moon.example``) and a peer's (``sun.example``)."""
    root = issue("root", is_ca=True)
    return root, issue("moon", root, names=["moon.example"]), issue("sun", root, names=["sun.example"])


def write_example(folder: Path) -> None:
    """The files of the examples, beside their settings in *folder*: moon.pem, moon.key, moon.pass and ca.pem."""
    root, moon, _ = example()
    (folder / "certs").mkdir(exist_ok=True)
    (folder / "secrets").mkdir(exist_ok=True)
    (folder / "certs/ca.pem").write_text(root.pem)
    (folder / "certs/moon.pem").write_text(moon.pem)
    (folder / "secrets/moon.key").write_text(moon.key_pem(passphrase=b"open sesame"))
    (folder / "secrets/moon.pass").write_text("open sesame\n")
    for name in ("moon.key", "moon.pass"):
        (folder / "secrets" / name).chmod(0o600)


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.RFC822Name(name) if "@" in name else x509.DNSName(name)
