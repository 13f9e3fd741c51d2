"""The messages that build the tables, change their sets and remove them."""

from collections.abc import Iterable, Iterator
from typing import Final

from swanherd.world.firewall import layout, leaks
from swanherd.world.firewall.codec import APPEND, CREATE, INET, Message, Request, attribute, nest
from swanherd.world.firewall.elements import NOWHERE, Contents, Element
from swanherd.world.firewall.expressions import encoded
from swanherd.world.firewall.layout import TABLE
from swanherd.world.firewall.rules import RULES

OWN_SET: Final = "__set%d"
"""What a set without a name is called in its transaction; the kernel puts a number in."""
ANONYMOUS_CONSTANT: Final = 0x3
"""NFT_SET_ANONYMOUS | NFT_SET_CONSTANT."""
INTERVAL_END: Final = 1
"""NFT_SET_ELEM_INTERVAL_END."""
BOUNDS_AT_ONCE: Final = 1000
"""In one message: the length of an attribute has 16 bits."""
ELEMENTS_BYTES: Final = 60_000
"""Elements in one message: the length of an attribute has 16 bits."""
_LIST_ITEM: Final = 1
"""NFTA_LIST_ELEM."""
_ACCEPT: Final = 1

_TABLE = attribute(1, TABLE)  # the first attribute of every message
_FAMILY_OF: Final = {item.name: item.family for item in layout.SETS}
_LISTED_NAME: Final = 2


def user_comment(words: str) -> bytes:
    """*words* as nft keeps a comment: as user data of libnftnl's."""
    data = words.encode() + b"\0"
    return bytes((0, len(data))) + data  # libnftnl's user data: type comment, length, text


def remove() -> list[Request]:
    """One transaction that deletes the tables with all that is in them, also where one or both are missing."""
    return [
        Request(message, _TABLE, flags, family)
        for family in layout.COMMENTS
        # Made first where it is not there, so that there is one to delete.
        for message, flags in ((Message.NEWTABLE, CREATE), (Message.DELTABLE, 0))
    ]


def build(wanted: Contents) -> list[Request]:
    """One transaction that puts both tables there, in the place of whatever has their names."""
    return [
        *remove(),
        *(
            Request(Message.NEWTABLE, _TABLE + attribute(6, user_comment(words)), CREATE, family)
            for family, words in layout.COMMENTS.items()
        ),
        *(_counter(name, family) for family, name in layout.COUNTERS),
        *(_set(number, item) for number, item in enumerate(layout.SETS, 1)),
        *_elements_changed({}, wanted),
        *map(_chain, layout.CHAINS),
        *(_rule(rule.chain, encoded(rule.expressions), rule.comment) for rule in RULES),
        *_leaks_changed({}, wanted),
    ]


def change(present: Contents, wanted: Contents) -> list[Request]:
    """One transaction that brings the sets and the leak guard from *present* to *wanted*; empty if they are alike."""
    return [*_elements_changed(present, wanted), *_leaks_changed(present, wanted)]


def _leaks_changed(present: Contents, wanted: Contents) -> list[Request]:
    """All rules of the chain anew where one differs: its old and its new contents change places in one moment."""
    chain = layout.LEAKS_CHAIN
    before, after = present.get(chain.name, frozenset()), wanted.get(chain.name, frozenset())
    if before == after:
        return []
    flush = Request(Message.DELRULE, _TABLE + attribute(2, chain.name), family=chain.family)
    looks = [request for number, item in enumerate(sorted(after), 1000) if item.end for request in _look(number, item)]
    rules = (_rule(chain, item.key, leaks.COMMENT) for item in sorted(after) if not item.end)
    return [*([flush] if before else []), *looks, *rules]


def _look(number: int, item: Element) -> Iterator[Request]:
    """A rule with a set of ranges of its own, which has no name and goes with it; in this transaction, a *number*."""
    (family,) = item.key
    size = layout.ADDRESS_BYTES[family]
    ends = [item.end[at : at + size] for at in range(0, len(item.end), size)] if item.end != NOWHERE else []
    name = OWN_SET if ends else ""
    if ends:
        yield own_set(number, layout.ADDRESS_TYPE[family], size, layout.INTERVAL)
        bounds = [bound for first, last in zip(ends[::2], ends[1::2], strict=True) for bound in _bounds(first, last)]
        for at in range(0, len(bounds), BOUNDS_AT_ONCE):
            listed = nest(3, *bounds[at : at + BOUNDS_AT_ONCE])
            yield Request(Message.NEWSETELEM, _TABLE + attribute(2, OWN_SET) + listed + attribute(4, number), CREATE)
    yield _rule(layout.LEAKS_CHAIN, encoded(leaks.look(family, name, number)), leaks.COMMENT_OF_LOOK)


def _bounds(first: bytes, last: bytes) -> Iterator[bytes]:
    """A range as the kernel's intervals have it: where it begins, and where it has ended."""
    yield nest(_LIST_ITEM, nest(1, attribute(1, first)))
    behind = int.from_bytes(last) + 1
    if behind < 1 << 8 * len(last):
        yield nest(_LIST_ITEM, nest(1, attribute(1, behind.to_bytes(len(last)))), attribute(3, INTERVAL_END))


def own_set(
    number: int, key_type: int, key_bytes: int, flags: int = 0, *, place: bytes = b"", family: int = INET
) -> Request:
    """A set without a name for one rule of the table *place* (ours by default), known by *number* until it is made."""
    body = attribute(2, OWN_SET) + attribute(3, ANONYMOUS_CONSTANT | flags) + attribute(4, key_type)
    return Request(
        Message.NEWSET, (place or _TABLE) + body + attribute(5, key_bytes) + attribute(10, number), CREATE, family
    )


def _elements_changed(present: Contents, wanted: Contents) -> list[Request]:
    """What goes comes first: the kernel refuses an element that lies in another one or around it."""
    names = [item.name for item in layout.SETS]
    nothing: frozenset[Element] = frozenset()
    gone = ((name, present.get(name, nothing) - wanted.get(name, nothing)) for name in names)
    new = ((name, wanted.get(name, nothing) - present.get(name, nothing)) for name in names)
    return [
        *(request for name, items in gone for request in of_elements(Message.DELSETELEM, name, items)),
        *(request for name, items in new for request in of_elements(Message.NEWSETELEM, name, items, CREATE)),
    ]


def of_elements(message: Message, name: str, items: Iterable[Element], flags: int = 0) -> Iterator[Request]:
    """Messages about *items* of the set *name*, as many as are needed."""
    head = _TABLE + attribute(_LISTED_NAME, name)
    family = _FAMILY_OF[name]
    part: list[bytes] = []
    size = 0
    for item in sorted(items):
        encoded = _element(item)
        if size + len(encoded) > ELEMENTS_BYTES:
            yield Request(message, head + nest(3, *part), flags, family)
            part, size = [], 0
        part.append(encoded)
        size += len(encoded)
    if part:
        yield Request(message, head + nest(3, *part), flags, family)


def _element(item: Element) -> bytes:
    parts = [nest(1, attribute(1, item.key))]
    if item.end:
        parts.append(nest(10, attribute(1, item.end)))
    return nest(_LIST_ITEM, *parts)


def _counter(name: str, family: int) -> Request:
    return Request(Message.NEWOBJ, _TABLE + attribute(2, name) + attribute(3, 1) + nest(4), CREATE, family)


def _set(number: int, item: layout.Set) -> Request:
    body = [
        attribute(2, item.name),
        attribute(3, item.flags),
        attribute(4, item.key_type),
        attribute(5, item.key_bytes),
        attribute(10, number),
    ]
    if item.fields:
        fields = (nest(_LIST_ITEM, attribute(1, size)) for size in item.fields)
        body.append(nest(9, nest(2, *fields)))
    return Request(Message.NEWSET, _TABLE + b"".join(body), CREATE, item.family)


def _chain(chain: layout.Chain) -> Request:
    body = [attribute(3, chain.name)]
    if chain.hook is not None:
        priority = chain.priority & 0xFFFFFFFF
        body += [
            nest(4, attribute(1, chain.hook), attribute(2, priority)),
            attribute(5, _ACCEPT),
            attribute(7, "filter"),
        ]
    return Request(Message.NEWCHAIN, _TABLE + b"".join(body), CREATE, chain.family)


def _rule(chain: layout.Chain, expressions: bytes, comment: str) -> Request:
    body = attribute(2, chain.name) + nest(4, expressions) + attribute(7, user_comment(comment))
    return Request(Message.NEWRULE, _TABLE + body, CREATE | APPEND, chain.family)
