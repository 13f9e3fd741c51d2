"""Every kind of identity, at both ends and in both versions of IKE, as the peer itself shows it."""

import pytest

from tests.component.charon.agents import eventually
from tests.component.features.stage import SHARED, Stage

KINDS = {
    "address": "192.0.2.7",
    "name": "moon.example",
    "user": "moon@lab.example",
    "directory": "C=CH, O=Lab, CN=moon",
    "key id": "keyid:moon-7",
}
SHOWN = {"keyid:moon-7": b"moon-7"}
"""Where charon shows an identity otherwise than it was written."""
BOTH = pytest.mark.parametrize("version", [1, 2])


@BOTH
@pytest.mark.parametrize("identity", [None, *KINDS.values()], ids=["my address", *KINDS])
async def test_local(stage: Stage, version: int, identity: str | None) -> None:
    """Each of the six kinds of our identity is the one that the peer authenticates; it accepts no other.

    Broken by: ``load_shared`` naming another owner than the identity (no secret is found); ``_local`` without ``id``.
    """
    lines = [f"ike_version = {version}", *([f'local_id = "{identity}"'] if identity else [])]
    expected = identity or str(stage.left.ip)
    conf = stage.peer(version=str(version), remote={"id": expected})
    shown = await stage.tried(stage.settings(*lines), conf)
    assert shown["remote-id"] == SHOWN.get(expected, expected.encode())
    assert shown["version"] == str(version).encode()


@BOTH
@pytest.mark.parametrize("identity", ["any", None, *KINDS.values()], ids=["any", "peer's address", *KINDS])
async def test_remote(stage: Stage, version: int, identity: str | None) -> None:
    """Each of the seven kinds of the peer's identity is let in here; with "any" the peer is whoever it says.

    Broken by: ``remote_id`` answering the endpoint's address always (the peer of another name is refused).
    """
    lines = [f"ike_version = {version}", *([f'remote_id = "{identity}"'] if identity else [])]
    theirs = "whoever.example" if identity == "any" else identity or str(stage.right.ip)
    conf = stage.peer(version=str(version), local={"id": theirs})
    shown = await stage.tried(stage.settings(*lines), conf)
    assert shown["local-id"] == SHOWN.get(theirs, theirs.encode())


@BOTH
async def test_another_one_is_refused(stage: Stage, version: int) -> None:
    """A peer of another identity than the one that is set does not come up, although its secret is right.

    In IKEv2 it is asked for the identity, and says no; in IKEv1 it says who it is, and we do not take it. Broken by:
    ``remote_id`` that answers "any" (both come up); leaving ``IDir`` out of ``_TELLING`` (IKEv1 gives no reason).
    """
    conf = stage.peer(version=str(version), local={"id": "else.example"})
    shared = {**SHARED, "owners": [str(stage.left.ip), "else.example", "sun.example"]}
    async with (
        stage.theirs(conf, shared=shared) as session,
        stage.ours(stage.settings(f"ike_version = {version}", 'remote_id = "sun.example"')) as (agent, connection),
    ):
        await agent.charon.initiate(connection, connection.children[0])
        await agent.until(lambda: agent.here().failure, "a failure")
        assert str((agent.here().failure or 0).reason) == "auth-failed"  # type: ignore[union-attr]
        await eventually(lambda: not list(session.list_sas()), "the peer has none", within_s=10)
