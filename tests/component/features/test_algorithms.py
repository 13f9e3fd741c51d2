"""Algorithms: both ends agree on the intended ones; what this charon lacks is told before a handshake fails for it."""

import pytest

from swanherd.settings import proposals
from swanherd.world.charon import CharonRefused, algorithms
from tests.component.charon.agents import eventually, running
from tests.component.features.stage import NAME, Sa, Stage, child_of
from tests.component.settings.test_charon_agrees import some_proposals

IKE = {
    "aes256-sha256-modp2048": "AES_CBC 256 HMAC_SHA2_256_128 PRF_HMAC_SHA2_256 MODP_2048",
    "aes128-sha1-modp1024": "AES_CBC 128 HMAC_SHA1_96 PRF_HMAC_SHA1 MODP_1024",
    "3des-sha256-ecp256": "3DES_CBC - HMAC_SHA2_256_128 PRF_HMAC_SHA2_256 ECP_256",
    "aes192ctr-sha384-prfsha512-ecp384": "AES_CTR 192 HMAC_SHA2_384_192 PRF_HMAC_SHA2_512 ECP_384",
    "camellia256-sha512-x448": "CAMELLIA_CBC 256 HMAC_SHA2_512_256 PRF_HMAC_SHA2_512 CURVE_448",
    "aes256gcm16-prfsha384-ecp521": "AES_GCM_16 256 - PRF_HMAC_SHA2_384 ECP_521",
    "aes128ccm8-prfsha256-x25519": "AES_CCM_8 128 - PRF_HMAC_SHA2_256 CURVE_25519",
    "chacha20poly1305-prfsha256-ecp256bp": "CHACHA20_POLY1305 - - PRF_HMAC_SHA2_256 ECP_256_BP",
}
ESP = {
    "aes256gcm16-ecp384": ("AES_GCM_16", "256", "-"),
    "aes128-sha256-modp3072": ("AES_CBC", "128", "HMAC_SHA2_256_128"),
    "aes256-sha1": ("AES_CBC", "256", "HMAC_SHA1_96"),
}


def agreed(sa: Sa) -> str:
    """What the peer shows of an IKE_SA's algorithms."""
    keys = ("encr-alg", "encr-keysize", "integ-alg", "prf-alg", "dh-group")
    return " ".join(sa.get(key, b"-").decode() for key in keys)


@pytest.mark.parametrize(("proposal", "expected"), IKE.items(), ids=IKE)
async def test_ike(stage: Stage, proposal: str, expected: str) -> None:
    """The peer, which takes anything that we know, shows exactly the one that is set; nothing else was offered.

    Broken by: sending no ``proposals`` (charon's own default is agreed upon).
    """
    shown = await stage.tried(stage.settings(f'proposals = ["{proposal}"]'), stage.peer(proposals=[*IKE, "default"]))
    assert agreed(shown) == expected


async def test_the_first_that_both_have(stage: Stage) -> None:
    """Of several combinations the peer's one is agreed upon, classic beside AEAD."""
    ours = list(IKE)[::-1]
    shown = await stage.tried(stage.settings(f"proposals = {ours}"), stage.peer(proposals=[list(IKE)[1]]))
    assert agreed(shown) == list(IKE.values())[1]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("proposal", ESP, ids=ESP)
async def test_esp(stage: Stage, proposal: str, version: int) -> None:
    """The child has the intended algorithms, and after a rekey the key exchange that the proposal asks for (PFS)."""
    settings = stage.settings(f"ike_version = {version}", child=f'proposals = ["{proposal}"]')
    conf = stage.peer(version=str(version), child={"esp_proposals": [*ESP, "default"]})
    async with stage.theirs(conf) as session, stage.ours(settings) as (agent, connection):
        first = child_of(await stage.bring_up(agent, connection, session))
        shown = tuple(first.get(key, b"-").decode() for key in ("encr-alg", "encr-keysize", "integ-alg"))
        assert shown == ESP[proposal]
        ours = stage.left.vici()
        list(ours.rekey({"child": "net"}))

        def renewed() -> list[Sa]:
            sas = [sa for item in session.list_sas() for sa in item.values()]
            children = [child for sa in sas for child in sa["child-sas"].values()]
            return [child for child in children if child["uniqueid"] != first["uniqueid"]]

        await eventually(renewed, "the child is rekeyed", within_s=10)
        groups = {"ecp384": b"ECP_384", "modp3072": b"MODP_3072"}
        assert renewed()[-1].get("dh-group") == groups.get(proposal.rpartition("-")[2])


async def test_what_this_charon_lacks(stage: Stage) -> None:
    """A connection of which no proposal can be used is refused in words; with one that can be it is loaded.

    ``serpent256`` charon takes into its configuration, and cannot do. Broken by: ``Abilities.lacking`` without
    ``unusable``.
    """
    settings = stage.settings('proposals = ["serpent256-sha256-ecp256"]')
    connection = settings.intent.connections[NAME]
    async with running(stage.left.socket_path) as agent:
        await eventually(lambda: agent.charon._abilities.algorithms, "known")
        with pytest.raises(CharonRefused, match="this charon has no serpent256"):
            await agent.charon.load(connection, stage.left.ip)
        both = stage.settings('proposals = ["serpent256-sha256-ecp256", "aes256-sha256-ecp256"]')
        await stage.load(agent, both)
        await agent.charon.unload(NAME)


NOT_JUDGED = {
    "null", "aes256gmac", "sha1_160", "sha256_96", "sha2_256_96", "md5_128", "prfaesxcbc", "prfaescmac",
    "prfcamelliaxcbc",
}  # fmt: skip
"""Words that charon's list has no name for, or that are ESP's only: nothing is said of them."""


@pytest.mark.parametrize(
    ("lines", "child", "what"),
    [
        ('encryption = "ah"', 'proposals = ["sha256"]', "AH"),
        ('mode = "transport"', "", "transport mode"),
    ],
)
async def test_what_userland_lacks(stage: Stage, lines: str, child: str, what: str) -> None:
    """AH and transport mode are refused before they are loaded where charon encrypts in its own process.

    Broken by: ``beyond_userland`` answering nothing (charon takes both, and fails in the middle of the handshake).
    """
    settings = stage.settings(lines, child=child, hosts=what != "AH")
    async with running(stage.left.socket_path) as agent:
        await eventually(lambda: agent.charon._abilities.algorithms, "known")
        with pytest.raises(CharonRefused, match=f"cannot do {what}"):
            await agent.charon.load(settings.intent.connections[NAME], stage.left.ip)


async def test_no_word_is_missed(stage: Stage) -> None:
    """Every other word of every proposal that the settings accept is judged; an ESP cipher is the kernel's affair."""
    known = await algorithms.ask(stage.left.socket_path)
    assert known is not None
    everything = [one for one in some_proposals(4) if _accepted(one)]
    words = {word for one in everything for word in proposals.ike(one).split("-")}
    assert {word for word in words if algorithms.missing(word, frozenset()) == ()} <= NOT_JUDGED
    assert algorithms.missing("aes256-sha256-x25519", known) == ()
    assert algorithms.missing("serpent256-sha256-ecp256", known) == ("serpent256",)
    assert algorithms.missing("serpent256-sha256-ecp256", known, esp=True) == ()


def _accepted(proposal: str) -> bool:
    try:
        proposals.ike(proposal)
    except ValueError:
        return False
    return True
