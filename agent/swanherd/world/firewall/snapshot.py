"""What is really there: our tables read from the kernel and compared with the layout."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from errno import ENOENT
from typing import Final

from swanherd.core.facts import Wire
from swanherd.world.firewall import elements, layout, leaks, requests
from swanherd.world.firewall.codec import DUMP, Message, Reply, Request, attribute, attributes, text
from swanherd.world.firewall.elements import Contents, Element
from swanherd.world.firewall.errors import FirewallError, ForeignElementError, RefusedError
from swanherd.world.firewall.expressions import same
from swanherd.world.firewall.kernel import InterruptedReadError, Kernel
from swanherd.world.firewall.layout import TABLE
from swanherd.world.firewall.rules import RULES, Rule

READ_ATTEMPTS: Final = 20
"""A read into which somebody's change fell is begun again (1 ms and more each); more often is a storm."""

_TABLE = attribute(1, TABLE)
_DORMANT: Final = 1
_ANONYMOUS: Final = 1
"""NFT_SET_ANONYMOUS."""
_KEY, _FLAGS, _KEY_END = 1, 3, 10


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Our tables at one generation of the ruleset."""

    generation: int
    present: bool = False
    """There is a table of our name, or both are."""
    intact: bool = False
    """Both are there, with all chains, rules, sets and counters of ours, and the elements could be ours."""
    contents: Contents = field(default_factory=dict)
    wire: Wire | None = None
    """What the sets say, as far as they can be read, also of tables that are not intact."""


def read(kernel: Kernel) -> Snapshot:
    """Read our tables, whole, at one generation; FirewallError if that cannot be done."""
    for _ in range(READ_ATTEMPTS):
        generation = kernel.generation()
        try:
            raw = {family: _gather(kernel, family) for family in layout.COMMENTS}
        except InterruptedReadError:
            continue
        except RefusedError as error:
            if error.code != ENOENT:
                raise
            continue  # the table or a set went away while we read
        if kernel.generation() == generation:
            return _interpret({family: part for family, part in raw.items() if part is not None}, generation)
    raise FirewallError("the ruleset changes faster than it can be read; see who does it with 'nft monitor'")


def stopped(kernel: Kernel) -> dict[str, int]:
    """Packets that each counter has seen dropped, those of one name added up; empty without a table."""
    for _ in range(READ_ATTEMPTS):
        try:
            found = [_counter(reply) for family in layout.COMMENTS for reply in _dump(kernel, Message.GETOBJ, family)]
        except InterruptedReadError:
            continue
        totals: dict[str, int] = {}
        for name, packets in found:
            totals[name] = totals.get(name, 0) + packets
        return totals
    raise FirewallError("the ruleset changes faster than it can be read; see who does it with 'nft monitor'")


def holds(kernel: Kernel, asked: Iterable[Request]) -> bool:
    """Whether the elements that *asked* (GETSETELEM) names are all there."""
    try:
        for request in asked:
            kernel.ask(request)
    except RefusedError as error:
        if error.code == ENOENT:
            return False
        raise
    return True


@dataclass(frozen=True, slots=True)
class _Raw:
    """One table in the kernel's answers, taken quickly so that few changes fall between them, and looked at later."""

    table: list[Reply]
    chains: list[Reply]
    rules: list[Reply]
    sets: list[Reply]
    counters: list[Reply]
    elements: dict[str, list[Reply]]


def _gather(kernel: Kernel, family: int) -> _Raw | None:
    """None: there is no table of *family*."""
    try:
        table = kernel.ask(Request(Message.GETTABLE, _TABLE, family=family))
    except RefusedError as error:
        if error.code == ENOENT:
            return None
        raise
    sets = _dump(kernel, Message.GETSET, family)
    flags = {text(values.get(2, b"")): _number(values.get(3)) for values in map(_values, sets)}
    wanted = {item.name for item in layout.SETS if item.family == family}
    return _Raw(
        table,
        _dump(kernel, Message.GETCHAIN, family),
        _dump(kernel, Message.GETRULE, family),
        sets,
        _dump(kernel, Message.GETOBJ, family),
        {
            name: _dump(kernel, Message.GETSETELEM, family, attribute(2, name))
            for name in flags
            if name in wanted or flags[name] & _ANONYMOUS
        },
    )


def _interpret(raw: Mapping[int, _Raw], generation: int) -> Snapshot:
    if not raw:
        return Snapshot(generation)
    known = {item.name for item in layout.SETS}
    contents = {
        name: frozenset(_elements(found))
        for part in raw.values()
        for name, found in part.elements.items()
        if name in known
    }
    guard, only_ours = _leak_rules(raw)
    contents[layout.LEAKS_CHAIN.name] = guard
    try:
        wire = elements.wire(contents)
    except ForeignElementError:
        return Snapshot(generation, present=True)
    intact = (
        only_ours
        and guard == elements.of_leaks(wire.leaks)
        and raw.keys() == layout.COMMENTS.keys()
        and all(_table_intact(part, family) for family, part in raw.items())
        and elements.agree(contents)
    )
    return Snapshot(generation, present=True, intact=intact, contents=contents, wire=wire)


def _leak_rules(raw: Mapping[int, _Raw]) -> tuple[frozenset[Element], bool]:
    """The leak guard's rules as we send them, and whether there are no others: what is fenced is known either way."""
    chain = layout.LEAKS_CHAIN
    found: set[Element] = set()
    only_ours = True
    part = raw.get(chain.family)
    for rule in map(_values, part.rules if part is not None else ()):
        if part is None or text(rule.get(2, b"")) != chain.name:
            continue
        listed = rule.get(4, b"")
        try:
            if (look := leaks.looked_at(listed)) is not None:
                family, name = look
                found.add(elements.target(family, _ranges(part.elements.get(name, []), layout.ADDRESS_BYTES[family])))
            else:
                found.add(Element(leaks.as_sent(listed)))
        except ForeignElementError:
            only_ours = False
    return frozenset(found), only_ours


def _ranges(listed: list[Reply], size: int) -> bytes:
    """The ranges of a set without a name, first and last address of each; the kernel has where each one has ended."""
    bounds = []
    for reply in listed:
        for _, item in attributes(_values(reply).get(3, b"")):
            parts = dict(attributes(item))
            at, ended = _number(_data(parts.get(_KEY, b""))), _number(parts.get(_FLAGS)) & requests.INTERVAL_END
            if at or not ended:  # nft, which may have loaded what it had saved, begins with an end at 0
                bounds.append(at - bool(ended))
    if len(bounds) % 2:
        bounds.append((1 << 8 * size) - 1)
    return b"".join(bound.to_bytes(size) for bound in sorted(bounds))


def _table_intact(raw: _Raw, family: int) -> bool:
    return (
        not _number(_values(raw.table[0]).get(2)) & _DORMANT
        and _sets_intact(raw.sets, family)
        and _chains_intact(raw.chains, family)
        and _rules_intact(raw.rules, family)
        and {(family, name) for name, _ in map(_counter, raw.counters)}
        == {item for item in layout.COUNTERS if item[0] == family}
    )


def _dump(kernel: Kernel, message: Message, family: int, body: bytes = b"") -> list[Reply]:
    """Everything of our table; the kernel filters by family, but chains not by table, and older ones nothing."""
    name = TABLE.encode()
    return [
        reply
        for reply in kernel.ask(Request(message, _TABLE + body, DUMP, family))
        for kind, value in itertools.islice(reply.attributes(), 1)
        if kind == 1 and value.rstrip(b"\0") == name
    ]


def _values(reply: Reply) -> dict[int, bytes]:
    return dict(reply.attributes())


def _number(value: bytes | None) -> int:
    return int.from_bytes(value or b"")


def _sets_intact(sets: list[Reply], family: int) -> bool:
    found = set()
    for values in map(_values, sets):
        name = text(values.get(2, b""))
        if not _number(values.get(3)) & _ANONYMOUS:  # what is in those is part of their rules
            found.add((name, _number(values.get(3)), _number(values.get(4)), _number(values.get(5))))
    return found == {
        (item.name, item.flags, item.key_type, item.key_bytes) for item in layout.SETS if item.family == family
    }


def _chains_intact(chains: list[Reply], family: int) -> bool:
    found = set()
    for chain in map(_values, chains):
        hook = dict(attributes(chain.get(4, b"")))
        found.add((text(chain.get(3, b"")), _number(hook.get(1)), hook.get(2), _number(chain.get(5))))
    return found == {
        (chain.name, chain.hook, (chain.priority & 0xFFFFFFFF).to_bytes(4), 1)
        if chain.hook is not None
        else (chain.name, 0, None, 0)
        for chain in layout.CHAINS
        if chain.family == family
    }


def _rules_intact(rules: list[Reply], family: int) -> bool:
    found: dict[str, list[bytes]] = {}
    for rule in map(_values, rules):
        chain = text(rule.get(2, b""))
        if chain != layout.LEAKS_CHAIN.name:  # what is in that one is among the elements
            found.setdefault(chain, []).append(rule.get(4, b""))
    wanted: dict[str, list[Rule]] = {}
    for item in RULES:
        if item.chain.family == family:
            wanted.setdefault(item.chain.name, []).append(item)
    return found.keys() == wanted.keys() and all(
        len(found[name]) == len(ours)
        and all(same(listed, rule.expressions) for listed, rule in zip(found[name], ours, strict=True))
        for name, ours in wanted.items()
    )


def _elements(listed: list[Reply]) -> Iterator[Element]:
    for reply in listed:
        for _, item in attributes(_values(reply).get(3, b"")):
            parts = dict(attributes(item))
            yield Element(_data(parts.get(_KEY, b"")), _data(parts.get(_KEY_END, b"")))


def _data(value: bytes) -> bytes:
    return dict(attributes(value)).get(1, b"")


def _counter(reply: Reply) -> tuple[str, int]:
    values = _values(reply)
    return text(values.get(2, b"")), _number(dict(attributes(values.get(4, b""))).get(2))
