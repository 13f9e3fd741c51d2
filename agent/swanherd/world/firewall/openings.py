"""Rules of ours in chains that the user names: known by their comment, put at the head, and nothing else touched.

A rule has its own sets, without a name, which come and go with it. The comment ends with a print of all that the rule
says, so a rule that is there and bears the right comment is the right rule.
"""

import errno
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from swanherd.core.facts import Opening, Pair
from swanherd.core.intent import ChainName
from swanherd.world.firewall import layout
from swanherd.world.firewall.codec import CREATE, DUMP, Message, Reply, Request, attribute, attributes, nest, text
from swanherd.world.firewall.errors import FirewallError, RefusedError
from swanherd.world.firewall.expressions import (
    NETWORK_HEADER,
    PROTOCOL,
    PROTOCOL_FAMILY,
    TRANSPORT_HEADER,
    Expression,
    accept,
    encoded,
    in_own_set,
    load,
    meta,
)
from swanherd.world.firewall.kernel import InterruptedReadError, Kernel
from swanherd.world.firewall.requests import OWN_SET, own_set, user_comment

ATTEMPTS: Final = 5
"""A change that met somebody else's is made anew from a new read; more often is a storm, and is tried again later."""
COMMENT_BYTES: Final = 127
"""As much as nft takes in a comment, so that a saved ruleset can be loaded."""
_OURS: Final = re.compile(r"swanherd: (IKE|ESP|AH) of .* \[[0-9a-f]{8}\]")
_WORD: Final = {layout.UDP: "IKE", layout.ESP: "ESP", layout.AH: "AH"}
_FAMILY: Final = {"inet": 1, "ip": 2, "ip6": 10}
_NAME_OF_FAMILY: Final = {number: name for name, number in _FAMILY.items()}
_INPUT: Final = 1
"""NF_INET_LOCAL_IN."""


@dataclass(frozen=True, slots=True)
class _Set:
    """A set of a rule's own."""

    key_type: int
    keys: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class _Rule:
    """A rule of ours as it should be; its expressions name its sets by their places."""

    sets: tuple[_Set, ...]
    expressions: tuple[Expression, ...]
    comment: str


@dataclass(frozen=True, slots=True)
class _Found:
    """A rule with our comment as it is."""

    where: tuple[int, str, str]
    """Family, table and chain."""
    handle: bytes
    comment: str


class OpeningRules:
    """Our rules in the chains of others, in the network namespace in which it was made. Every call is synchronous."""

    def __init__(self) -> None:
        self._kernel = Kernel()

    def close(self) -> None:
        """Close the socket; the next call opens a new one."""
        self._kernel.close()

    def apply(self, chain: ChainName, wanted: Sequence[Opening]) -> str:
        """Bring our rules of *chain* to *wanted* in one transaction; why not, if there is no such chain; else "".

        FirewallError where the kernel refuses. What is right already is not touched, so its place stays.
        """
        where = (_FAMILY[chain.family], chain.table, chain.chain)
        rules = {rule.comment: rule for rule in (_rule(chain, opening) for opening in wanted)}
        for _ in range(ATTEMPTS):
            if why := self._missing(chain):
                return why
            try:
                there = list(self._ours(where))
                batch = list(_change(where, there, rules))
                if batch:
                    self._kernel.commit(batch)
            except InterruptedReadError:
                continue
            except RefusedError as error:
                if error.code != errno.ENOENT:
                    raise
                continue
            return ""
        raise RefusedError(errno.ERESTART)

    def everywhere(self) -> frozenset[ChainName]:
        """Every chain of anybody's in which a rule of ours is; FirewallError if that cannot be read."""
        for _ in range(ATTEMPTS):
            try:
                found = list(self._ours(None))
            except InterruptedReadError:
                continue
            return frozenset(
                ChainName(name, table, chain)  # type: ignore[arg-type]  # one of the three, by the keys of the table
                for family, table, chain in {rule.where for rule in found}
                if (name := _NAME_OF_FAMILY.get(family)) is not None
            )
        raise FirewallError("the ruleset changes faster than it can be read; see who does it with 'nft monitor'")

    def _missing(self, chain: ChainName) -> str:
        body = attribute(1, chain.table) + attribute(3, chain.chain)
        try:
            (found,) = self._kernel.ask(Request(Message.GETCHAIN, body, family=_FAMILY[chain.family]))
        except RefusedError as error:
            if error.code != errno.ENOENT:
                raise
            return f"there is no chain {chain}"
        hook = dict(attributes(dict(found.attributes()).get(4, b"")))
        if hook and int.from_bytes(hook.get(1, b"")) != _INPUT:
            return f"the chain {chain} is not about what comes in (hook input)"
        return ""

    def _ours(self, where: tuple[int, str, str] | None) -> Iterator[_Found]:
        family, table, chain = where or (0, "", "")
        body = attribute(1, table) + attribute(2, chain) if where else b""
        for reply in self._kernel.ask(Request(Message.GETRULE, body, DUMP, family)):
            found = _found(reply)
            # Older kernels do not filter.
            if found is not None and where in {None, found.where}:
                yield found


def _found(reply: Reply) -> _Found | None:
    """The rule that *reply* is about if it has a comment of ours, and is not in our own tables."""
    values = dict(reply.attributes())
    comment = text(dict(_tlv(values.get(7, b""))).get(0, b""))
    table = text(values.get(1, b""))
    if not _OURS.fullmatch(comment) or (table == layout.TABLE and reply.family in layout.COMMENTS):
        return None
    return _Found((reply.family, table, text(values.get(2, b""))), values.get(3, b""), comment)


def _tlv(data: bytes) -> Iterator[tuple[int, bytes]]:
    """User data as libnftnl writes it: type and length, one byte each."""
    at = 0
    while at + 2 <= len(data):
        yield data[at], data[at + 2 : at + 2 + data[at + 1]]
        at += 2 + data[at + 1]


def _change(where: tuple[int, str, str], there: Iterable[_Found], wanted: Mapping[str, _Rule]) -> Iterator[Request]:
    family, table, chain = where
    place = attribute(1, table)
    kept: set[str] = set()
    for rule in there:
        if rule.comment in wanted and rule.comment not in kept:
            kept.add(rule.comment)
        else:
            yield Request(Message.DELRULE, place + attribute(2, chain) + attribute(3, rule.handle), family=family)
    number = 0
    for rule_wanted in wanted.values():
        if rule_wanted.comment in kept:
            continue
        for item in rule_wanted.sets:
            number += 1
            yield from _set(place, family, number, item)
        first = number - len(rule_wanted.sets) + 1
        expressions = encoded(_numbered(rule_wanted.expressions, first))
        body = place + attribute(2, chain) + nest(4, expressions) + attribute(7, user_comment(rule_wanted.comment))
        yield Request(Message.NEWRULE, body, CREATE, family)  # without APPEND: at the head


def _set(place: bytes, family: int, number: int, item: _Set) -> Iterator[Request]:
    yield own_set(number, item.key_type, len(item.keys[0]), place=place, family=family)
    part: list[bytes] = []
    for at, key in enumerate(item.keys, 1):
        part.append(nest(1, nest(1, attribute(1, key))))
        if len(part) == _KEYS_AT_ONCE or at == len(item.keys):
            elements = attribute(2, OWN_SET) + nest(3, *part) + attribute(4, number)
            yield Request(Message.NEWSETELEM, place + elements, CREATE, family)
            part = []


_KEYS_AT_ONCE: Final = 1000
"""Keys in one message: the length of an attribute has 16 bits."""


def _numbered(expressions: Iterable[Expression], first: int) -> Iterator[Expression]:
    """With the numbers that the sets have in the transaction."""
    number = first
    for expression in expressions:
        if expression.name == "lookup":
            (numbered,) = in_own_set(OWN_SET, number)
            yield numbered
            number += 1
        else:
            yield expression


def _rule(chain: ChainName, opening: Opening) -> _Rule:
    sets: list[_Set] = []
    expressions = tuple(_parts(chain, opening, sets))
    said = repr([(item.key_type, item.keys) for item in sets]) + repr(expressions)
    return _Rule(tuple(sets), expressions, _comment(opening, hashlib.sha256(said.encode()).hexdigest()[:8]))


def _parts(chain: ChainName, opening: Opening, sets: list[_Set]) -> Iterator[Expression]:
    """In the order in which nft writes it."""
    pair: Pair = next(iter(opening.pairs))
    family = layout.IPV6 if pair.source.version == 6 else layout.IPV4
    kind, size = layout.ADDRESS_TYPE[family], layout.ADDRESS_BYTES[family]
    if chain.family == "inet":
        yield from meta(PROTOCOL_FAMILY, family)
    if pair.remote.prefixlen == 0:
        yield load(NETWORK_HEADER, layout.DESTINATION_AT[family], size)
        sets.append(_Set(kind, tuple(sorted(each.source.packed for each in opening.pairs))))
    else:
        yield load(NETWORK_HEADER, layout.SOURCE_AT[family], size)
        yield load(NETWORK_HEADER, layout.DESTINATION_AT[family], size, layout.SECOND[family])
        keys = sorted(each.remote.network_address.packed + each.source.packed for each in opening.pairs)
        sets.append(_Set(kind << layout.CONCATENATED_BITS | kind, tuple(keys)))
    yield from in_own_set(OWN_SET, 0)
    yield from meta(PROTOCOL, opening.protocol)
    if opening.ports:
        yield load(TRANSPORT_HEADER, 2, 2)
        sets.append(_Set(layout.PORT_TYPE, tuple(sorted(port.to_bytes(2) for port in opening.ports))))
        yield from in_own_set(OWN_SET, 0)
    yield accept()


def _comment(opening: Opening, fingerprint: str) -> str:
    """As many names as there is room for."""
    head, tail = f"swanherd: {_WORD[opening.protocol]} of ", f" [{fingerprint}]"
    names = list(opening.names)
    while True:
        left = len(opening.names) - len(names)
        listed = ", ".join(names) + (f" and {left} more" if left else "")
        if len(head + listed + tail) <= COMMENT_BYTES or not names:
            return head + listed + tail
        names.pop()
