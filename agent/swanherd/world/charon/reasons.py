"""Why a handshake failed, from charon's log: before strongSwan 6.0.3 no event tells.

The texts are alike in 5.9.8 and 6.0.1 (measured, tests/component/charon/test_reasons.py). A line carries the name of
the IKE_SA that it is about, except where the socket refused a packet: the sender's thread knows no SA. Such a line is
blamed on who handed packets over a moment before and has heard nothing since.
"""

import math
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from swanherd.core.facts import Failure
from swanherd.core.literal import literal
from swanherd.core.words import Reason
from swanherd.world.charon.logline import Line

BLAME_S: Final = 0.1
"""A packet is written to the socket within a few milliseconds of its "sending packet" line; the margin is for a busy
host. Too long only blames a connection that would have failed anyway."""
OWN_END_S: Final = 1.0
"""Between our command to end some SAs of a name and what is told of it, at most."""
STRANGERS: Final = 256
"""IKE_SAs without a name that are remembered, newest first; each lives for one packet or two."""
QUESTIONS: Final = 16
"""Unanswered questions that are remembered for a connection: those of SAs that have ended are never answered."""
UNNAMED: Final = "(unnamed)"
"""How charon names an IKE_SA of which it does not know yet whose it is."""

_TELLING: Final = tuple(
    (re.compile(pattern), reason)
    for pattern, reason in (
        # the peer says no, or we do not believe it
        (r"received AUTHENTICATION_FAILED (error )?notify", Reason.AUTH_FAILED),
        (r"tried \d+ shared keys? for .*but MAC mismatched", Reason.AUTH_FAILED),
        (r"no shared key found for ", Reason.AUTH_FAILED),
        (r"no private key found for ", Reason.AUTH_FAILED),
        (r"no matching peer config found", Reason.AUTH_FAILED),
        (r"constraint check(ing)? failed", Reason.AUTH_FAILED),
        (r"no trusted .*public key found for ", Reason.AUTH_FAILED),
        # It may find one: then it comes up, and no failure counts.
        (r"signature validation failed, looking for another key", Reason.AUTH_FAILED),
        # of IKEv1: in IKEv2 a peer is asked for its identity, and says no if it is another
        (r"IDir '.*' does not match to ", Reason.AUTH_FAILED),
        # it refused what was asked for, without having said who it is
        (r"IDr payload missing", Reason.AUTH_FAILED),
        (r"received (NO_PROPOSAL_CHOSEN|INVALID_KE_PAYLOAD) (error )?notify", Reason.NO_PROPOSAL),
        (r"received proposals unacceptable", Reason.NO_PROPOSAL),
        (r"no acceptable proposal found", Reason.NO_PROPOSAL),
        (r"received TS_UNACCEPTABLE notify", Reason.TS_UNACCEPTABLE),
        (r"received INVALID_ID_INFORMATION error notify", Reason.TS_UNACCEPTABLE),  # the same in IKEv1
        (r"traffic selectors .* unacceptable", Reason.TS_UNACCEPTABLE),
        (r"no acceptable traffic selectors found", Reason.TS_UNACCEPTABLE),
        (r"received DELETE for (IKE_SA|ESP CHILD_SA|AH CHILD_SA)", Reason.PEER_CLOSED),
        # nobody says anything
        (r"giving up after \d+ (retransmits|path probings)", Reason.NO_ANSWER),
        (r"establishing IKE_SA failed, peer not responding", Reason.NO_ANSWER),
        # charon cannot
        (r"unable to install .*IPsec (SA|policies)", Reason.LOCAL_ERROR),
        (r"unable to allocate SPIs from kernel", Reason.LOCAL_ERROR),
        (r"unable to resolve .*, initiate aborted", Reason.LOCAL_ERROR),
    )
)
_SOCKET_ERROR: Final = re.compile(r"error writing to socket: ")
_BEGIN: Final = re.compile(r"initiating .*IKE_SA |.* is initiating an? .*IKE_SA")
_NAT: Final = re.compile(r"(?:local|remote) host is behind NAT")
_RECEIVED: Final = re.compile(r"received packet: from (?P<remote>\S+)\[\d+\] to (?P<local>\S+)\[\d+\] ")
_LOADED: Final = re.compile(r"(?:added|updated|replaced) vici connection: (?P<name>.+)")
_QUESTION: Final = re.compile(r"sending DPD request|retransmit \d+ of request")
"""What the peer must answer. After an agent's restart the first retransmission tells of what was asked before."""
_PACKET: Final = re.compile(r"(?:sending|received) packet")
_LINE_BEGINS: Final = rb"\x03\x03msg.."
"""How the text of a ``log`` event begins on the wire: type KEY_VALUE, the key with its length, the value's length."""
_SENT: Final = re.compile(_LINE_BEGINS + b"sending packet", re.DOTALL)
_HEARD: Final = re.compile(
    _LINE_BEGINS
    + b"(?:"
    + b"|".join(
        pattern.pattern.encode()
        for pattern in (*(telling for telling, _ in _TELLING), _SOCKET_ERROR, _BEGIN, _NAT, _PACKET, _QUESTION, _LOADED)
    )
    + b")",
    re.DOTALL,
)


def is_sent(event: bytes) -> bool:
    """Whether a ``log`` event, as it came, tells of a packet that is handed to the socket: :meth:`Told.sends`."""
    return _SENT.search(event) is not None


def worth_reading(event: bytes) -> bool:
    """Whether a ``log`` event, as it came, may tell :class:`Told` anything; most lines of a handshake do not.

    To decode all of them is a third of what a handshake costs the agent.
    """
    return b"\x05group\x00\x03ENC" not in event and _HEARD.search(event) is not None


@dataclass(frozen=True, slots=True)
class Path:
    """Between which addresses a connection runs, as it was loaded."""

    source: str
    remotes: tuple[str, ...]
    """Literal addresses; anything else (a name, anywhere) fits whom nobody else expects."""


@dataclass(slots=True)
class Told:
    """What the log has told of each connection so far."""

    failures: dict[str, Failure] = field(default_factory=dict)
    paths: dict[str, Path] = field(default_factory=dict)
    """Of the connections that we loaded."""
    asked: dict[str, dict[int, float]] = field(default_factory=dict)
    """By connection, for IKE_SAs (by unique id) whose peer owes an answer: since when."""
    _ending: dict[str, float] = field(default_factory=dict)
    """When we ended some SAs of a name last; infinity: all of them, and have begun nothing since."""
    _sent: deque[tuple[float, Callable[[], Line]]] = field(default_factory=deque)
    """When what was handed to the socket in the last ``BLAME_S``; read where somebody is to be blamed."""
    _heard_from: dict[str, float] = field(default_factory=dict)
    """When a name had a packet last."""
    _behind_nat: set[str] = field(default_factory=set)
    """Names whose latest handshake has found a NAT on its way."""
    _strangers: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Remote and local address of IKE_SAs without a name, by unique id."""

    def hear(self, line: Line, now: float) -> frozenset[str]:
        """Take *line* in; the connections of which it tells something: a failure, its end, another configuration."""
        if line.name == UNNAMED:
            return self._hear_stranger(line, now)
        if line.name:
            return frozenset((line.name,)) if self._hear_of(line, now) else frozenset()
        if _SOCKET_ERROR.match(line.text):
            return self._blame(line.text, now)
        if loaded := _LOADED.match(line.text):
            return frozenset((loaded["name"],))
        return frozenset()

    def ending(self, name: str, now: float, *, all_of_it: bool) -> None:
        """SAs of *name* are being ended by us: some, or *all_of_it*, which may take a while among a thousand."""
        self._ending[name] = math.inf if all_of_it else now

    def beginning(self, name: str) -> None:
        """*name* is being loaded or called by us: what is told from now on is about that."""
        self._ending.pop(name, None)

    def ended_by_us(self, name: str, now: float) -> bool:
        """Whether what is told of *name* at *now* is, most probably, our own doing."""
        return now - self._ending.get(name, -OWN_END_S) < OWN_END_S

    def all_ended_by_us(self, name: str) -> bool:
        """Whether all of *name* was ended by us, and nothing begun since."""
        return self._ending.get(name) == math.inf

    def up(self, name: str) -> None:
        """A child of *name* came up: what failed before is over."""
        self.failures.pop(name, None)

    def deaf(self) -> None:
        """Some lines will not come: what another line would have ended is over."""
        self.asked.clear()
        self._sent.clear()
        self._behind_nat.clear()
        self._strangers.clear()

    def forget(self) -> None:
        """Another charon."""
        self.deaf()
        self.failures.clear()
        self.paths.clear()
        self._ending.clear()
        self._heard_from.clear()

    def sends(self, line: Callable[[], Line], now: float) -> None:
        """A packet is handed to the socket: *line* says so. It is read only where that matters: there are many."""
        self._forget_sent(now)
        self._sent.append((now, line))

    def _hear_of(self, line: Line, now: float) -> bool:
        name, text = line.name, line.text
        if line.group == "NET":
            return self._hear_packet(line, now)
        if line.group == "ENC":
            return False
        if (reason := _reason(text)) is not None:
            return self._fail(name, Failure(reason, text, now, nat=name in self._behind_nat))
        begins = bool(_BEGIN.match(text))
        if begins:
            self._behind_nat.discard(name)
        elif _NAT.match(text):
            self._behind_nat.add(name)
        elif _QUESTION.match(text):
            self._asks(line, now)
        return begins

    def _hear_packet(self, line: Line, now: float) -> bool:
        name = line.name
        if line.text.startswith("sending packet"):
            self.sends(lambda: line, now)
        elif line.text.startswith("received packet"):
            # Packets do get out: an error of a moment ago was somebody else's.
            self._heard_from[name] = now
            self._answered(line)
            return self._absolve(name)
        return False

    def _hear_stranger(self, line: Line, now: float) -> frozenset[str]:
        """A peer that calls and fails before charon knows which connection it means: all that it may mean are told."""
        if received := _RECEIVED.match(line.text):
            self._strangers.pop(line.unique_id, None)
            self._strangers[line.unique_id] = received["remote"], received["local"]
            if len(self._strangers) > STRANGERS:
                del self._strangers[next(iter(self._strangers))]
            return frozenset()
        reason = _reason(line.text)
        if reason is None or line.unique_id not in self._strangers:
            return frozenset()
        names = self._meant(*self._strangers[line.unique_id])
        for name in names:
            self._fail(name, Failure(reason, line.text, now))
        return names

    def _meant(self, remote: str, local: str) -> frozenset[str]:
        here = {name: path for name, path in self.paths.items() if path.source == local}
        exact = frozenset(name for name, path in here.items() if remote in path.remotes)
        return exact or frozenset(name for name, path in here.items() if not all(map(_literal, path.remotes)))

    def _fail(self, name: str, failure: Failure) -> bool:
        before = self.failures.get(name)
        if failure.reason is Reason.NO_ANSWER and before is not None and before.reason is Reason.LOCAL_ERROR:
            # Of course nobody answered what was never sent; the time is new, so that the attempt is seen to have ended.
            failure = Failure(before.reason, before.detail, failure.at, nat=failure.nat)
        self.failures[name] = failure
        return True

    def _asks(self, line: Line, now: float) -> None:
        if line.unique_id.isdigit():
            asked = self.asked.setdefault(line.name, {})
            asked.setdefault(int(line.unique_id), now)
            if len(asked) > QUESTIONS:
                del asked[next(iter(asked))]

    def _answered(self, line: Line) -> None:
        asked = self.asked.get(line.name)
        if asked is not None and line.unique_id.isdigit():
            asked.pop(int(line.unique_id), None)
            if not asked:
                del self.asked[line.name]

    def _absolve(self, name: str) -> bool:
        before = self.failures.get(name)
        if before is not None and before.reason is Reason.LOCAL_ERROR and _SOCKET_ERROR.match(before.detail):
            del self.failures[name]
            return True
        return False

    def _blame(self, text: str, now: float) -> frozenset[str]:
        names = frozenset(self._senders(now))
        for name in names:
            self.failures[name] = Failure(Reason.LOCAL_ERROR, text, now)
        return names

    def _senders(self, now: float) -> Iterator[str]:
        """Who handed packets over a moment ago, and has heard nothing since.

        Of what we end the fence stops the last message, and nobody is to blame: each line of a thousand would blame
        hundreds.
        """
        self._forget_sent(now)
        for at, read in self._sent:
            name = read().name
            unheard = self._heard_from.get(name, -math.inf) < at
            if name not in {"", UNNAMED} and unheard and not self.ended_by_us(name, at):
                yield name

    def _forget_sent(self, now: float) -> None:
        while self._sent and now - self._sent[0][0] > BLAME_S:
            self._sent.popleft()


def _reason(text: str) -> Reason | None:
    return next((reason for pattern, reason in _TELLING if pattern.match(text)), None)


def _literal(address: str) -> bool:
    known = literal(address)
    return known is not None and not known.is_unspecified
