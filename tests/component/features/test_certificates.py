"""Certificates: every kind of key and chain comes up at a real peer, and who is not meant is refused there or here."""

import asyncio

import pytest
from cryptography.hazmat.primitives.serialization import PrivateFormat

from swanherd.core.facts import Failure
from swanherd.core.words import Reason
from tests.component.features.stage import NAME, Conf, Stage
from tests.lab.pki import Holder, issue
from tests.lab.waiting import wait_until

AUTH = (
    'auth = "certificate"\ncertificate_file = "moon.pem"\nkey_file = "moon.key"\nca_files = ["ca.pem"]\n'
    'remote_id = "sun.example"'
)
SUBJECT = b"C=CH, O=Lab, CN=moon"


def peer(stage: Stage, sun: Holder, *cas: Holder, remote_id: str = "C=CH, O=Lab, CN=moon") -> Conf:
    """The peer's end: its own certificate, and the pinned CAs of ours."""
    return stage.peer(
        local={"auth": "pubkey", "certs": [sun.der], "id": "sun.example"},
        remote={"auth": "pubkey", "cacerts": [ca.der for ca in cas], "id": remote_id},
    )


def give(stage: Stage, moon: Holder, *chain: Holder, ca: Holder) -> None:
    """Put the files where the settings look for them."""
    stage.certificate("moon.pem", "".join(each.pem for each in (moon, *chain)))
    stage.secret("moon.key", moon.key_pem())
    stage.certificate("ca.pem", ca.pem)


@pytest.mark.parametrize(("kind", "version"), [("rsa", 2), ("ecdsa", 2), ("ed25519", 2), ("rsa", 1), ("ecdsa", 1)])
async def test_kinds_of_keys_behind_an_intermediate(stage: Stage, kind: str, version: int) -> None:
    """Each kind of key comes up with a chain of which the peer knows the root only; our identity is the subject.

    Broken by: sending only the first certificate of ``chain`` (the peer finds no issuer).
    """
    root = issue("root", is_ca=True)
    middle = issue("middle", root, is_ca=True)
    moon, sun = issue("moon", middle, kind=kind), issue("sun", root, kind=kind, names=["sun.example"])
    give(stage, moon, middle, ca=root)
    settings = stage.settings(f"ike_version = {version}", auth=AUTH)
    async with stage.theirs({**peer(stage, sun, root), "version": str(version)}, shared=None) as session:
        session.load_key({"type": "any", "data": sun.key_der})
        async with stage.ours(settings) as (agent, connection):
            assert agent.charon.key_ids() == {settings.secrets[NAME].version}
            shown = await stage.bring_up(agent, connection, session)
            assert shown["remote-id"] == SUBJECT
            await agent.charon.unload_key(NAME, settings.secrets[NAME].version)
            assert agent.charon.key_ids() == frozenset()
    assert not stage.left.vici().get_keys()["keys"]


@pytest.mark.parametrize(
    ("kind", "style", "passphrase"),
    [
        ("rsa", PrivateFormat.TraditionalOpenSSL, None),
        ("rsa", PrivateFormat.TraditionalOpenSSL, "open sesame"),
        ("rsa", PrivateFormat.PKCS8, "open sesame"),
        ("ecdsa", PrivateFormat.TraditionalOpenSSL, None),
        ("ecdsa", PrivateFormat.PKCS8, "open sesame"),
        ("ed25519", PrivateFormat.PKCS8, "open sesame"),
    ],
)
async def test_ways_to_write_a_key(stage: Stage, kind: str, style: PrivateFormat, passphrase: str | None) -> None:
    """PKCS#1, SEC1 and PKCS#8, encrypted or not: the peer authenticates the key in each."""
    root = issue("root", is_ca=True)
    moon, sun = issue("moon", root, kind=kind), issue("sun", root, names=["sun.example"])
    give(stage, moon, ca=root)
    stage.secret("moon.key", moon.key_pem(style, passphrase=passphrase.encode() if passphrase else None))
    lines = []
    if passphrase:
        stage.secret("moon.pass", passphrase)
        lines = ['key_passphrase_file = "moon.pass"']
    settings = stage.settings(*lines, auth=AUTH)
    async with stage.theirs(peer(stage, sun, root), shared=None) as session:
        session.load_key({"type": "any", "data": sun.key_der})
        async with stage.ours(settings) as (agent, connection):
            assert (await stage.bring_up(agent, connection, session))["remote-id"] == SUBJECT


@pytest.mark.parametrize("identity", ["moon.example", "moon@lab.example", "10.9.0.1"])
async def test_identity_from_the_alternatives(stage: Stage, identity: str) -> None:
    """An identity that the certificate confirms is the one that the peer sees."""
    root = issue("root", is_ca=True)
    moon, sun = issue("moon", root, names=[identity]), issue("sun", root, names=["sun.example"])
    give(stage, moon, ca=root)
    settings = stage.settings(f'local_id = "{identity}"', auth=AUTH)
    async with stage.theirs(peer(stage, sun, root, remote_id=identity), shared=None) as session:
        session.load_key({"type": "any", "data": sun.key_der})
        async with stage.ours(settings) as (agent, connection):
            assert (await stage.bring_up(agent, connection, session))["remote-id"] == identity.encode()


@pytest.mark.parametrize(("version", "let_in_before"), [(1, False), (2, False), (2, True)])
async def test_a_peer_of_a_ca_that_nobody_knows(stage: Stage, version: int, *, let_in_before: bool) -> None:
    """A peer whose certificate comes from another CA is refused by us, with the reason; charon never had that CA.

    One that it had is ``test_rotation``. Where charon has let somebody of this name in before it tries those keys, too,
    and its last word is another. Broken by: leaving ``no trusted``, or ``signature validation failed``, out of
    ``_TELLING``.
    """
    name = f"sun-{version}-{let_in_before}.example"
    root, other = issue("root", is_ca=True), issue("other root", is_ca=True)
    moon, good, bad = issue("moon", root), issue(name, root, names=[name]), issue(name, other, names=[name])
    give(stage, moon, ca=root)
    settings = stage.settings(f"ike_version = {version}", auth=AUTH.replace("sun.example", name))

    def as_peer(sun: Holder) -> Conf:
        conf = peer(stage, sun, root)
        return {**conf, "version": str(version), "local": {**conf["local"], "id": name}}

    async with stage.theirs(as_peer(bad), shared=None) as session:
        for key in (good, bad):
            session.load_key({"type": "any", "data": key.key_der})
        async with stage.ours(settings) as (agent, connection):
            if let_in_before:
                session.load_conn({NAME: as_peer(good)})
                await stage.bring_up(agent, connection, session)
                session.load_conn({NAME: as_peer(bad)})
                await agent.charon.terminate(NAME)
                await agent.until(lambda: not agent.here().sas, "gone")
            await agent.charon.initiate(connection, connection.children[0])
            await agent.until(lambda: agent.here().failure, "refused")
            assert (agent.here().failure or Failure(Reason.UP, "", 0)).reason is Reason.AUTH_FAILED
            await asyncio.to_thread(wait_until, lambda: not list(session.list_sas()), "the peer has none", every_s=0.05)


async def test_rotation(stage: Stage) -> None:
    """Key, certificate and CA change under a live SA, which stays; a peer of the old CA is refused from then on.

    Charon still has the old CA then: the pin alone keeps it out. Broken by: leaving ``cacerts`` out of ``_remote``.
    """
    old, new = issue("old root", is_ca=True), issue("new root", is_ca=True)
    moon, sun = issue("moon", old), issue("sun", old, names=["sun.example"])
    give(stage, moon, ca=old)
    before = stage.settings(auth=AUTH)
    async with stage.theirs(peer(stage, sun, old, new), shared=None) as session:
        session.load_key({"type": "any", "data": sun.key_der})
        async with stage.ours(before) as (agent, connection):
            first = await stage.bring_up(agent, connection, session)

            give(stage, issue("moon", new), ca=new)
            after = stage.settings(auth=AUTH)
            renewed = after.intent.connections[NAME]
            assert renewed.agreed == connection.agreed
            await stage.load(agent, after)
            assert agent.charon.key_ids() == {before.secrets[NAME].version, after.secrets[NAME].version}
            await agent.charon.unload_key(NAME, before.secrets[NAME].version)
            assert [sa["uniqueid"] for item in session.list_sas() for sa in item.values()] == [first["uniqueid"]]

            await agent.charon.terminate(NAME)
            await agent.until(lambda: not agent.here().sas, "gone")
            await agent.charon.initiate(renewed, renewed.children[0])
            await agent.until(lambda: agent.here().failure, "refused")
            assert (agent.here().failure or Failure(Reason.UP, "", 0)).reason is Reason.AUTH_FAILED
            # The peer, which had proven itself, has it until our refusal comes.
            await asyncio.to_thread(wait_until, lambda: not list(session.list_sas()), "the peer has none", every_s=0.05)

            sun = issue("sun", new, names=["sun.example"])
            session.load_key({"type": "any", "data": sun.key_der})
            session.load_conn({NAME: peer(stage, sun, new)})
            assert (await stage.bring_up(agent, renewed, session))["remote-id"] == SUBJECT
