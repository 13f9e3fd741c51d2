"""Connections with certificates: what is read, and one clear rule for each thing that does not fit."""

# ruff: noqa: E501 - a table of cases reads best with one case a line

from collections.abc import Callable
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives import serialization

from swanherd.settings.lint import check
from tests.lab.pki import DAY, Holder, example, issue

from .conftest import Folder

Edit = Callable[[str, str], None]
BRANCH = "connections.branch"
LINES = """\
auth = "certificate"
certificate_file = "moon.pem"
key_file = "moon.key"
key_passphrase_file = "moon.pass"
ca_files = ["ca.pem"]
"""


@pytest.fixture
def certified(folder: Folder, changed: Edit) -> Folder:
    """Settings that use the example's certificate."""
    changed('psk_file = "branch.psk"\n', LINES)
    return folder


def test_what_is_read(certified: Folder) -> None:
    """The chain, the CAs and the key's id; the key itself is a secret, and no text shows it."""
    root, moon, _ = example()
    settings = certified.load()
    certificates = settings.intent.connections["branch"].certificates
    assert certificates is not None
    assert certificates.chain == (moon.der,)
    assert certificates.cas == (root.der,)
    assert settings.secrets["branch"].value == moon.key_der
    assert settings.secrets["branch"].version == certificates.key_id
    assert certificates.not_after == moon.certificate.not_valid_after_utc.timestamp()
    assert moon.key_der.hex() not in f"{settings!r}{settings.secrets!r}".encode().hex()


@pytest.mark.parametrize(
    "style", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL], ids=["PKCS#8", "SEC1"]
)
def test_der_is_read_as_pem_is(certified: Folder, changed: Edit, style: serialization.PrivateFormat) -> None:
    """Certificate, CA and key in DER give charon the same as in PEM; PKCS#8 may be encrypted, SEC1 has no way to be.

    Broken by: ``chain`` or ``private_key`` that load PEM whatever the file is.
    """
    root, moon, _ = example()
    before = certified.load()
    plain = style is serialization.PrivateFormat.TraditionalOpenSSL
    encryption = serialization.NoEncryption() if plain else serialization.BestAvailableEncryption(b"open sesame")
    if plain:
        changed('key_passphrase_file = "moon.pass"\n', "")
    key = moon.key.private_bytes(serialization.Encoding.DER, style, encryption)
    for name, content in (("certs/moon.pem", moon.der), ("certs/ca.pem", root.der), ("secrets/moon.key", key)):
        (certified.path / name).write_bytes(content)
    after = certified.load()
    assert after.secrets["branch"].value == before.secrets["branch"].value
    assert after.intent.connections["branch"].certificates == before.intent.connections["branch"].certificates


def test_another_certificate_is_another_fingerprint(certified: Folder) -> None:
    """Charon is given the new certificate although every line of the settings is the same."""
    before = certified.load().intent.connections["branch"]
    root, moon, _ = example()
    certified.write(issue("moon", root, key=moon.key, names=["moon.example"]).pem, name="certs/moon.pem")
    after = certified.load().intent.connections["branch"]
    source = next(iter(certified.load().intent.vips))
    assert before.fingerprint(source) != after.fingerprint(source)
    assert before.agreed == after.agreed


def write_moon(folder: Folder, moon: Holder) -> None:
    """Another certificate with its key."""
    folder.write(moon.pem, name="certs/moon.pem")
    folder.secret("moon.key", moon.key_pem(passphrase=b"open sesame"))


BROKEN: dict[str, tuple[Callable[[Folder], object], str, str]] = {
    "no such file": (lambda f: (f.path / "certs/moon.pem").unlink(), "certificate_file", "cannot be read"),
    "no certificate": (lambda f: f.write("nothing", name="certs/moon.pem"), "certificate_file", "no certificate in PEM"),
    "no ca": (lambda f: f.write(example()[1].pem, name="certs/ca.pem"), "ca_files[0]", "is no CA"),
    "key of another": (
        lambda f: f.secret("moon.key", example()[2].key_pem(passphrase=b"open sesame")), "key_file", "is not the key of"),
    "key readable": (lambda f: (f.path / "secrets/moon.key").chmod(0o644), "key_file", "has mode 0644"),
    "no key": (lambda f: f.secret("moon.key", "nothing"), "key_file", "cannot be decrypted"),
    "wrong passphrase": (lambda f: f.secret("moon.pass", "another"), "key_file", "the passphrase is wrong"),
    "passphrase readable": (lambda f: (f.path / "secrets/moon.pass").chmod(0o644), "key_passphrase_file", "has mode 0644"),
    "not encrypted": (lambda f: f.secret("moon.key", example()[1].key_pem()), "key_file", "is not encrypted"),
    "not its name": (lambda f: write_moon(f, issue("moon", names=["luna.example"])), "local_id", "names: luna.example"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN.values(), ids=BROKEN)
def test_broken(certified: Folder, case: tuple[Callable[[Folder], object], str, str]) -> None:
    """One thing that does not fit is one rule, at the field of its file."""
    case[0](certified)
    found = certified.problems()
    assert set(found) == {f"{BRANCH}.{case[1]}"}
    assert case[2] in found[f"{BRANCH}.{case[1]}"]


@pytest.mark.parametrize(("kind", "fits"), [("ed25519", False), ("ecdsa", True), ("rsa", True)])
def test_keys_of_ikev1(certified: Folder, changed: Edit, kind: str, fits: bool) -> None:  # noqa: FBT001 - a table
    """IKEv1 has no way to use an Ed25519 key, with which charon fails in the midst of the handshake.

    Broken by: ``_key`` without ``usable_in_ikev1``.
    """
    write_moon(certified, issue("moon", kind=kind, names=["moon.example"]))
    certified.load()
    changed("auth =", "ike_version = 1\nauth =")
    if fits:
        certified.load()
    else:
        assert "Ed25519; IKEv1 has RSA, and ECDSA" in certified.problems()[f"{BRANCH}.key_file"]


@pytest.mark.parametrize("field", ["certificate_file", "key_file", "ca_files"])
def test_required(certified: Folder, changed: Edit, field: str) -> None:
    """Without certificate, key or CA there is nothing to authenticate by: an error, not a warning."""
    line = next(line for line in LINES.splitlines() if line.startswith(field))
    changed(f"{line}\n", "")
    assert set(certified.problems()) == {f"{BRANCH}.{field}"}


def test_passphrase_needed(certified: Folder, changed: Edit) -> None:
    """An encrypted key without its passphrase says what is missing."""
    changed('key_passphrase_file = "moon.pass"\n', "")
    assert "key_passphrase_file is required" in certified.problems()[f"{BRANCH}.key_file"]


def test_both_methods(folder: Folder, changed: Edit) -> None:
    """A secret beside a certificate, or a certificate beside a secret, means nothing, and is said so."""
    changed("psk_file", f"{LINES}psk_file")
    assert set(folder.problems()) == {f"{BRANCH}.psk_file"}
    changed('auth = "certificate"\n', "")
    assert set(folder.problems()) == {
        f"{BRANCH}.{field}" for field in ("certificate_file", "key_file", "key_passphrase_file", "ca_files")
    }


@pytest.mark.parametrize(
    ("valid", "word"),
    [((-9 * DAY, -DAY), "expired"), ((DAY, 9 * DAY), "not valid before"), ((-DAY, timedelta(hours=30)), "expires")],
)
def test_validity(certified: Folder, valid: tuple[timedelta, timedelta], word: str) -> None:
    """A certificate out of its time, or soon, loads with a warning: the clock may be the one that is wrong."""
    write_moon(certified, issue("moon", valid=valid, names=["moon.example"]))
    warnings = {problem.key: problem.rule for problem in check(certified.load())}
    assert word in warnings[f"{BRANCH}.certificate_file"]
