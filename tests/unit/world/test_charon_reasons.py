"""What charon's log tells of whom; the texts themselves are proven against real charons in the component ring."""

import pytest

from swanherd.core.words import Reason
from swanherd.world.charon.codec import encode
from swanherd.world.charon.logline import Line
from swanherd.world.charon.reasons import BLAME_S, OWN_END_S, STRANGERS, UNNAMED, Path, Told, worth_reading

UNREACHABLE = Line("NET", "", "error writing to socket: Network is unreachable")


def _sending(name: str) -> Line:
    return Line("NET", name, "sending packet: from 10.9.0.1[500] to 10.9.0.2[500] (892 bytes)")


def _reasons(told: Told) -> dict[str, Reason]:
    return {name: failure.reason for name, failure in told.failures.items()}


def test_socket_error_is_blamed_on_who_sent_just_now() -> None:
    """A refused packet is blamed on those who sent within ``BLAME_S``, not on those who sent long ago."""
    told = Told()
    told.hear(_sending("old"), 0.0)
    told.hear(_sending("new"), BLAME_S + 1)
    assert told.hear(UNREACHABLE, BLAME_S + 1.01) == {"new"}
    assert _reasons(told) == {"new": Reason.LOCAL_ERROR}


def test_what_we_end_is_to_blame_for_nothing() -> None:
    """Its last message is stopped by the fence. What is begun behind it is to blame again.

    Broken by: ``Told`` noting who sends while it is being ended; ``beginning`` doing nothing.
    """
    told = Told()
    told.ending("ours", 0.0, all_of_it=True)
    told.hear(_sending("ours"), 60.0)
    assert told.hear(UNREACHABLE, 60.01) == frozenset()
    told.beginning("ours")
    told.hear(_sending("ours"), 61.0)
    assert told.hear(UNREACHABLE, 61.01) == {"ours"}


def test_what_goes_on_is_to_blame_soon() -> None:
    """Where only some SAs of a name were ended, what the others send counts again. Broken by: taking some for all."""
    told = Told()
    told.ending("ours", 0.0, all_of_it=False)
    told.hear(_sending("ours"), 0.01)
    assert told.hear(UNREACHABLE, 0.02) == frozenset()
    told.hear(_sending("ours"), OWN_END_S)
    assert told.hear(UNREACHABLE, OWN_END_S) == {"ours"}


def test_who_hears_an_answer_is_absolved() -> None:
    """A connection that receives a packet got its own out: the refused one was somebody else's."""
    told = Told()
    told.hear(_sending("well"), 0.0)
    told.hear(_sending("ill"), 0.0)
    assert told.hear(UNREACHABLE, 0.001) == {"well", "ill"}
    received = Line("NET", "well", "received packet: from 10.9.0.2[500] to 10.9.0.1[500] (248 bytes)")
    assert told.hear(received, 0.002) == {"well"}
    assert _reasons(told) == {"ill": Reason.LOCAL_ERROR}


def test_silence_after_a_local_error_stays_a_local_error() -> None:
    """Giving up does not hide that nothing was ever sent, but it is news: the attempt is over."""
    told = Told()
    told.hear(_sending("a"), 0.0)
    told.hear(UNREACHABLE, 0.001)
    assert told.hear(Line("IKE", "a", "giving up after 5 retransmits"), 165.0) == {"a"}
    assert told.failures["a"].reason is Reason.LOCAL_ERROR
    assert told.failures["a"].at == 165.0


def test_up_ends_a_failure() -> None:
    """A child that comes up ends what was told before."""
    told = Told()
    told.hear(Line("IKE", "a", "received AUTHENTICATION_FAILED notify error"), 0.0)
    assert _reasons(told) == {"a": Reason.AUTH_FAILED}
    told.up("a")
    assert told.failures == {}


def test_stranger_is_told_to_whom_it_may_mean() -> None:
    """A peer refused before it has a name is told to the connection with its address, else to those for anybody."""
    told = Told()
    told.paths = {
        "peer": Path("10.9.0.1", ("10.9.0.2",)),
        "anybody": Path("10.9.0.1", ("0.0.0.0",)),
        "named": Path("10.9.0.1", ("peer.example",)),
        "elsewhere": Path("10.9.0.7", ("10.9.0.2",)),
    }
    refused = "received proposals unacceptable"
    for unique_id, remote, meant in (("1", "10.9.0.2", {"peer"}), ("2", "10.9.0.3", {"anybody", "named"})):
        received = f"received packet: from {remote}[500] to 10.9.0.1[500] (304 bytes)"
        assert told.hear(Line("NET", UNNAMED, received, unique_id), 0.0) == frozenset()
        assert told.hear(Line("IKE", UNNAMED, refused, unique_id), 0.0) == meant
    assert told.hear(Line("IKE", UNNAMED, refused, "99"), 0.0) == frozenset()


def test_strangers_are_bounded() -> None:
    """A flood of unknown peers fills no memory."""
    told = Told()
    received = "received packet: from 1.2.3.4[500] to 5.6.7.8[500] (9 bytes)"
    for number in range(STRANGERS * 3):
        told.hear(Line("NET", UNNAMED, received, str(number)), 0.0)
    assert len(told._strangers) == STRANGERS


def test_loaded_line_is_news() -> None:
    """Whoever loads a connection, its name is told, so that somebody looks at it."""
    told = Told()
    for what in ("added", "updated", "replaced"):
        assert told.hear(Line("CFG", "", f"{what} vici connection: office 1"), 0.0) == {"office 1"}
    assert told.hear(Line("CFG", "", "vici terminate IKE_SA 'office'"), 0.0) == frozenset()


def _event(group: str, text: str) -> bytes:
    """A ``log`` event as charon sends it."""
    fields = {"group": group, "level": "1", "thread": "7", "ikesa-name": "a", "ikesa-uniqueid": "3", "msg": text}
    return encode(fields)


@pytest.mark.parametrize(
    ("group", "text"),
    [
        ("IKE", "received AUTHENTICATION_FAILED notify error"),
        ("IKE", "tried 2 shared keys for 'a' - 'b', but MAC mismatched"),
        ("CFG", "constraint checking failed"),
        ("IKE", "no trusted ECDSA public key found for 'sun.example'"),
        ("IKE", "IDir 'else.example' does not match to 'sun.example'"),
        ("IKE", "received INVALID_ID_INFORMATION error notify"),
        ("IKE", "signature validation failed, looking for another key"),
        ("IKE", "giving up after 5 retransmits"),
        ("IKE", "received DELETE for IKE_SA a[3]"),
        ("NET", "error writing to socket: Network is unreachable"),
        ("NET", "sending packet: from 10.9.0.1[500] to 10.9.0.2[500] (892 bytes)"),
        ("NET", "received packet: from 10.9.0.2[500] to 10.9.0.1[500] (248 bytes)"),
        ("IKE", "initiating IKE_SA a[3] to 10.9.0.2"),
        ("IKE", "10.9.0.2 is initiating an IKE_SA"),
        ("CFG", "updated vici connection: a"),
        ("IKE", "sending DPD request"),
        ("IKE", "retransmit 1 of request with message ID 4"),
    ],
)
def test_a_telling_line_is_read(group: str, text: str) -> None:
    """What tells something is never passed over undecoded.

    Broken by: leaving any of the patterns out of ``_HEARD``.
    """
    assert worth_reading(_event(group, text))


@pytest.mark.parametrize(
    ("group", "text"),
    [
        ("ENC", "generating IKE_SA_INIT request 0 [ SA KE No N(NATD_S_IP) N(NATD_D_IP) ]"),
        ("IKE", "authentication of 'peer.example' with pre-shared key successful"),
        ("CFG", "selected proposal: ESP:AES_GCM_16_128/NO_EXT_SEQ"),
        ("IKE", "CHILD_SA lan{3} established with SPIs 2c69100c_i 1ff91743_o and TS 10.1.0.0/24 === 10.2.0.0/24"),
    ],
)
def test_an_idle_line_is_not(group: str, text: str) -> None:
    """The other lines of a handshake that goes well are not decoded: with a thousand of them that is seconds."""
    assert not worth_reading(_event(group, text))


def test_who_owes_an_answer() -> None:
    """A question is open from when it was first asked until any packet of the SA comes; of each SA by itself."""
    told = Told()
    told.hear(Line("IKE", "a", "sending DPD request", "7"), 1.0)
    told.hear(Line("IKE", "a", "retransmit 1 of request with message ID 4", "7"), 5.0)
    told.hear(Line("IKE", "a", "retransmit 2 of request with message ID 0", "8"), 6.0)
    assert told.asked == {"a": {7: 1.0, 8: 6.0}}
    told.hear(Line("NET", "a", "received packet: from 10.9.0.2[4500] to 10.9.0.1[4500] (80 bytes)", "7"), 7.0)
    assert told.asked == {"a": {8: 6.0}}
    told.hear(Line("NET", "a", "received packet: from 10.9.0.2[4500] to 10.9.0.1[4500] (80 bytes)", "8"), 8.0)
    assert told.asked == {}


@pytest.mark.parametrize("side", ["local host is behind NAT, sending keep alives", "remote host is behind NAT"])
def test_a_nat_is_told_of_the_handshake_that_found_it(side: str) -> None:
    """A failure says whether a NAT was found on its way; the next handshake finds out anew.

    Broken by: ``hear`` not taking the line in; the next beginning not forgetting it.
    """
    told = Told()
    told.hear(Line("IKE", "a", side), 0.0)
    told.hear(Line("IKE", "a", "IDr payload missing"), 0.1)
    assert told.failures["a"].nat
    told.hear(Line("IKE", "a", "initiating IKE_SA a[2] to 192.0.2.20"), 1.0)
    told.hear(Line("IKE", "a", "IDr payload missing"), 1.1)
    assert not told.failures["a"].nat
